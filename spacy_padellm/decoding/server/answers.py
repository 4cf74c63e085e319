"""Parses the answers of `/v1/completions`: tokens with log-probabilities.

All servers accept prompts as token ids, but return token ids in different fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.errors import Warnings

# fields that ask for token ids; a server ignores those of other servers
ASK_FOR_IDS = {"return_token_ids": True, "return_tokens_as_token_ids": True}
_ID_MARK = "token_id:"  # prefix of ids that vLLM returns as strings
# log-probabilities; servers with few bits may round to a little above 0
_LOWEST, _HIGHEST = -1e9, 0.01


class MalformedAnswer(Exception):
    """An answer that violates the protocol; the request can be repeated."""


class UnusableAnswer(Exception):
    """An answer without a field that the decoder needs; repeating does not help."""


class OtherModel(Exception):
    """An answer of another model than the one that was asked; its name."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A request of completions, with what its answer must fit.

    prompts (Sequence[Sequence[int]]): The tokens of the prompts, at least one.
    max_tokens (int): The limit of tokens.
    models (Collection[str]): The names that an answer may give to the model.
    vocabulary (int): The number of tokens of the client's tokenizer.
    decode (Callable[[Sequence[int]], str]): Tokens to text, by that tokenizer.
    """

    prompts: Sequence[Sequence[int]]
    max_tokens: int
    models: Collection[str]
    vocabulary: int
    decode: Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The continuation of one prompt.

    tokens (list[int]): All generated tokens, including `<eos>` if it was generated.
    log_probabilities (list[float]): Their log-probabilities.
    """

    tokens: list[int]
    log_probabilities: list[float]

    def until(self, eos: int) -> Answer:
        """The part before `<eos>`."""
        end = self.tokens.index(eos) if eos in self.tokens else len(self.tokens)
        return Answer(self.tokens[:end], self.log_probabilities[:end])


def read_answers(body: object, request: CompletionRequest) -> list[Answer]:
    """Parse the answers to a request.

    body (object): The JSON of the response.
    request (CompletionRequest): The request.
    RETURNS (list[Answer]): One for each prompt, in order.
    RAISES (MalformedAnswer | UnusableAnswer): If a prompt has no valid answer.
    RAISES (OtherModel): If another model answered.
    """
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(choices, list):
        raise MalformedAnswer(f"it has no list of choices: {body}")
    model = body.get("model")
    if isinstance(model, str) and model not in request.models:
        raise OtherModel(model)
    prompts = len(request.prompts)
    by_index = {
        choice["index"]: choice
        for choice in choices
        if isinstance(choice, dict) and is_whole(choice.get("index"))
    }
    if len(choices) != prompts or by_index.keys() != set(range(prompts)):
        raise MalformedAnswer(f"{prompts} prompts got {len(choices)} choices")
    answers = []
    for index, prompt in enumerate(request.prompts):
        choice = by_index[index]
        # vLLM returns the prompt; an answer may be left over from another request
        if choice.get("prompt_token_ids") not in (None, list(prompt)):
            raise MalformedAnswer("it answers another prompt")
        answer = _read(choice, request)
        stopped = choice.get("finish_reason") == "stop"
        tokens, limit = len(answer.tokens), request.max_tokens
        if tokens > limit:
            raise MalformedAnswer(f"it has {tokens} tokens instead of up to {limit}")
        if not stopped and tokens != limit:
            reason = choice.get("finish_reason")
            count = f"{tokens} of {limit} tokens"
            raise MalformedAnswer(f"it was cut off at {count} ({reason})")
        answers.append(answer)
    return answers


def _read(choice: dict[str, Any], request: CompletionRequest) -> Answer:
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        raise UnusableAnswer(Warnings.R170)
    if "content" in logprobs:
        ids, values = _read_content(logprobs["content"])
    else:
        ids = _ids(choice, logprobs.get("tokens"))
        values = logprobs.get("token_logprobs") or []
    if not isinstance(values, list) or len(ids) != len(values):
        count = len(values) if isinstance(values, list) else "no"
        raise MalformedAnswer(f"{len(ids)} tokens have {count} log-probabilities")
    for token in ids:
        if not 0 <= token < request.vocabulary:
            raise MalformedAnswer(f"the vocabulary has no token {token}")
    for value in values:
        if not (is_number(value) and _LOWEST <= value <= _HIGHEST):
            raise MalformedAnswer(f"a log-probability is {value}")
    # a token that ends inside a character has no entry
    if "content" in logprobs and (
        strip_all(request.decode(ids)) != strip_all(str(choice.get("text")))
    ):
        raise UnusableAnswer(Warnings.R172)
    return Answer(ids, [min(value, 0.0) for value in values])


def _read_content(content: object) -> tuple[list[int], list[Any]]:
    """Parse the entries of llama.cpp's server, one for each token."""
    if not isinstance(content, list) or not all(isinstance(c, dict) for c in content):
        raise MalformedAnswer("logprobs.content is no list of objects")
    if not all(is_whole(entry.get("id")) for entry in content):
        raise UnusableAnswer(Warnings.R171)
    ids = [entry["id"] for entry in content]
    return ids, [entry.get("logprob") for entry in content]


def _ids(choice: dict[str, Any], tokens: object) -> list[int]:
    """The token ids of vLLM and SGLang."""
    ids = choice.get("token_ids")
    if isinstance(ids, list) and all(map(is_whole, ids)):
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
