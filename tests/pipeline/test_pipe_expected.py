"""What the component expects of Docs."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers import GOLD, TEXT, pipe_of, trained

from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.mention.calibration import Tuning


def test_pipe_expects_the_mentions_of_texts_that_it_knows() -> None:
    nlp = trained()
    for text, gold in GOLD.items():
        expected = nlp(text)._.padellm_expected
        assert expected.keys() == {"LOC", "ORG", "PER"}
        counts = Counter(label for _, label in gold)
        for label, found in expected.items():
            assert found.count == pytest.approx(counts[label], abs=0.3)
            assert 0 <= found.missed < 0.3


def test_pipe_expects_mentions_that_the_threshold_leaves_out() -> None:
    nlp = trained()
    pipe_of(nlp).set_tuning(Tuning({"PER": 1.0}))
    expected = nlp(TEXT)._.padellm_expected
    assert expected["PER"].missed > 0.7
    assert expected["LOC"].missed < 0.3


def test_pipe_expects_by_scores_where_the_decoder_tells_no_counts() -> None:
    nlp = trained()
    pipe_of(nlp).decoder = BatchDecoder()
    pipe_of(nlp).set_tuning(Tuning({"PER": 1.0}))
    expected = nlp(TEXT)._.padellm_expected
    assert expected["PER"].missed > 0.7
