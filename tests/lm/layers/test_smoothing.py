from __future__ import annotations

import pytest
import torch
from conftest import make_lm
from tokenizers import Regex, Tokenizer, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from spacy_padellm.lm.layers.smoothing import input_ranges, smoothing


def test_smoothing_ranges_are_those_of_the_inputs() -> None:
    lm = make_lm("llama")
    layer = lm.model.model.layers[1]
    modules = [layer.self_attn.q_proj, layer.mlp.gate_proj]
    ranges = input_ranges(lm.model, lm.tokenizer, modules)
    assert set(ranges) == set(modules)
    size = lm.model.config.hidden_size
    for largest in ranges.values():
        assert largest.shape == (size,)
        assert (largest > 0).all()
    with torch.no_grad():
        layer.input_layernorm.weight[3] *= 1000
    again = input_ranges(lm.model, lm.tokenizer, modules)
    changed = again[modules[0]] / ranges[modules[0]]
    torch.testing.assert_close(changed[3], torch.tensor(1000.0))
    torch.testing.assert_close(changed[:3], torch.ones(3))


def test_smoothing_leaves_no_hooks_behind() -> None:
    lm = make_lm("llama")
    module = lm.model.model.layers[0].mlp.gate_proj
    input_ranges(lm.model, lm.tokenizer, [module])
    assert not module._forward_pre_hooks


def test_smoothing_divides_large_channels_of_the_inputs() -> None:
    inputs, weight = torch.ones(8), torch.ones(4, 8)
    inputs[2] = 100.0
    factor = smoothing(inputs, weight)
    assert factor.median() == 1
    # shared between the inputs and the weights
    assert 1 < (inputs / factor)[2] < 100
    assert 1 < (weight * factor)[0, 2] < 100


def test_smoothing_channels_that_are_never_used_are_finite() -> None:
    factor = smoothing(torch.zeros(8), torch.zeros(4, 8))
    assert factor.isfinite().all()
    assert (factor > 0).all()


@pytest.mark.parametrize(
    ("left_out", "sentences"), [("[^x]", 3), ("..+", 1)], ids=["some", "all"]
)
def test_smoothing_tokenizers_may_have_no_tokens_for_sentences(
    left_out: str, sentences: int
) -> None:
    words = Tokenizer(models.BPE({"<s>": 0, "x": 1, "y": 2}, []))
    words.normalizer = normalizers.Replace(Regex(left_out), "")
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>")
    model = make_lm("llama").model
    read: list[list[int]] = []
    model.model.embed_tokens.register_forward_pre_hook(
        lambda _, inputs: read.append(inputs[0][0].tolist())
    )
    module = model.model.layers[0].mlp.gate_proj
    assert (input_ranges(model, tokenizer, [module])[module] > 0).all()
    assert len(read) == sentences
    for ids in read:
        assert ids[0] == 0
        assert len(ids) > 1
