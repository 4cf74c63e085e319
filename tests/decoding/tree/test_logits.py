from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from spacy_padellm.decoding.tree.logits import pick

OUTPUTS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 19), min_size=1, max_size=5)),
    max_size=6,
)


@given(OUTPUTS)
@settings(max_examples=50, deadline=None)
def test_logits_pick_gives_the_likeliest_allowed_token(
    outputs: list[tuple[int, list[int]]],
) -> None:
    logits = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    log_probabilities = logits.log_softmax(-1)
    picked = pick(logits, outputs)
    assert len(picked) == len(outputs)
    for (output, allowed), (token, score) in zip(outputs, picked, strict=True):
        assert token in allowed
        best = max(float(log_probabilities[output, other]) for other in allowed)
        assert score == pytest.approx(best, abs=1e-5)
        assert float(log_probabilities[output, token]) == pytest.approx(best, abs=1e-5)
