"""The page of settings names all arguments of what is registered, where it names it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from pathlib import Path
from pkgutil import resolve_name

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "reference" / "settings.md"
SERVERS = REPOSITORY / "docs" / "howto" / "servers.md"
SETUP = ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg", "utf8")
REGISTERED = [
    line.split(" = ")
    for lines in SETUP["options.entry_points"].values()
    for line in lines.split("\n")
    if line.startswith("spacy-padellm.")
]
pytestmark = pytest.mark.skipif(
    not (PAGE.exists() and SERVERS.exists()), reason="this is no clone"
)


def passages(name: str) -> Iterator[str]:
    """Where the page says what the arguments of a registered name are: its row of a
    table, its paragraph, and the table below that."""
    paragraphs = PAGE.read_text("utf8").split("\n\n")
    for index, paragraph in enumerate(paragraphs):
        if name not in paragraph:
            continue
        if paragraph.startswith("|"):
            rows = paragraph.splitlines()
            row = next(i for i, line in enumerate(rows) if name in line)
            while "| the same |" in rows[row]:
                row -= 1
            yield rows[row]
            if "servers.md#ask-it" in rows[row]:
                yield SERVERS.read_text("utf8").partition("\n### Ask it\n")[2]
        else:
            yield paragraph
            yield paragraphs[index + 1] if paragraph.endswith(":") else ""


def left_out(name: str, arguments: Iterable[str]) -> list[str]:
    found = "\n".join(passages(name))
    return [argument for argument in arguments if f"`{argument}`" not in found]


def test_settings_finds_what_is_registered() -> None:
    assert "spacy-padellm.checkpoints.v1" in {name for name, _ in REGISTERED}


@pytest.mark.parametrize(("name", "target"), REGISTERED)
def test_settings_are_on_the_pages(name: str, target: str) -> None:
    made = resolve_name(target)
    arguments = inspect.signature(made).parameters if callable(made) else ()
    assert any(passages(name))
    assert left_out(name, arguments) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("spacy-padellm.AugmentedDecoder.v1", "devices"),
        ("spacy-padellm.BatchDecoder.v1", "draft_tokens"),
        ("spacy-padellm.ConsoleLogger.v1", "path"),
        ("spacy-padellm.ServerDecoder.v1", "labels"),
        ("spacy-padellm.SmallCausalLM.v1", "name"),
        ("spacy-padellm.Training.v1", "minutes"),
        ("spacy-padellm.warmup_cosine.v1", "lora"),
    ],
)
def test_settings_of_others_are_not_those_of_a_name(name: str, other: str) -> None:
    assert f"`{other}`" in PAGE.read_text("utf8")
    assert left_out(name, [other]) == [other]
