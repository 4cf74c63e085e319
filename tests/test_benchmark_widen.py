"""Small models in larger shapes, which the server's benchmark uses."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks.widen import widened
from spacy_padellm.benchmark.shapes import SHAPES, Shape
from spacy_padellm.lm import BUNDLED

# head sizes and groups of the 0.6B shape
WIDE = Shape(512, 1024, 7, 16, 8, 128, 9_000)


@pytest.mark.parametrize("shape", [SHAPES["7M"], WIDE], ids=["same", "wider"])
def test_benchmark_widen_answers_the_same(shape: Shape) -> None:
    model = AutoModelForCausalLM.from_pretrained(BUNDLED["bundled-en"]).float().eval()
    wide = widened(model, shape).eval()
    known = model.config.vocab_size
    ids = torch.randint(known, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        small, large = model(ids).logits, wide(ids).logits
    assert wide.config.head_dim == shape.head_size
    assert wide.model.embed_tokens.weight.shape == (shape.vocabulary, shape.hidden)
    expected = small.log_softmax(-1)
    torch.testing.assert_close(
        large.log_softmax(-1)[..., :known], expected, atol=1e-3, rtol=0
    )


def test_benchmark_widen_needs_room_for_a_larger_vocabulary() -> None:
    model = AutoModelForCausalLM.from_pretrained(BUNDLED["bundled-en"])
    shape = Shape(256, 768, 6, 4, 4, 64, 9_000)
    with pytest.raises(ValueError, match="needs a larger hidden size"):
        widened(model, shape)
