"""The page of file formats names all that is read."""

import json
from pathlib import Path

import pytest

from spacy_padellm.annotate import files as annotated
from spacy_padellm.corpora import convert, files
from spacy_padellm.lm.task.config import TaskSettings
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.calibration import Calibration, Promise, Tuning
from spacy_padellm.prompt.template import PRESETS

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


@pytest.mark.skipif(not PAGE.exists(), reason="this is no clone")
def test_formats_of_a_model_are_on_the_page() -> None:
    promise = Promise("recall", 0.9, 0.9, {"PER": 0.1})
    tuning = Tuning({"PER": 0.2}, Calibration(2.0, 1.0), promise)
    prompt = PRESETS["compact"]
    settings = TaskSettings({"PER": "person"}, prompt, tuning, "format", TaughtTags())
    section = PAGE.read_text("utf8").split("## A model's folder")[1]
    keys = json.loads(settings.to_json())
    assert [key for key in keys if f"`{key}`" not in section] == []
