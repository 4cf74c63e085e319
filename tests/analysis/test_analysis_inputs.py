"""The pipelines that the commands load."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import trained

from spacy_padellm.analysis.inputs import load_for_analysis, load_with_components


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pipeline of two components."""
    nlp = trained()
    nlp.add_pipe("padellm_ner", name="second", source=trained())
    nlp.to_disk(folder := tmp_path_factory.mktemp("two"))
    return str(folder)


def test_analysis_inputs_name_the_component_that_is_looked_at(
    two: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, pipe = load_for_analysis(two)
    assert pipe.name == "padellm_ner"
    (record,) = caplog.records
    assert "'padellm_ner' alone is looked at, not: second" in record.message


def test_analysis_inputs_one_component_is_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained().to_disk(tmp_path)
    load_for_analysis(str(tmp_path))
    assert not caplog.records


def test_analysis_inputs_hold_all_components(
    two: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, pipes = load_with_components(two)
    assert [pipe.name for pipe in pipes] == ["padellm_ner", "second"]
    assert not caplog.records
