"""What is asked of a model server before its first text."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spacy_padellm.decoding.server.answers import MalformedAnswer, bare
from spacy_padellm.decoding.server.client import Connection, Refused
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.prompt.tokens import PromptTokens

UNLIMITED = 1 << 30  # tokens of a context that the server does not tell
PROBE = "Zoë paid €20 in New York,\n第1 北京!"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model that a server runs.

    name (str): Its name in requests.
    context (int): The longest sequence in tokens that it takes.
    count_ends (tuple[int, ...]): Tokens with which the answer to a count prompt is
        complete.
    """

    name: str
    context: int
    count_ends: tuple[int, ...]


class ServedModels:
    """What is known of a server's model, asked for once for each prompt."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._checks: weakref.WeakKeyDictionary[
            PromptTokens, asyncio.Task[ServedModel]
        ] = weakref.WeakKeyDictionary()

    async def get(self, prompt: PromptTokens) -> ServedModel:
        """The model, once it is known to fit the client's tokenizer.

        All texts that wait for the first check wait for the same; after one that
        failed, the next text tries again.
        RAISES (ConnectionError): If the server cannot be reached.
        RAISES (ValueError): If it serves no such model, or not what is needed.
        """
        check = self._checks.get(prompt)
        if check is None or (check.done() and check.exception() is not None):
            check = asyncio.ensure_future(check_server(self.connection, prompt))
            self._checks[prompt] = check
        # a text that is given up does not cancel the check of the others
        return await asyncio.shield(check)


async def check_server(connection: Connection, prompt: PromptTokens) -> ServedModel:
    """Check that the server has the model, the same tokens, and gives what is needed.

    RAISES (ConnectionError): If it cannot be reached.
    RAISES (ValueError): If it has not.
    """
    name, context = await _find_model(connection)
    (branches,) = prompt.count_branches([PROBE], ["x"])
    probe = branches.root + branches.labels[0]
    await _check_tokens(connection, name, probe, prompt)
    # whether it gives token ids and log-probabilities
    await connection.complete(name, [probe], prompt=prompt, max_tokens=1)
    return ServedModel(name, context, count_ends(prompt))


async def _find_model(connection: Connection) -> tuple[str, int]:
    """The model's name and context."""
    name, url = connection.settings.model, connection.settings.base_url
    try:
        contexts = await connection.request("get", "/models", _read_models)
    except Refused as error:
        if error.status not in (404, 405) or name is None:
            raise
        contexts = {}  # a gateway that has no list
    if name is None and len(contexts) == 1:
        (name,) = contexts
    if name is None or (contexts and name not in contexts):
        known = ", ".join(contexts)
        raise ValueError(Errors.P176.format(url=url, model=name, known=known))
    return name, contexts.get(name, UNLIMITED)


async def _check_tokens(
    connection: Connection, model: str, probe: Sequence[int], prompt: PromptTokens
) -> None:
    """Check that the probe's ids mean the same text to the server."""
    decoded = prompt.tokenizer.decode(probe, clean_up_tokenization_spaces=False)
    settings = connection.settings
    body: dict[str, Any] = {"model": model, "tokens": list(probe)}
    said: str | None
    try:
        url = f"{settings.root}/detokenize"
        said = await connection.request("post", url, _read_detokenized, body=body)
    except Refused:
        said = await _echo(connection, model, probe)
    if said is None:
        logger.warning(Warnings.W170.format(url=settings.base_url))
    elif not bare(said).startswith(bare(decoded)):
        message = Errors.P178.format(
            url=settings.base_url, model=model, own=decoded, said=said
        )
        raise ValueError(message)


async def _echo(connection: Connection, model: str, probe: Sequence[int]) -> str | None:
    """The probe's text by an echo, where a server has no /detokenize."""
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
    """The names of the models, each with its context."""
    found = body.get("data") if isinstance(body, dict) else None
    if not isinstance(found, list) or not all(isinstance(m, dict) for m in found):
        raise MalformedAnswer(f"/models gave no list: {str(body)[:200]}")
    contexts = {}
    for model in found:
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
    """The echoed text; None where the server passed over `echo`."""
    try:
        choice = body["choices"][0]  # type: ignore[index]
        tokens = choice["logprobs"]["tokens"]
        return str(choice["text"]) if len(tokens) > 1 else None
    except (KeyError, IndexError, TypeError):
        return None


def count_ends(prompt: PromptTokens) -> tuple[int, ...]:
    """Tokens with which the answer to a count prompt is complete.

    They only save the server work: what comes after them is not read.
    """
    ends = set()
    for count in range(1, 100):
        answer = prompt.count_answer(count)
        for end in range(1, len(answer) + 1):
            if prompt.read_count(answer[:end])[1]:
                # not a blank, which may also stand before the number
                if prompt.read_count(answer[end - 1 : end])[1]:
                    ends.add(answer[end - 1])
                break
    return tuple(sorted(ends))
