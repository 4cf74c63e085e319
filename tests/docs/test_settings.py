"""The page of settings names all arguments of what is registered."""

from __future__ import annotations

import inspect
from configparser import ConfigParser
from pathlib import Path
from pkgutil import resolve_name

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    REPOSITORY / "docs" / page for page in ("reference/settings.md", "howto/servers.md")
]
SETUP = ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg", "utf8")
REGISTERED = [
    line.split(" = ")
    for lines in SETUP["options.entry_points"].values()
    for line in lines.split("\n")
    if line.startswith("spacy-padellm.")
]
pytestmark = pytest.mark.skipif(
    not all(page.exists() for page in PAGES), reason="this is no clone"
)


def test_settings_finds_what_is_registered() -> None:
    assert "spacy-padellm.checkpoints.v1" in {name for name, _ in REGISTERED}


@pytest.mark.parametrize(("name", "target"), REGISTERED)
def test_settings_are_on_the_pages(name: str, target: str) -> None:
    text = "".join(page.read_text("utf8") for page in PAGES)
    made = resolve_name(target)
    arguments = inspect.signature(made).parameters if callable(made) else ()
    assert name in text
    assert [x for x in arguments if f"`{x}`" not in text] == []
