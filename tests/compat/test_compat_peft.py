"""The undocumented behaviour of peft that `compat.peft` relies on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import make_lm

from spacy_padellm.compat.peft import base_model, stored_weight

peft = pytest.importorskip("peft")


def adapted(kind: str, **settings: Any) -> Any:
    config = peft.LoraConfig(target_modules=["q_proj"], **settings)
    return peft.PeftModel(make_lm(kind).model, config)


def test_compat_base_model_computes_with_its_adapters() -> None:
    model = adapted("llama", init_lora_weights=False)
    ids = torch.tensor([[3, 1, 4]])
    expected = model(ids).logits
    assert torch.equal(base_model(model)(ids).logits, expected)
    with model.disable_adapter():
        assert not torch.allclose(model(ids).logits, expected)


def test_compat_base_model_of_a_model_without_adapters_is_itself() -> None:
    model = make_lm("llama").model
    assert base_model(model) is model


def test_compat_stored_weight_is_not_copied_where_tokens_are_trained() -> None:
    model = adapted("gemma", trainable_token_indices={"embed_tokens": [5]})
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        assert layer.weight.data_ptr() != layer.weight.data_ptr()  # peft copies it
        stored = stored_weight(layer)
        assert stored.data_ptr() == stored_weight(layer).data_ptr()
        assert torch.equal(stored, layer.weight)


def test_compat_stored_weight_of_other_layers_is_their_weight() -> None:
    layer = torch.nn.Linear(2, 3)
    assert stored_weight(layer) is layer.weight
