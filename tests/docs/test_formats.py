"""The page of file formats names all that is read."""

from pathlib import Path

import pytest

from spacy_padellm.annotate import files as annotated
from spacy_padellm.corpora import convert, files

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"


@pytest.mark.skipif(not PAGE.exists(), reason="this is no clone")
@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Annotated texts", [*files.COMPRESSIONS, *convert.SUFFIXES]),
        ("Plain texts", [*annotated.COMPRESSIONS, *annotated.FORMATS]),
    ],
)
def test_formats_are_on_the_page(heading: str, names: list[str]) -> None:
    section = PAGE.read_text("utf8").split(f"## {heading}")[1].split("\n## ")[0]
    assert [name for name in names if f"`{name}`" not in section] == []
