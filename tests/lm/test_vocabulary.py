"""The embeddings of tokens that are added to a model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import make_lm

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.lm.vocabulary import project
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

COMPACT = PRESETS["compact"]
NEW = ["<|mention 3|>", "<|*|>"]


def added(lm: LanguageModel) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings before NEW was added, and those of NEW."""
    old = lm.model.get_input_embeddings().weight.detach().clone()
    ids = lm.add_special_tokens(NEW)
    return old, lm.model.get_input_embeddings().weight[ids]


def test_vocabulary_new_tokens_start_as_the_mean_of_their_words() -> None:
    lm = make_lm("llama")
    words = lm.tokenizer("mention 3", add_special_tokens=False).input_ids
    old, new = added(lm)
    torch.testing.assert_close(new[0], old[words].mean(0))


def test_vocabulary_new_tokens_without_words_start_as_the_mean_of_all() -> None:
    old, new = added(make_lm("llama"))
    torch.testing.assert_close(new[1], old.mean(0))


def test_vocabulary_head_that_is_not_tied_starts_with_the_mean_for_new_tokens() -> None:
    lm = make_lm("llama")  # not tied
    head = lm.model.get_output_embeddings().weight.detach().clone()
    ids = lm.add_special_tokens(NEW)
    rows = lm.model.get_output_embeddings().weight[ids]
    torch.testing.assert_close(rows, head.mean(0).expand_as(rows))


def test_vocabulary_head_that_is_tied_starts_with_the_words_of_new_tokens() -> None:
    lm = make_lm("gemma")  # tied
    words = lm.tokenizer("mention 3", add_special_tokens=False).input_ids
    old = lm.model.get_output_embeddings().weight.detach().clone()
    ids = lm.add_special_tokens(NEW)
    row = lm.model.get_output_embeddings().weight[ids[0]]
    torch.testing.assert_close(row, old[words].mean(0))


def test_vocabulary_without_embeddings_is_an_error(tmp_path: Path) -> None:
    lm = make_lm("llama")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.add_tokens(["Berlin"])
    lm.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"1 token.* such as 'Berlin', have no embed"):
        load_model(str(tmp_path))


def test_vocabulary_of_an_end_without_an_embedding_is_an_error(tmp_path: Path) -> None:
    lm = make_lm("llama")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.add_special_tokens({"eos_token": "</end>"})
    lm.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"such as '</end>', have no embedding"):
        load_model(str(tmp_path))


def test_vocabulary_of_tokens_that_no_text_has_needs_no_embeddings(
    tmp_path: Path,
) -> None:
    lm = make_lm("llama")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    lm.tokenizer.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    assert len(loaded.tokenizer) > len(loaded.model.get_input_embeddings().weight)
    # those of a prompt do
    lm.tokenizer.add_tokens([*COMPACT.special_tokens], special_tokens=True)
    lm.tokenizer.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    loaded.add_special_tokens(COMPACT.special_tokens)
    with pytest.raises(ValueError, match=r"such as '<\|count\|>', have no embedding"):
        loaded.tokens_of(COMPACT)


def test_vocabulary_new_tokens_take_spare_rows_and_start_as_their_words() -> None:
    lm = make_lm("llama")
    words = lm.tokenizer("mention 3", add_special_tokens=False).input_ids
    size = len(lm.tokenizer) + 8
    lm.model.resize_token_embeddings(size, mean_resizing=False)
    old, new = added(lm)
    assert len(lm.model.get_input_embeddings().weight) == size
    torch.testing.assert_close(new[0], old[words].mean(0))


def test_vocabulary_with_trained_tokens_is_copied_only_where_it_is_multiplied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = pytest.importorskip("peft.tuners.trainable_tokens.layer")
    lm = make_lm("gemma")  # tied
    ids = lm.add_special_tokens(NEW)
    lora = {"target_modules": ["q_proj"]}
    adapted = with_lora(lm, lora, name=None, revision=None, new_tokens=ids)
    copies = []
    merge = layers.TrainableTokensLayer.get_merged_weights

    def noting(self: Any, *args: Any) -> torch.Tensor:
        copies.append(self)
        return merge(self, *args)

    monkeypatch.setattr(layers.TrainableTokensLayer, "get_merged_weights", noting)
    assert adapted.layers is not None
    assert (adapted.device.type, adapted.dtype) == ("cpu", torch.float32)
    adapted.tokens_of(COMPACT)
    assert not copies
    for fused in (True, False):
        adapted.fused_layers = fused
        tree = TokenTree()
        end = tree.extend(ROOT, [3, 1, 4])
        tags = {"tag_positions": [0, 1], "tag_ids": [5, 6]}
        adapted.packed_logits(pack([tree], 0), [end], TreeKVCache(), **tags)
        assert len(copies) == 3  # the embeddings, the head, and the tags
        copies.clear()


class QuantizedHead(torch.nn.Linear):
    """A head whose weight is stored in few bits."""

    def __init__(self) -> None:
        super().__init__(4, 9)
        self.plain = self.weight.detach().clone()
        self.weight = torch.nn.Parameter(
            torch.zeros(1, 1, dtype=torch.uint8), requires_grad=False
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.plain, self.bias)


def test_vocabulary_products_are_without_the_bias_of_a_head() -> None:
    torch.manual_seed(0)
    quantized, plain = QuantizedHead(), torch.nn.Linear(4, 9)
    plain.weight.data = quantized.plain
    hidden, places, ids = torch.randn(3, 4), torch.tensor([0, 2]), torch.tensor([7, 1])
    expected = hidden[places] @ plain.weight[ids].T
    for head in (plain, quantized):
        model = SimpleNamespace(get_output_embeddings=lambda head=head: head)
        torch.testing.assert_close(project(model, hidden, places, ids), expected)
