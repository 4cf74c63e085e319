"""Checks a model server before its first text."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spacy_padellm.checks import is_whole
from spacy_padellm.decoding.server.answers import MalformedAnswer, strip_all
from spacy_padellm.decoding.server.connection import Connection
from spacy_padellm.decoding.server.transport import Refused
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.prompt.tokens import PromptTokens

UNLIMITED = 1 << 30  # context in tokens if the server does not report it
PROBE = "Zoë paid €20 in New York,\n第1 北京!"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model of a server.

    name (str): Its name in requests.
    names (frozenset[str]): The names that it may have in answers.
    context (int): The longest sequence in tokens that it takes.
    count_ends (tuple[int, ...]): Tokens that complete the answer to a count prompt.
    """

    name: str
    names: frozenset[str]
    context: int
    count_ends: tuple[int, ...]


class ServedModels:
    """A server's model, which is checked once for each prompt."""

    def __init__(self, connection: Connection) -> None:
        """Prepare the check, without sending a request.

        connection (Connection): The connection to the server.
        """
        self.connection = connection
        self._checks: weakref.WeakKeyDictionary[
            PromptTokens, asyncio.Task[ServedModel]
        ] = weakref.WeakKeyDictionary()

    async def get(self, prompt: PromptTokens) -> ServedModel:
        """The model, after a check that it has the client's tokenizer.

        All texts wait for the same check. If it fails, the next text repeats it.

        prompt (PromptTokens): The prompt.
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

    connection (Connection): The connection to the server.
    prompt (PromptTokens): The prompt.
    RETURNS (ServedModel): The model.
    RAISES (ConnectionError): If the server cannot be reached.
    RAISES (ValueError): If it does not have the model, has another tokenizer, or does
        not return token ids and log-probabilities.
    """
    name, names, context = await _find_model(connection)
    (count_prompts,) = prompt.count_prompts([PROBE], ["x"])
    probe = count_prompts.root + count_prompts.labels[0]
    await _check_tokens(connection, name, probe, prompt)
    # fails if there are no token ids or log-probabilities
    await connection.complete(name, [probe], models=names, prompt=prompt, max_tokens=1)
    return ServedModel(name, names, context, count_ends(prompt))


@dataclass(frozen=True, slots=True)
class _Listed:
    """A model in the list of a server.

    root (str | None): What is served under the name.
    context (int | None): The longest sequence in tokens; None if it is not told.
    parent (str | None): The name of the model that an adapter is for.
    """

    root: str | None
    context: int | None
    parent: str | None


async def _find_model(connection: Connection) -> tuple[str, frozenset[str], int]:
    """The model's name, the names that answers may give to it, and its context."""
    name, url = connection.settings.model, connection.settings.base_url
    try:
        listed = await connection.request("get", "/models", _read_models)
    except Refused as error:
        if error.status not in (404, 405) or name is None:
            raise
        listed = {}  # a gateway without a list of models
    if name is None and len(listed) == 1:
        (name,) = listed
    if name is None or (listed and name not in listed):
        known = connection.plain(", ".join(listed))
        raise ValueError(Errors.P176.format(url=url, model=name, known=known))
    root = listed[name].root if listed else None
    # vLLM answers with the first of several names
    names = {n for n, other in listed.items() if root and other.root == root}
    return name, frozenset({name, *names}), _context_of(name, listed)


def _context_of(name: str, listed: Mapping[str, _Listed]) -> int:
    """The context of a model, or of the one that it is an adapter for."""
    seen: set[str] = set()
    asked: str | None = name
    while asked is not None and asked in listed and asked not in seen:
        seen.add(asked)
        model = listed[asked]
        if model.context is not None:
            return model.context
        asked = model.parent  # vLLM tells no context of an adapter itself
    return UNLIMITED


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
            url=settings.base_url,
            model=connection.plain(model),
            local=decoded,
            served=connection.plain(served),
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


def _read_models(body: object) -> dict[str, _Listed]:
    """The models by their names."""
    models = body.get("data") if isinstance(body, dict) else None
    if not isinstance(models, list) or not all(isinstance(m, dict) for m in models):
        raise MalformedAnswer(f"/models gave no list: {body}")
    listed = {}
    for model in models:
        meta = model.get("meta")  # of llama.cpp's server
        context = model.get("max_model_len")
        if context is None and isinstance(meta, dict):
            context = meta.get("n_ctx")
        known = is_whole(context) and context > 0
        listed[str(model.get("id"))] = _Listed(
            root=_string(model.get("root")),
            context=context if known else None,
            parent=_string(model.get("parent")),
        )
    return listed


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _read_detokenized(body: object) -> str:
    if isinstance(body, dict):
        for key in ("prompt", "text", "content"):  # vLLM, SGLang, llama.cpp
            if isinstance(body.get(key), str):
                return str(body[key])
    raise MalformedAnswer(f"/detokenize gave no text: {body}")


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

    prompt (PromptTokens): The prompt.
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
