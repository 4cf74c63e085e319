"""Texts that fit the model, with all that is asked about them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
from conftest import LABELS, LIMITS, TWICE, prepare

from spacy_padellm.decoding import fits as fits_module
from spacy_padellm.decoding.base import DecodeJob, Decoder
from spacy_padellm.decoding.baselines.augmented import AugmentedDecoder
from spacy_padellm.decoding.baselines.decoder import AnswerDecoder
from spacy_padellm.decoding.baselines.onestep import OneStepDecoder
from spacy_padellm.decoding.baselines.structured import StructuredDecoder
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.fits import Fits
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.limits import check_context
from spacy_padellm.decoding.recorder import Recorder
from spacy_padellm.decoding.server.decoder import ServerDecoder
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


def cut(job: DecodeJob, text: str, *, decoder: Decoder | None = None) -> list[str]:
    """The texts of the windows of a text."""
    doc = spacy.blank("en").make_doc(text)
    fits = Fits(cache(lambda: job), decoder=decoder)
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


LONG_ANSWERS = [OneStepDecoder(), StructuredDecoder(), AugmentedDecoder()]


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("decoder", LONG_ANSWERS)
def test_fits_text_whose_answer_has_room_beside_it(
    decoder: AnswerDecoder, copies: int
) -> None:
    job = make_job("paper-en", text="text:\n{text}\n" * copies)
    job.model.model.config.max_position_embeddings = 4 * CONTEXT
    fits = Fits(lambda: job, decoder=decoder)
    room = decoder.answer_room(job, 4 * CONTEXT)
    sizes = []
    for number in range(1, 4 * CONTEXT):
        prompts = asked(job, "2" * number)
        longest = max(map(len, prompts.sequences))
        assert fits("2" * number) == (longest + room(number) <= 4 * CONTEXT)
        sizes += [number] * fits("2" * number)
    assert 20 < len(sizes) < 2 * CONTEXT


@pytest.mark.parametrize("decoder", LONG_ANSWERS)
def test_fits_text_beside_many_labels(decoder: AnswerDecoder) -> None:
    labels = {f"L{number}": f"label {number}" for number in range(30)}
    job = replace(make_job("paper-en"), labels=labels)
    job.model.model.config.max_position_embeddings = 512
    assert Fits(lambda: job, decoder=decoder)("2" * 100)


@pytest.mark.parametrize("decoder", LONG_ANSWERS)
def test_fits_windows_of_a_long_text_have_room_for_their_answers(
    decoder: AnswerDecoder,
) -> None:
    job = make_job("paper-en")
    job.model.model.config.max_position_embeddings = 4 * CONTEXT
    text = " ".join(f"Paris {number} ." for number in range(60))
    # every word that may be one is a mention
    windows = cut(job, text, decoder=decoder)
    gold = {window: {"LOC": re.findall("Paris", window)} for window in windows}
    assert len(cut(job, text)) < len(windows)
    forced = ForcedOutputs(job.prompt, gold)
    found = list(decoder.stream(replace(job, forced=forced), windows))
    for window, mentions in zip(windows, found, strict=True):
        assert [mention.text for mention in mentions] == gold[window]["LOC"]


@pytest.mark.parametrize(
    "decoder",
    [
        TreeDecoder(max_mention_tokens=50),
        BatchDecoder(max_mention_tokens=50),
        ServerDecoder("http://localhost/v1", max_mention_tokens=50),
    ],
)
def test_fits_text_whose_mentions_have_room_beside_it(decoder: Decoder) -> None:
    context = 8 * 60
    job = make_job("paper-en")
    job.model.model.config.max_position_embeddings = context
    fits = Fits(lambda: job, decoder=Recorder(decoder))
    prompts = job.prompt.longest_count_prompt(tuple(LABELS.values()))
    longest = context - prompts - 2 * MAX_COUNT_TOKENS - 50
    assert fits("2" * longest)
    assert not fits("2" * (longest + 1))


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
