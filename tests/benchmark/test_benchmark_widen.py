"""Small models in larger shapes, which the server's benchmark uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.widen import widened
from spacy_padellm.benchmark.subjects.shapes import SHAPES, ModelShape, make_shaped

TINY = SHAPES["tiny"]
# as the 0.6B shape to the bundled model: larger heads, in groups
WIDER = ModelShape(64, 128, 3, 8, 4, 32, 1_200)
TALLER = ModelShape(32, 64, 2, 2, 2, 16, 1_200)


def tiny() -> Any:
    made = make_shaped(
        "tiny", ["a b"], device=torch.device("cpu"), dtype=torch.float32, seed=1
    )
    return made.model


@pytest.mark.parametrize("shape", [TINY, WIDER], ids=["same", "wider"])
def test_benchmark_widen_answers_the_same(shape: ModelShape) -> None:
    model = tiny()
    wide = widened(model, shape).eval()
    ids = torch.randint(TINY.vocabulary, (2, 20))
    with torch.inference_mode():
        small, large = model(ids).logits, wide(ids).logits
    assert wide.config.head_dim == shape.head_size
    assert wide.model.embed_tokens.weight.shape == (shape.vocabulary, shape.hidden)
    torch.testing.assert_close(
        large.log_softmax(-1)[..., : TINY.vocabulary],
        small.log_softmax(-1),
        atol=1e-3,
        rtol=0,
    )


def test_benchmark_widen_needs_room_for_a_larger_vocabulary() -> None:
    with pytest.raises(ValueError, match="needs a larger hidden size"):
        widened(tiny(), TALLER)
