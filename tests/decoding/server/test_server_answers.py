"""Reading servers' answers: the shapes that no server of the other tests gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from spacy_padellm.decoding.server.answers import (
    Answer,
    MalformedAnswer,
    UnusableAnswer,
    read_answers,
)

TEXT = {1: "a", 2: "\ufffd", 3: "\ufffd", 0: ""}


def decode(ids: Sequence[int]) -> str:
    joined = "".join(TEXT[token] for token in ids)
    return joined.replace("\ufffd\ufffd", "é")


def read(*choices: dict[str, Any], max_tokens: int = 2) -> list[Answer]:
    body = {"choices": list(choices)}
    return read_answers(
        body, prompts=len(choices), max_tokens=max_tokens, decode=decode
    )


def content(text: str, *entries: tuple[int, float]) -> dict[str, Any]:
    listed = [{"id": token, "logprob": score} for token, score in entries]
    return {
        "index": 0,
        "text": text,
        "logprobs": {"content": listed},
        "finish_reason": "stop",
    }


def plain(**changes: Any) -> dict[str, Any]:
    logprobs = {"tokens": ["token_id:1"], "token_logprobs": [-0.5]}
    choice = {"index": 0, "logprobs": logprobs, "finish_reason": "stop"}
    return {**choice, **changes}


def test_server_answers_end_before_eos() -> None:
    assert Answer([1, 2, 0, 3], [-1, -2, -3, -4]).until(0) == Answer([1, 2], [-1, -2])
    assert Answer([1], [-1]).until(0) == Answer([1], [-1])


def test_server_answers_come_in_the_order_of_the_prompts() -> None:
    first, second = read(plain(index=1, token_ids=[2]), plain(index=0, token_ids=[1]))
    assert (first.tokens, second.tokens) == ([1], [2])


def test_server_answers_may_split_characters_if_all_tokens_are_there() -> None:
    (answer,) = read(content("aé", (1, -1.0), (2, -0.1), (3, -0.2)))
    assert answer.tokens == [1, 2, 3]


def test_server_answers_that_lack_a_token_are_refused() -> None:
    # as llama.cpp's server has it: the first piece of the character is left out
    with pytest.raises(UnusableAnswer, match="not all tokens"):
        read(content("aé", (1, -1.0), (3, -0.2)))


@pytest.mark.parametrize("token", ["a", "token_id:", "token_id:x"])
def test_server_answers_without_ids_are_refused(token: str) -> None:
    logprobs = {"tokens": [token], "token_logprobs": [-0.5]}
    with pytest.raises(UnusableAnswer, match="without their ids"):
        read(plain(logprobs=logprobs))


@pytest.mark.parametrize("score", [None, math.nan, -math.inf, "x"])
def test_server_answers_with_a_score_that_is_no_number_are_malformed(
    score: Any,
) -> None:
    logprobs = {"tokens": ["token_id:1"], "token_logprobs": [score]}
    with pytest.raises(MalformedAnswer, match="log-probability"):
        read(plain(logprobs=logprobs))


@pytest.mark.parametrize("body", [None, [], "text", {}, {"choices": {}}])
def test_server_answers_of_another_shape_are_malformed(body: object) -> None:
    with pytest.raises(MalformedAnswer, match="no list of choices"):
        read_answers(body, prompts=1, max_tokens=2, decode=decode)


def test_server_answers_to_the_same_prompt_twice_are_malformed() -> None:
    with pytest.raises(MalformedAnswer, match="2 prompts got 2 choices"):
        read(plain(), plain())
