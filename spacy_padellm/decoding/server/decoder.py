"""`ServerDecoder`: the paper's two rounds of prompts, answered by a model server."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.decoding.base import (
    COUNTS_AND_MENTIONS,
    DecodeResult,
    Limits,
    check_context,
    check_settings,
)
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.server.check import ServedModel, ServedModels
from spacy_padellm.decoding.server.client import (
    DEFAULT_KEY,
    Connection,
    ServerSettings,
    check_url,
)
from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens

AHEAD = 4  # texts read ahead, as a multiple of those under way


@dataclass(frozen=True)
class ServerDecoder:
    """Decode on a server that speaks OpenAI's `/v1/completions`.

    All prompts of a text's round go in one request, labels in order, so that a server
    with prefix caching computes the text once. The API key is read from the
    environment and kept nowhere else.

    base_url (str): The server's address, up to and with `/v1`.
    model (str | None): The model's name there; None takes the only one.
    api_key_env (str): The environment variable that holds the API key.
    max_mentions (int): Mentions of one label in one text at the most.
    max_mention_tokens (int): Tokens of a mention at the most.
    max_concurrency (int): Texts under way at the same time.
    max_retries (int): How often a request is sent again, with growing pauses.
    timeout (float): Seconds to wait for an answer.
    """

    base_url: str
    model: str | None = None
    api_key_env: str = DEFAULT_KEY
    max_mentions: int = 32
    max_mention_tokens: int = 64
    max_concurrency: int = 64
    max_retries: int = 6
    timeout: float = 120.0
    needs_weights: ClassVar[bool] = False
    default_threshold: ClassVar[float] = 0.0
    output_format: ClassVar[str] = COUNTS_AND_MENTIONS

    def __post_init__(self) -> None:
        check_url(self.base_url)
        check_settings(
            max_mentions=self.max_mentions,
            max_mention_tokens=self.max_mention_tokens,
            max_concurrency=self.max_concurrency,
        )
        retries, timeout = self.max_retries, self.timeout
        if not (is_whole(retries) and retries >= 0):
            wrong = {"name": "max_retries", "value": retries}
            raise ValueError(Errors.P120.format(**wrong, least="a whole number from 0"))
        if not (is_number(timeout) and timeout > 0):
            wrong = {"name": "timeout", "value": timeout}
            raise ValueError(Errors.P120.format(**wrong, least="a number above 0"))

    def __getstate__(self) -> dict[str, Any]:
        # a connection belongs to its process
        return {k: v for k, v in self.__dict__.items() if k != "_served"}

    def stream(
        self,
        lm: LanguageModel | None,
        prompt: PromptTokens,
        texts: Iterable[str],
        labels: Mapping[str, str],
        *,
        forced: ForcedOutputs | None = None,
    ) -> Iterator[DecodeResult]:
        """See `Decoder`; `lm` is not used.

        RAISES (ValueError): If the server has not the model that is asked for, or does
            not give what is needed, if there are `forced` answers, or the prompt is a
            prefix LM's.
        """
        if forced is not None:
            raise ValueError(Errors.P179)
        if prompt.prompt.prefix_lm:
            raise ValueError(Errors.P180)
        served = self._connect()
        limits = Limits(self.max_mentions, self.max_mention_tokens)
        job = _Job(served, prompt, dict(labels), limits)
        waiting: deque[Future[DecodeResult]] = deque()
        try:
            for text in texts:
                waiting.append(served.connection.submit(job.decode(text)))
                while waiting and (
                    waiting[0].done() or len(waiting) >= AHEAD * self.max_concurrency
                ):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
        limits.report()

    def _connect(self) -> ServedModels:
        """The server, over this process's connection."""
        served = self.__dict__.get("_served")
        if served is None or served.connection.pid != os.getpid():
            settings = ServerSettings(
                base_url=self.base_url,
                model=self.model,
                api_key_env=self.api_key_env,
                max_concurrency=self.max_concurrency,
                max_retries=self.max_retries,
                timeout=self.timeout,
            )
            served = self.__dict__["_served"] = ServedModels(Connection(settings))
        return served


@dataclass(frozen=True, slots=True)
class _Job:
    """What the texts of one stream share.

    Its coroutines run in the connection's thread, where all tokenising is done: a
    tokenizer bears only one thread at a time.
    """

    served: ServedModels
    prompt: PromptTokens
    labels: dict[str, str]
    limits: Limits

    async def decode(self, text: str) -> DecodeResult:
        """The mentions of a text, or what went wrong with it.

        RAISES (ValueError): What goes wrong with all texts.
        """
        async with self.served.connection.slots:
            try:
                model = await self.served.get(self.prompt)
            except ConnectionError as error:
                return error
            try:
                return await self._two_rounds(text, model)
            except (ConnectionError, ValueError) as error:
                return error

    async def _two_rounds(self, text: str, model: ServedModel) -> list[Mention]:
        (branches,) = self.prompt.count_branches([text], list(self.labels.values()))
        check_context(branches, model.context)
        sequences = [branches.root + ids for ids in branches.labels]
        counted = await self.served.connection.complete(
            model.name,
            sequences,
            prompt=self.prompt,
            max_tokens=MAX_COUNT_TOKENS,
            stop=model.count_ends,
        )
        asked: list[tuple[str, int]] = []
        prompts: list[list[int]] = []
        for (label, name), sequence, answer in zip(
            self.labels.items(), sequences, counted, strict=True
        ):
            count, _ = self.prompt.read_count(answer.until(self.prompt.eos).tokens)
            if count:
                capped = self.limits.capped(count)
                branch = self.prompt.mention_branches(text, name, capped, count)
                path = sequence[: branch.keep] + branch.stem
                asked += [(label, n) for n in range(1, capped + 1)]
                prompts += [path + ids for ids in branch.mentions]
        if not prompts:
            return []
        longest = max(map(len, prompts))
        if longest >= model.context:
            raise ValueError(Errors.P121.format(tokens=longest, context=model.context))
        room = min(self.limits.max_mention_tokens, model.context - longest)
        answers = await self.served.connection.complete(
            model.name, prompts, prompt=self.prompt, max_tokens=room
        )
        answers = [answer.until(self.prompt.eos) for answer in answers]
        self.limits.mentions += sum(len(a.tokens) == room for a in answers)
        strings = self.prompt.strings.decode_mentions([a.tokens for a in answers])
        return [
            Mention(label, n, string, math.exp(sum(answer.scores)))
            for (label, n), string, answer in zip(asked, strings, answers, strict=True)
        ]
