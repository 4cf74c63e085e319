from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from spacy_padellm.decoding.tree.logits import likeliest, pick

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


@given(
    rows=st.integers(1, 4),
    size=st.integers(1, 400),
    values=st.integers(1, 50),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_logits_likeliest_gives_the_first_of_the_highest_logits(
    rows: int, size: int, values: int, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(values, (rows, size), generator=generator).to(dtype)
    tokens, log_probabilities = likeliest(logits)
    exact = logits.double().log_softmax(-1)
    assert tokens.tolist() == exact.argmax(-1).tolist()
    torch.testing.assert_close(
        log_probabilities.double(), exact.amax(-1), atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 130, 259])
def test_logits_likeliest_gives_no_number_for_a_row_without_one(
    value: float, place: int
) -> None:
    logits = torch.zeros(3, 260)
    logits[1, place] = value
    tokens, log_probabilities = likeliest(logits)
    assert log_probabilities.isnan().tolist() == [False, True, False]
    assert 0 <= int(tokens[1]) < 260
