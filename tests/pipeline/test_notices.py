"""Warnings that are given once, however many texts there are."""

from __future__ import annotations

import pytest

from spacy_padellm.pipeline.notices import Notices


def test_notices_keep_few_labels_of_many_texts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notices = Notices()
    for text in range(2000):
        notices.labels([f"L{text}"], known=["PER"], model="m")
        notices.labels([f"L{text}-{n}" for n in range(99)], known=["PER"], model="m")
    assert len(caplog.records) == 20
    assert len(notices._labels) <= 20 * 50


def test_notices_keep_few_labels_that_no_message_shows() -> None:
    notices = Notices()
    often = [f"A{n}" for n in range(60)]
    for text in range(2000):
        notices.labels([*often, f"L{text}"], known=["PER"], model="m")
    assert len(notices._labels) < 100


def test_notices_name_a_label_once(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for labels in (["PER", "CAT"], ["CAT"], ["CAT", "DOG"], ["DOG"]):
        notices.labels(labels, known=["PER"], model="m")
    first, second = caplog.messages
    assert "CAT" in first
    assert "DOG" in second
