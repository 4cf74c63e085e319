"""The messages in errors.py."""

import ast
import re
from pathlib import Path

from spacy_padellm import errors


def test_errors_codes_are_used_once() -> None:
    source = Path(errors.__file__).read_text("utf8")
    codes = [
        target.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert len(codes) == len(set(codes))


def test_errors_that_are_raised_as_they_are_have_no_fields() -> None:
    package = Path(errors.__file__).parent
    raised = {
        argument.attr
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf8")))
        if isinstance(node, ast.Call)
        for argument in node.args
        if isinstance(argument, ast.Attribute)
        and isinstance(argument.value, ast.Name)
        and argument.value.id in ("Errors", "Warnings")
    }
    assert len(raised) > 20
    for code in raised:
        kind = errors.Errors if hasattr(errors.Errors, code) else errors.Warnings
        # {name} or {{, which only format fills or makes a single one
        assert not re.search(r"\{\w*\}|\{\{|\}\}", getattr(kind, code)), code
