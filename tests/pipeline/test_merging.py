"""The warning of later components that merge or split tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from helpers import NAME, TEXT, pipe_of, trained

from spacy_padellm.annotate.pipeline import load_checked

MOVE = "padellm_move_spans"


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if MOVE in message]


@pytest.mark.parametrize("first", [False, True])
def test_merging_without_moved_spans_is_told_once_with_the_remedy(
    first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    nlp = trained()
    if first:  # as in a notebook: it is added after the first text
        nlp(TEXT)
    nlp.add_pipe("merge_entities", name="merging")
    nlp(TEXT)
    list(nlp.pipe([TEXT] * 2))
    (message,) = told(caplog)
    assert f"The component 'merging' merges or splits tokens after '{NAME}'" in message
    assert "doc.spans['padellm']" in message
    assert "E035" in message
    assert message.endswith(f"Add nlp.add_pipe('{MOVE}', after='merging').")


def test_merging_of_several_components_names_the_last_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = trained()
    nlp.add_pipe("merge_entities")
    nlp.add_pipe(MOVE)
    nlp.add_pipe("token_splitter")
    nlp(TEXT)
    assert len(told(caplog)) == 1
    assert "after='token_splitter'" in told(caplog)[0]


def test_merging_before_a_component_that_is_called_by_hand_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = trained()
    nlp.add_pipe("merge_entities", first=True)
    nlp.disable_pipe(NAME)
    pipe_of(nlp)(nlp(TEXT))
    assert not told(caplog)


def test_merging_is_told_when_a_disabled_component_is_enabled_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = trained()
    nlp.add_pipe("merge_entities")
    nlp.disable_pipe(NAME)
    pipe_of(nlp)(nlp(TEXT))
    nlp.enable_pipe(NAME)
    nlp(TEXT)
    assert len(told(caplog)) == 1


@pytest.mark.parametrize("change", ["moved", "disabled", "before", "other"])
def test_merging_that_leaves_no_spans_behind_is_not_told(
    change: str, caplog: pytest.LogCaptureFixture
) -> None:
    nlp = trained()
    if change == "other":
        nlp.add_pipe("sentencizer")
    else:
        nlp.add_pipe("merge_entities", first=change == "before" or None)
    if change == "moved":
        nlp.add_pipe(MOVE)
    if change == "disabled":
        nlp.disable_pipe("merge_entities")
    nlp(TEXT)
    assert not told(caplog)


def test_merging_after_a_sourced_component_is_told_where_it_is_loaded(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, source=trained())
    nlp.add_pipe("merge_entities")
    nlp.to_disk(tmp_path)
    spacy.load(tmp_path)(TEXT)
    assert len(told(caplog)) == 1


def test_merging_is_not_told_where_annotate_moves_the_spans(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    nlp = trained()
    nlp.add_pipe("merge_entities")
    nlp.to_disk(tmp_path)
    loaded = load_checked(str(tmp_path))
    loaded(TEXT)
    assert not told(caplog)
    # the others still are
    nlp(TEXT)
    assert len(told(caplog)) == 1
