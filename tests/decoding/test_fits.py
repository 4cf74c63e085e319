"""Texts that fit the model, with all that is asked about them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
from conftest import LABELS, LIMITS, TWICE, prepare

from spacy_padellm.decoding import fits as fits_module
from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.fits import Fits
from spacy_padellm.decoding.limits import check_context
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens
from spacy_padellm.text.span_getters import make_doc_spans
from spacy_padellm.text.windows import make_windows

CONTEXT = 120
WORDS = ["Angela", "Merkel", "met", "Macron", "in", "Berlin", "北京", "."]

pytestmark = pytest.mark.usefixtures("quiet")


def make_job(preset: str, **templates: str) -> DecodeJob:
    lm, prompt = prepare("llama", preset, **templates)
    lm.model.config.max_position_embeddings = CONTEXT
    return DecodeJob(prompt, LABELS, lm)


def cut(job: DecodeJob, text: str) -> list[str]:
    """The texts of the windows of a text."""
    doc = spacy.blank("en").make_doc(text)
    fits = Fits(cache(lambda: job))
    windows = make_windows([doc], make_doc_spans(), name="ner", fits=fits)
    return [window.text for window in windows]


def asked(job: DecodeJob, text: str) -> CountPrompts:
    (count_prompts,) = job.prompt.count_prompts([text], list(LABELS.values()))
    return count_prompts


@pytest.mark.parametrize("preset", sorted(TWICE))
def test_fits_text_read_twice_is_cut_into_windows_that_fit(preset: str) -> None:
    job = make_job(preset, text=TWICE[preset])
    text = " ".join(WORDS * 20)
    windows = cut(job, text)
    assert len(windows) > 2
    assert "".join(" ".join(windows).split()) == "".join(text.split())
    for window in windows:
        check_context(asked(job, window), CONTEXT)
    for decoder in (TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)):
        results = decoder.stream(job, windows)
        assert not any(isinstance(result, Exception) for result in results)


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_fits_text_whose_copies_leave_room_for_a_mention(copies: int) -> None:
    job = make_job("paper-en", text="text:\n{text}\n" * copies)
    fits = Fits(cache(lambda: job))
    room = CONTEXT - 2 * MAX_COUNT_TOKENS - CONTEXT // 8
    sizes = []
    for number in range(1, CONTEXT):
        text = "2" * number
        longest = max(map(len, asked(job, text).sequences))
        assert fits(text) == (longest <= room)
        sizes += [number] * fits(text)
    assert 0 < len(sizes) < CONTEXT // copies


@pytest.mark.parametrize("preset", sorted(TWICE))
def test_fits_label_that_leaves_no_room_is_reported_as_such(preset: str) -> None:
    lm, prompt = prepare("llama", preset, text=TWICE[preset])
    lm.model.config.max_position_embeddings = CONTEXT
    job = DecodeJob(prompt, {"LONG": "long " * CONTEXT, "PER": "person"}, lm)
    assert Fits(lambda: job)("2")
    (error,) = TreeDecoder(**LIMITS).stream(job, ["2"])
    assert "Shorten its name or description" in str(error)


class Away:
    """A `Remote` that cannot be asked for a while; each question takes a minute."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.asked: list[float] = []

    def context(self, prompt: PromptTokens) -> int:
        self.asked.append(self.clock[0])
        self.clock[0] += 60
        if len(self.asked) < 3:
            raise ConnectionError("The server cannot be reached.")
        return CONTEXT

    def in_turn(self, function: Callable[[], int]) -> int:
        return function()


def test_fits_a_server_that_is_away_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    timer = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr(fits_module, "time", timer)
    job = make_job("paper-en")
    job = DecodeJob(job.prompt, job.labels)
    away: Any = Away(clock)
    fits = Fits(lambda: job, decoder=away)
    found = []
    for clock[0] in (0.0, 61.0, 90.0, 121.0, 182.0, 300.0, 360.0, 420.0):
        found.append(fits("2" * CONTEXT))
    # not while it would be asked all the time, nor when it is known
    assert away.asked == [0.0, 121.0, 300.0]
    assert found == [True] * 5 + [False] * 3


def test_fits_a_server_without_a_limit_is_asked_once() -> None:
    job = make_job("paper-en")
    job = DecodeJob(job.prompt, job.labels)
    away: Any = Away([0.0])
    away.context = lambda prompt: away.asked.append(0.0)
    fits = Fits(lambda: job, decoder=away)
    assert fits("2" * CONTEXT)
    assert fits("2" * CONTEXT)
    assert len(away.asked) == 1
