"""Faults for the tests of `ServerDecoder`, each met by one text of several."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from conftest import LABELS, LIMITS, random_texts
from small_server import Fault, SmallServer

from spacy_padellm.decoding.base import DecodeJob, DecodeResult
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.prompt.tokens import PromptTokens

TEXTS = random_texts(seed=7, count=5)
BAD = TEXTS[2]
Answer = tuple[int, dict[str, str], bytes]


def stream(
    server: SmallServer, prompt: PromptTokens, **settings: Any
) -> Iterator[DecodeResult]:
    settings = {**LIMITS, "max_retries": 0, **settings}
    return ServerDecoder(server.url, **settings).stream(
        DecodeJob(prompt, LABELS), TEXTS
    )


def is_of(prompt: PromptTokens, text: str, path: str, body: dict[str, Any]) -> bool:
    """Whether a request asks for the counts of a text."""
    (count_prompts,) = prompt.count_prompts([text], list(LABELS.values()))
    counts = [count_prompts.root + ids for ids in count_prompts.labels]
    return path == "/v1/completions" and body["prompt"] == counts


def once(
    server: SmallServer, prompt: PromptTokens, answer: Callable[[], Answer | None]
) -> list[float]:
    """Let the first request for one text fail; gives when it is asked."""
    times: list[float] = []

    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        if not is_of(prompt, BAD, path, body):
            return None
        times.append(time.monotonic())
        return answer() if len(times) == 1 else None

    server.fault = fault
    return times


def always(prompt: PromptTokens, answer: Answer) -> Fault:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        return answer if is_of(prompt, BAD, path, body) else None

    return fault


def choices(*, of: list[dict[str, Any]]) -> Answer:
    return 200, {}, json.dumps({"choices": of}).encode()
