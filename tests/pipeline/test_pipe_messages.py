"""Settings in tests/cases/messages: what is said about them, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from helpers import NAME

FOLDER = Path(__file__).parents[1] / "cases" / "messages"
CASES = [
    pytest.param(case, id=f"{path.stem}-{case['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for case in srsly.read_yaml(path)
]
MODEL = {"name": "bundled-en-sm", "dtype": "float32", "device": "cpu"}


def add(case: dict[str, Any]) -> spacy.Language:
    nlp = spacy.blank(case.get("lang", "en"))
    nlp.add_pipe(NAME, config={"model": MODEL, **case.get("config", {})})
    return nlp


@pytest.mark.parametrize("case", CASES)
def test_component_messages_case(
    case: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=case["error"]):
        add(case)
