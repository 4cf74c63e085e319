"""The pages of the documentation that are made from the code."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path
from typing import Any

MESSAGES = Path(__file__).parent.parent / "spacy_padellm" / "errors.py"


def list_messages() -> str:
    """Errors and warnings, as Markdown."""
    source = MESSAGES.read_text("utf8")
    lines = source.splitlines()
    found = []
    for group in ast.parse(source).body:
        if not isinstance(group, ast.ClassDef):
            continue
        found.append(f"## {group.name}")
        end = group.lineno
        for node in group.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                for line in lines[end : node.lineno - 1]:
                    if title := re.fullmatch(r"    # ([A-Z].*)", line):
                        found.append(f"### {title[1]}")
                text = html.escape(ast.literal_eval(node.value)).replace("\n", "<br>")
                code = node.targets[0].id
                found.append(f'<p id="{code}"><strong>{code}</strong> {text}</p>')
            end = node.end_lineno or end
    return "\n\n".join(found)


def list_commands() -> str:
    """The commands and their options, as Markdown."""
    import typer

    from spacy_padellm.benchmark.settings import make_parser
    from spacy_padellm.cli.app import padellm_cli

    group: Any = typer.main.get_command(padellm_cli)
    found = []
    for name, command in sorted(group.commands.items()):
        found.append(f"## {name}")
        if name == "benchmark":
            usage = make_parser(f"python -m spacy padellm {name}").format_help()
            found.append(f"```text\n{usage}```")
            continue
        found.append((command.help or "").replace("\b", ""))
        rows = [_row(parameter) for parameter in command.params]
        found.append("\n".join(["| | | default |", "|---|---|---|", *rows]))
    return "\n\n".join(found)


def _row(parameter: Any) -> str:
    """An argument or option, as a row of a table."""
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        name = ", ".join(f"`{flag}`" for flag in reversed(parameter.opts))
    text = html.escape(parameter.help or "").replace("|", "\\|")
    default = getattr(parameter.default, "value", parameter.default)
    if parameter.required:
        default = "required"
    elif default is False or default in (None, "") or callable(default):
        default = ""
    else:
        default = f"`{default}`"
    return f"| {name} | {text} | {default} |"
