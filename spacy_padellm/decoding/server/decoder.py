"""`ServerDecoder`: a model server answers the paper's two rounds of prompts."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.decoding.base import COUNTS_AND_MENTIONS, DecodeJob, DecodeResult
from spacy_padellm.decoding.limits import (
    Cuts,
    Limits,
    check_context,
    check_limits,
    mention_room,
)
from spacy_padellm.decoding.mention_prompts import MentionPrompt, separate_prompts
from spacy_padellm.decoding.server.check import UNLIMITED, ServedModel, ServedModels
from spacy_padellm.decoding.server.connection import Connection
from spacy_padellm.decoding.server.secrets import DEFAULT_KEY
from spacy_padellm.decoding.server.settings import ServerSettings, check_url
from spacy_padellm.errors import Errors
from spacy_padellm.locks import make_lock
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens

_T = TypeVar("_T")

# several threads may ask a decoder for its connection at once; of the module, because
# a decoder with a lock of its own could not be pickled
_connecting = make_lock()
AHEAD = 4  # texts of the look-ahead, as a multiple of those in progress


@dataclass(frozen=True)
class ServerDecoder:
    """Decode on a server with OpenAI's API `/v1/completions`.

    All prompts of a round for one text are sent in one request, in the order of the
    labels, so that a server with prefix caching encodes the text once. The API key is
    read from the environment, never saved, and sent only to servers that may have it;
    see `check_secrets`.

    base_url (str): The server's address, including `/v1`.
    model (str | None): The model's name on the server; None if it serves only one.
    api_key_env (str): The environment variable with the API key.
    max_mentions (int): Most mentions of one label in one text.
    max_mention_tokens (int): Most tokens of a mention.
    max_concurrency (int): Texts in progress at the same time.
    max_retries (int): How often a request is repeated, with growing pauses.
    timeout (float): Seconds to wait for a complete answer.
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
        check_limits(
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

    def stream(self, job: DecodeJob, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """See `Decoder`; `job.lm` is not used.

        RAISES (ValueError): If the server does not have the model, or does not return
            token ids and log-probabilities; if the job has forced outputs, or the
            prompt of a prefix LM.
        """
        if job.forced is not None:
            raise ValueError(Errors.P179)
        if job.prompt.prompt.prefix_lm:
            raise ValueError(Errors.P180)
        served = self._connect()
        limits, cuts = Limits(self.max_mentions, self.max_mention_tokens), Cuts()
        # a copy of the labels, which the caller may change while texts are in progress
        job = replace(job, labels=dict(job.labels))
        text_decoder = _TextDecoder(served, job, limits, cuts)
        waiting: deque[Future[DecodeResult]] = deque()
        try:
            for text in texts:
                waiting.append(served.connection.submit(text_decoder.decode(text)))
                while waiting and (
                    waiting[0].done() or len(waiting) >= AHEAD * self.max_concurrency
                ):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
        cuts.report(limits)

    def answer_room(self, job: DecodeJob, context: int) -> Callable[[int], int]:
        """See `Sized`."""
        return mention_room(self.max_mention_tokens, context)

    def context(self, prompt: PromptTokens) -> int | None:
        """See `Remote`. Asks the server once for each prompt."""
        served = self._connect()
        model = served.connection.submit(served.get(prompt)).result()
        return None if model.context == UNLIMITED else model.context

    def in_turn(self, function: Callable[[], _T]) -> _T:
        """See `Remote`. All texts are tokenized in the connection's thread."""

        async def call() -> _T:
            return function()

        return self._connect().connection.submit(call()).result()

    def _connect(self) -> ServedModels:
        """The server, over the decoder's one connection of this process."""
        with _connecting:
            served = self.__dict__.get("_served")
            if served is None or served.connection.pid != os.getpid():
                connection = Connection(self._settings())
                served = self.__dict__["_served"] = ServedModels(connection)
            return served

    def _settings(self) -> ServerSettings:
        return ServerSettings(
            base_url=self.base_url,
            model=self.model,
            api_key_env=self.api_key_env,
            max_concurrency=self.max_concurrency,
            max_retries=self.max_retries,
            timeout=self.timeout,
        )


@dataclass(frozen=True, slots=True)
class _TextDecoder:
    """Decodes the texts of a stream.

    Its coroutines run in the connection's thread. All texts are tokenized there,
    because a tokenizer can be used by only one thread at a time.

    served (ServedModels): The server.
    job (DecodeJob): The prompt and the labels.
    limits (Limits): Limits of counts and mentions.
    cuts (Cuts): Those of all texts are added to it.
    """

    served: ServedModels
    job: DecodeJob
    limits: Limits
    cuts: Cuts

    async def decode(self, text: str) -> DecodeResult:
        """The mentions of a text, or the error that kept it from being decoded.

        RAISES (ValueError): If no text can be decoded.
        """
        async with self.served.connection.slots:
            try:
                model = await self.served.get(self.job.prompt)
            except ConnectionError as error:
                return error
            try:
                prompts = await self._mention_prompts(text, model)
                return await self._mentions(prompts, model)
            except (ConnectionError, ValueError) as error:
                return error

    async def _mention_prompts(
        self, text: str, model: ServedModel
    ) -> list[MentionPrompt]:
        """The first round: ask for the counts, and make the prompts of all mentions."""
        prompt, labels = self.job.prompt, self.job.labels
        (count_prompts,) = prompt.count_prompts([text], list(labels.values()))
        check_context(count_prompts, model.context)
        sequences = count_prompts.sequences
        answers = await self.served.connection.complete(
            model.name,
            sequences,
            models=model.names,
            prompt=prompt,
            max_tokens=MAX_COUNT_TOKENS,
            stop=model.count_ends,
        )
        found: list[MentionPrompt] = []
        for (label, name), sequence, answer in zip(
            labels.items(), sequences, answers, strict=True
        ):
            count, _ = prompt.read_count(answer.until(prompt.eos).tokens)
            if count:
                number = min(count, self.limits.max_mentions)
                self.cuts.note_count(count, self.limits.max_mentions)
                shared = prompt.mention_prompts(text, name, count=count, number=number)
                found += separate_prompts(shared, sequence, label, text_index=0)
        return found

    async def _mentions(
        self, prompts: Sequence[MentionPrompt], model: ServedModel
    ) -> list[Mention]:
        """The second round: ask for all mentions."""
        if not prompts:
            return []
        longest = max(len(prompt.sequence) for prompt in prompts)
        if longest >= model.context:
            raise ValueError(Errors.P121.format(tokens=longest, context=model.context))
        room = min(self.limits.max_mention_tokens, model.context - longest)
        answers = await self.served.connection.complete(
            model.name,
            [prompt.sequence for prompt in prompts],
            models=model.names,
            prompt=self.job.prompt,
            max_tokens=room,
        )
        answers = [answer.until(self.job.prompt.eos) for answer in answers]
        full = room < self.limits.max_mention_tokens
        for answer in answers:
            self.cuts.note_answer(cut=len(answer.tokens) == room, full=full)
        strings = self.job.prompt.strings.decode_mentions([a.tokens for a in answers])
        return [
            prompt.answered_with(string, answer.log_probabilities)
            for prompt, string, answer in zip(prompts, strings, answers, strict=True)
        ]
