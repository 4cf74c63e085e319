"""The code of the README and the documentation: Python runs, commands exist.

An HTML comment before a block says why it is not run, that it is slow, or that it
warns: <!-- not run: ... -->, <!-- slow: ... -->, <!-- warns: ... -->.
"""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_command

from spacy_padellm.benchmark.settings import make_parser
from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.lm.files.bundled import BUNDLED

REPOSITORY = Path(__file__).parent.parent.parent
DEFAULT_MODEL = BUNDLED["bundled-en"]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
BLOCK = re.compile(
    r"(?:<!-- (not run|slow|warns): [^\n]+ -->\s+)?```(\w+)\n(.*?)```", re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A block of code of a page, and what the comment before it says."""

    language: str
    code: str
    mark: str


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    for mark, language, code in BLOCK.findall(page.read_text("utf8")):
        if language in languages:
            yield Block(language, code, mark)


def pages(*, slow: bool) -> list[object]:
    """The pages with Python that runs, those with a slow block apart."""
    found = []
    for page in PAGES:
        marks = {block.mark for block in blocks(page, "python")}
        if marks and ("slow" in marks) == slow:
            found.append(pytest.param(page, id=str(page.relative_to(REPOSITORY))))
    return found


def run(page: Path) -> None:
    """Run the blocks of a page, in one namespace."""
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(page, "python"), start=1):
        code = compile(block.code, f"{page.name}, block {number}", "exec")
        if block.mark == "not run":
            continue
        with warnings.catch_warnings():
            if block.mark == "warns":
                warnings.simplefilter("ignore", UserWarning)
            exec(code, names)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a temporary folder, with the small model in the place of the default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BUNDLED, "bundled-en", BUNDLED["bundled-en-sm"])


def test_code_blocks_of_the_readme_print_what_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BUNDLED, "bundled-en", DEFAULT_MODEL)
    readme = REPOSITORY / "README.md"
    run(readme)
    printed = [line.rsplit(" ", 1) for line in capsys.readouterr().out.splitlines()]
    [said] = blocks(readme, "text")
    expected = [line.rsplit(" ", 1) for line in said.code.splitlines()]
    assert [words for words, _ in printed] == [words for words, _ in expected]
    # processors round differently
    scores = [float(score) for _, score in expected]
    assert [float(score) for _, score in printed] == pytest.approx(scores, abs=0.03)


@pytest.mark.parametrize("page", pages(slow=False))
def test_code_blocks_run(page: Path) -> None:
    run(page)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(slow=True))
def test_code_blocks_that_are_slow_run(page: Path) -> None:
    run(page)


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands of the package in a page: the name, and the words after it."""
    for block in blocks(page, "bash"):
        for line in block.code.replace("\\\n", " ").splitlines():
            _, found, rest = line.partition("python -m spacy padellm ")
            if found:
                name, *words = shlex.split(rest, comments=True)
                yield name, words


def options_of(name: str) -> set[str]:
    if name == "benchmark":
        return set(make_parser(name)._option_string_actions)
    command = get_command(padellm_cli).commands[name]  # type: ignore[attr-defined]
    return {option for param in command.params for option in param.opts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_name_commands_and_options_that_exist(page: Path) -> None:
    for name, words in commands(page):
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= options_of(name), f"{page}: padellm {name} {words}"


def test_code_blocks_have_every_command() -> None:
    named = {name for page in PAGES for name, _ in commands(page)}
    assert named >= set(get_command(padellm_cli).commands)  # type: ignore[attr-defined]
