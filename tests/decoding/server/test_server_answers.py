"""Reading servers' answers: the shapes that no server of the other tests gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from spacy_padellm.decoding.server.answers import (
    Answer,
    CompletionRequest,
    MalformedAnswer,
    OtherModel,
    UnusableAnswer,
    read_answers,
)

TEXT = {1: "a", 2: "\ufffd", 3: "\ufffd", 0: ""}


def decode(ids: Sequence[int]) -> str:
    joined = "".join(TEXT[token] for token in ids)
    return joined.replace("\ufffd\ufffd", "é")


def read(*choices: dict[str, Any], max_tokens: int = 2) -> list[Answer]:
    prompts = [[7, index] for index in range(len(choices))]
    return read_answers(
        {"choices": list(choices)}, make_request(prompts=prompts, max_tokens=max_tokens)
    )


def make_request(
    *, prompts: Sequence[Sequence[int]], max_tokens: int = 2
) -> CompletionRequest:
    return CompletionRequest(
        prompts, max_tokens, models={"small"}, vocabulary=8, decode=decode
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
    (answer,) = read(content("aé", (1, -1.0), (2, -0.1), (3, -0.2)), max_tokens=3)
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


@pytest.mark.parametrize(
    "score", [None, math.nan, -math.inf, "x", True, 3, 1e308, 10**400, -(10**400)]
)
def test_server_answers_with_a_log_probability_that_is_none_are_malformed(
    score: Any,
) -> None:
    logprobs = {"tokens": ["token_id:1"], "token_logprobs": [score]}
    with pytest.raises(MalformedAnswer, match="log-probability"):
        read(plain(logprobs=logprobs))


@pytest.mark.parametrize("body", [None, [], "text", {}, {"choices": {}}])
def test_server_answers_of_another_shape_are_malformed(body: object) -> None:
    with pytest.raises(MalformedAnswer, match="no list of choices"):
        read_answers(body, make_request(prompts=[[7]]))


def test_server_answers_to_the_same_prompt_twice_are_malformed() -> None:
    with pytest.raises(MalformedAnswer, match="2 prompts got 2 choices"):
        read(plain(), plain())


def test_server_answers_with_a_log_probability_rounded_above_zero_are_certain() -> None:
    logprobs = {"tokens": ["token_id:1"], "token_logprobs": [1e-4]}
    (answer,) = read(plain(logprobs=logprobs))
    assert answer.log_probabilities == [0]


@pytest.mark.parametrize("scores", ["-1", {"0": -1.0}, 5])
def test_server_answers_without_a_list_of_log_probabilities_are_malformed(
    scores: Any,
) -> None:
    logprobs = {"tokens": ["token_id:1"], "token_logprobs": scores}
    with pytest.raises(MalformedAnswer, match="1 tokens have no log-prob"):
        read(plain(logprobs=logprobs))


@pytest.mark.parametrize("token", [-1, 8, 10**30])
@pytest.mark.parametrize("style", ["content", "token_ids"])
def test_server_answers_with_a_token_outside_the_vocabulary_are_malformed(
    style: str, token: int
) -> None:
    choice = plain(token_ids=[token])
    if style == "content":
        choice = content("a", (token, -0.5))
    with pytest.raises(MalformedAnswer, match=f"has no token {token}"):
        read(choice)


@pytest.mark.parametrize("index", [[0], True, 0.0, None, "0", -1, 1])
def test_server_answers_with_another_index_are_malformed(index: Any) -> None:
    with pytest.raises(MalformedAnswer, match="1 prompts got 1 choices"):
        read(plain(index=index))


def test_server_answers_to_another_prompt_are_malformed() -> None:
    assert read(plain(prompt_token_ids=[7, 0]))
    with pytest.raises(MalformedAnswer, match="answers another prompt"):
        read(plain(prompt_token_ids=[7, 1]))


def test_server_answers_longer_than_requested_are_malformed() -> None:
    with pytest.raises(MalformedAnswer, match="2 tokens instead of up to 1"):
        read(content("aa", (1, -0.5), (1, -0.5)), max_tokens=1)


@pytest.mark.parametrize("model", ["large", ""])
def test_server_answers_of_another_model_are_refused(model: str) -> None:
    body = {"choices": [plain()], "model": "small"}
    assert read_answers(body, make_request(prompts=[[7]]))
    with pytest.raises(OtherModel):
        read_answers({**body, "model": model}, make_request(prompts=[[7]]))
