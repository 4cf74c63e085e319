"""The embeddings of tokens that are added to a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import make_lm

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.prompt.template import PRESETS

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
