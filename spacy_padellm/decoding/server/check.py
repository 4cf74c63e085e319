"""Checks a model server before its first text."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spacy_padellm.decoding.server.answers import MalformedAnswer, strip_all
from spacy_padellm.decoding.server.client import Connection, Refused
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.prompt.tokens import PromptTokens

UNLIMITED = 1 << 30  # context in tokens if the server does not report it
PROBE = "Zoë paid €20 in New York,\n第1 北京!"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model of a server.

    name (str): Its name in requests.
    context (int): The longest sequence in tokens that it takes.
    count_ends (tuple[int, ...]): Tokens that complete the answer to a count prompt.
    """

    name: str
    context: int
    count_ends: tuple[int, ...]


class ServedModels:
    """A server's model, which is checked once for each prompt."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._checks: weakref.WeakKeyDictionary[
            PromptTokens, asyncio.Task[ServedModel]
        ] = weakref.WeakKeyDictionary()

    async def get(self, prompt: PromptTokens) -> ServedModel:
        """The model, after a check that it has the client's tokenizer.

        All texts wait for the same check. If it fails, the next text repeats it.
        RAISES (ConnectionError): If the server cannot be reached.
        RAISES (ValueError): See `check_server`.
        """
        check = self._checks.get(prompt)
        if check is None or (check.done() and check.exception() is not None):
            check = asyncio.ensure_future(check_server(self.connection, prompt))
            self._checks[prompt] = check
        # a text that is cancelled must not cancel the check of the others
        return await asyncio.shield(check)


async def check_server(connection: Connection, prompt: PromptTokens) -> ServedModel:
    """Check the server's model, its tokenizer and the fields of its answers.

    RAISES (ConnectionError): If the server cannot be reached.
    RAISES (ValueError): If it does not have the model, has another tokenizer, or does
        not return token ids and log-probabilities.
    """
    name, context = await _find_model(connection)
    (branches,) = prompt.count_branches([PROBE], ["x"])
    probe = branches.root + branches.labels[0]
    await _check_tokens(connection, name, probe, prompt)
    # fails if there are no token ids or log-probabilities
    await connection.complete(name, [probe], prompt=prompt, max_tokens=1)
    return ServedModel(name, context, count_ends(prompt))


async def _find_model(connection: Connection) -> tuple[str, int]:
    """The model's name, and its context in tokens."""
    name, url = connection.settings.model, connection.settings.base_url
    try:
        contexts = await connection.request("get", "/models", _read_models)
    except Refused as error:
        if error.status not in (404, 405) or name is None:
            raise
        contexts = {}  # a gateway without a list of models
    if name is None and len(contexts) == 1:
        (name,) = contexts
    if name is None or (contexts and name not in contexts):
        known = ", ".join(contexts)
        raise ValueError(Errors.P176.format(url=url, model=name, known=known))
    return name, contexts.get(name, UNLIMITED)


async def _check_tokens(
    connection: Connection, model: str, probe: Sequence[int], prompt: PromptTokens
) -> None:
    """Check that the probe's token ids stand for the same text on the server."""
    decoded = prompt.tokenizer.decode(probe, clean_up_tokenization_spaces=False)
    settings = connection.settings
    body: dict[str, Any] = {"model": model, "tokens": list(probe)}
    served: str | None
    try:
        url = f"{settings.root}/detokenize"
        served = await connection.request("post", url, _read_detokenized, body=body)
    except Refused:
        served = await _echo(connection, model, probe)
    if served is None:
        logger.warning(Warnings.W170.format(url=settings.base_url))
    elif not strip_all(served).startswith(strip_all(decoded)):
        message = Errors.P178.format(
            url=settings.base_url, model=model, local=decoded, served=served
        )
        raise ValueError(message)


async def _echo(connection: Connection, model: str, probe: Sequence[int]) -> str | None:
    """The probe's text by `echo`, for servers without /detokenize."""
    body = {
        "model": model,
        "prompt": list(probe),
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1,
        "echo": True,
    }
    try:
        return await connection.request("post", "/completions", _read_echo, body=body)
    except Refused:
        return None


def _read_models(body: object) -> dict[str, int]:
    """The names of the models, each with its context in tokens."""
    models = body.get("data") if isinstance(body, dict) else None
    if not isinstance(models, list) or not all(isinstance(m, dict) for m in models):
        raise MalformedAnswer(f"/models gave no list: {str(body)[:200]}")
    contexts = {}
    for model in models:
        meta = model.get("meta")  # of llama.cpp's server
        context = model.get("max_model_len")
        if context is None and isinstance(meta, dict):
            context = meta.get("n_ctx")
        name = str(model.get("id"))
        contexts[name] = context if isinstance(context, int) else UNLIMITED
    return contexts


def _read_detokenized(body: object) -> str:
    if isinstance(body, dict):
        for key in ("prompt", "text", "content"):  # vLLM, SGLang, llama.cpp
            if isinstance(body.get(key), str):
                return str(body[key])
    raise MalformedAnswer(f"/detokenize gave no text: {str(body)[:200]}")


def _read_echo(body: object) -> str | None:
    """The echoed text; None if the server ignored `echo`."""
    try:
        choice = body["choices"][0]  # type: ignore[index]
        tokens = choice["logprobs"]["tokens"]
        return str(choice["text"]) if len(tokens) > 1 else None
    except (KeyError, IndexError, TypeError):
        return None


def count_ends(prompt: PromptTokens) -> tuple[int, ...]:
    """Tokens that complete the answer to a count prompt.

    They only save the server work: tokens after them are ignored in any case.
    """
    ends = set()
    for count in range(1, 100):
        answer = prompt.count_answer(count)
        for end in range(1, len(answer) + 1):
            if prompt.read_count(answer[:end])[1]:
                # not a space, which may also precede the number
                if prompt.read_count(answer[end - 1 : end])[1]:
                    ends.add(answer[end - 1])
                break
    return tuple(sorted(ends))
