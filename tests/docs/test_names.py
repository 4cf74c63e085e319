"""Python names and files that README and documentation name exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from spacy_padellm.analysis.kinds import HEADINGS

REPOSITORY = Path(__file__).parent.parent.parent
PAGES = [
    *sorted(path for path in REPOSITORY.glob("*.md") if path.name != "CHANGELOG.md"),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "benchmarks").rglob("*.md")),
]
NAME = re.compile(r"\bspacy_padellm(?:\.[A-Za-z_]\w*)+")
FILE = re.compile(r"`((?:spacy_padellm|docs|scripts|configs|examples|tests)/[\w./-]+)`")


def exists(name: str) -> bool:
    """Whether a name is that of a module, or of something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_names_of_python_exist(page: Path) -> None:
    names = set(NAME.findall(page.read_text("utf8")))
    assert [name for name in sorted(names) if not exists(name)] == []


@pytest.mark.skipif(
    not (REPOSITORY / "spacy_padellm").is_dir(), reason="this is no clone"
)
@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_names_of_files_exist(page: Path) -> None:
    files = set(FILE.findall(page.read_text("utf8")))
    assert [file for file in sorted(files) if not (REPOSITORY / file).exists()] == []


def test_names_of_kinds_of_errors_are_those_of_the_tables() -> None:
    page = (REPOSITORY / "docs" / "howto" / "error-analysis.md").read_text("utf8")
    table = page.split("| column |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    assert [row.split("|")[1].strip() for row in table] == [*HEADINGS.values()]


def test_names_that_do_not_exist_are_found() -> None:
    assert exists("spacy_padellm.pipeline.pipe.PaDeLLMNER")
    assert not exists("spacy_padellm.pipeline.pipe.Missing")
    assert not exists("spacy_padellm.missing.thing")
