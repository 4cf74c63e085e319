"""Settings in tests/cases/messages: what is said about them, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from helpers import NAME, TEXT, pipe_of

FOLDER = Path(__file__).parents[1] / "cases" / "messages"
CASES = [
    pytest.param(case, id=f"{path.stem}-{case['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for case in srsly.read_yaml(path)
]
MODEL = {"name": "bundled-en-sm", "dtype": "float32", "device": "cpu"}


def add(case: dict[str, Any]) -> spacy.Language:
    config = {"model": {}, **case.get("config", {})}
    if isinstance(config["model"], dict) and "@architectures" not in config["model"]:
        config["model"] = {**MODEL, **config["model"]}
    nlp = spacy.blank(case.get("lang", "en"))
    nlp.add_pipe(NAME, config=config)
    return nlp


def use(nlp: spacy.Language, case: dict[str, Any]) -> None:
    pipe_of(nlp).cfg.update(case.get("cfg", {}))
    nlp(TEXT)


@pytest.mark.parametrize("case", CASES)
def test_component_messages_case(case: dict[str, Any]) -> None:
    if case.get("when") == "use":
        nlp = add(case)
        with pytest.raises(ValueError, match=case["error"]):
            use(nlp, case)
    else:
        with pytest.raises(ValueError, match=case["error"]) as raised:
            add(case)
        assert "secret" not in str(raised.value)
