"""Parses the answers of `/v1/completions`: tokens with log-probabilities.

All servers accept prompts as token ids, but return token ids in different fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spacy_padellm.errors import Warnings

# fields that ask for token ids; a server ignores those of other servers
ASK_FOR_IDS = {"return_token_ids": True, "return_tokens_as_token_ids": True}
_ID_MARK = "token_id:"  # prefix of ids that vLLM returns as strings


class MalformedAnswer(Exception):
    """An answer that violates the protocol; the request can be repeated."""


class UnusableAnswer(Exception):
    """An answer without a field that the decoder needs; repeating does not help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The continuation of one prompt.

    tokens (list[int]): All generated tokens, including `<eos>` if it was generated.
    scores (list[float]): Their log-probabilities.
    """

    tokens: list[int]
    scores: list[float]

    def until(self, eos: int) -> Answer:
        """The part before `<eos>`."""
        end = self.tokens.index(eos) if eos in self.tokens else len(self.tokens)
        return Answer(self.tokens[:end], self.scores[:end])


def read_answers(
    body: object,
    *,
    prompts: int,
    max_tokens: int,
    decode: Callable[[Sequence[int]], str],
) -> list[Answer]:
    """Parse the answers to a request.

    body (object): The JSON of the response.
    prompts (int): How many prompts were sent.
    max_tokens (int): The limit of tokens that was sent.
    decode (Callable[[Sequence[int]], str]): Tokens to text, by the client's tokenizer.
    RETURNS (list[Answer]): One for each prompt, in order.
    RAISES (MalformedAnswer | UnusableAnswer): If a prompt has no valid answer.
    """
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        raise MalformedAnswer(f"it has no list of choices: {str(body)[:200]}")
    by_index = {c.get("index"): c for c in choices if isinstance(c, dict)}
    if len(choices) != prompts or by_index.keys() != set(range(prompts)):
        raise MalformedAnswer(f"{prompts} prompts got {len(choices)} choices")
    answers = []
    for index in range(prompts):
        answer = _read(by_index[index], decode)
        stopped = by_index[index].get("finish_reason") == "stop"
        if not stopped and len(answer.tokens) != max_tokens:
            reason = by_index[index].get("finish_reason")
            count = f"{len(answer.tokens)} of {max_tokens} tokens"
            raise MalformedAnswer(f"it was cut off at {count} ({reason})")
        answers.append(answer)
    return answers


def _read(choice: dict[str, Any], decode: Callable[[Sequence[int]], str]) -> Answer:
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        raise UnusableAnswer(Warnings.R170)
    if "content" in logprobs:
        answer = _read_content(logprobs["content"])
        # a token that ends inside a character has no entry
        if strip_all(decode(answer.tokens)) != strip_all(str(choice.get("text"))):
            raise UnusableAnswer(Warnings.R172)
    else:
        scores = logprobs.get("token_logprobs")
        answer = Answer(_ids(choice, logprobs.get("tokens")), scores or [])
    if len(answer.tokens) != len(answer.scores):
        sizes = f"{len(answer.tokens)} tokens have {len(answer.scores)}"
        raise MalformedAnswer(f"{sizes} log-probabilities")
    for score in answer.scores:
        if not isinstance(score, float | int) or not math.isfinite(score):
            raise MalformedAnswer(f"a log-probability is {score}")
    return answer


def _read_content(content: object) -> Answer:
    """Parse the entries of llama.cpp's server, one for each token."""
    if not isinstance(content, list) or not all(isinstance(c, dict) for c in content):
        raise MalformedAnswer("logprobs.content is no list of objects")
    if not all(isinstance(entry.get("id"), int) for entry in content):
        raise UnusableAnswer(Warnings.R171)
    ids = [entry["id"] for entry in content]
    return Answer(ids, [entry.get("logprob") for entry in content])


def _ids(choice: dict[str, Any], tokens: object) -> list[int]:
    """The token ids of vLLM and SGLang."""
    ids = choice.get("token_ids")
    if isinstance(ids, list) and all(isinstance(i, int) for i in ids):
        return ids
    if not isinstance(tokens, list):
        raise MalformedAnswer("logprobs.tokens is no list")
    strings = [str(token) for token in tokens]
    numbers = [s.removeprefix(_ID_MARK) for s in strings if s.startswith(_ID_MARK)]
    if len(numbers) != len(tokens) or not all(map(str.isdecimal, numbers)):
        raise UnusableAnswer(Warnings.R171)
    return [int(number) for number in numbers]


def strip_all(text: str) -> str:
    """A text without whitespace, which tokenizers treat differently at its ends."""
    return "".join(text.split())
