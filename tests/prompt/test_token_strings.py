"""One tokenizer may be used by several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from conftest import make_tokenizer

from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.tokens import PromptTokens

TEXTS = [f"Angela Merkel </s> met {n} in Berlin 北京 ." for n in range(40)]
THREADS = 4


@pytest.mark.parametrize("preset", ["paper-en", "released-en"])
def test_token_strings_of_several_threads_are_those_of_one(preset: str) -> None:
    prompt = PromptTokens(PRESETS[preset], make_tokenizer())

    def encode(barrier: Barrier) -> list[object]:
        barrier.wait()
        results: list[object] = []
        for text in TEXTS:
            # special tokens are split here, and kept there: a setting of the tokenizer
            (count_prompts,) = prompt.count_prompts([text], ["person", "place"])
            template = prompt.strings.template("</s> x")
            decoded = prompt.strings.decode(count_prompts.root)
            offsets = prompt.strings.offsets([text, text[:9]])
            results.append((count_prompts, template, decoded, offsets))
        return results

    with ThreadPoolExecutor(THREADS) as pool:
        barrier = Barrier(THREADS, timeout=30)
        of_threads = list(pool.map(encode, [barrier] * THREADS))
    assert of_threads == [encode(Barrier(1))] * THREADS
