"""`ServerDecoder` against a real HTTP server with a small model."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

pytest.importorskip("openai")

from conftest import LABELS, LIMITS, TWICE, make_lm, prepare, random_texts, same
from small_server import SmallServer

from spacy_padellm.decoding.base import DecodeJob, decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.server import decoder as decoder_module
from spacy_padellm.decoding.server.connection import Connection
from spacy_padellm.decoding.server.decoder import AHEAD, ServerDecoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.template import PRESETS, make_prompt
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens

TEXTS = random_texts(seed=5, count=6)


pytestmark = pytest.mark.usefixtures("quiet")


def decoder(server: SmallServer, **settings: Any) -> ServerDecoder:
    return ServerDecoder(server.url, **{**LIMITS, "max_retries": 0, **settings})


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_server_equals_separate_sequences(preset: str) -> None:
    lm, prompt = prepare("llama", preset)
    expected = decode(BatchDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)
    assert sum(map(len, expected)) > 10
    with SmallServer(lm) as server:
        assert same(decode(decoder(server), None, prompt, TEXTS, LABELS), expected)


@pytest.mark.parametrize("preset", sorted(TWICE))
def test_server_reads_a_text_twice(preset: str) -> None:
    lm, prompt = prepare("llama", preset, text=TWICE[preset])
    expected = decode(BatchDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)
    assert sum(map(len, expected)) > 10
    with SmallServer(lm) as server:
        assert same(decode(decoder(server), None, prompt, TEXTS, LABELS), expected)
        sent = [ids for body in server.completions[1:] for ids in body["prompt"]]
    strings = [
        lm.tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in sent
    ]
    stems = [prompt.prompt.text.format(text=text) for text in TEXTS]
    assert all(any(map(string.startswith, stems)) for string in strings)


@pytest.mark.parametrize("copies", [1, 2])
def test_server_text_fits_if_all_its_copies_do(copies: int) -> None:
    lm, prompt = prepare("llama", "paper-en", text="text:\n{text}\n" * copies)
    (count_prompts,) = prompt.count_prompts(TEXTS[:1], list(LABELS.values()))
    tokens = count_prompts.text[1] - count_prompts.text[0]
    context = max(map(len, count_prompts.sequences)) + 2 * MAX_COUNT_TOKENS
    with SmallServer(lm) as server:
        server.context = context - 1
        job = DecodeJob(prompt, LABELS)
        (error,) = decoder(server).stream(job, TEXTS[:1])
    assert isinstance(error, ValueError)
    assert f"A text of {copies * tokens} tokens does not fit" in str(error)


@pytest.mark.parametrize("style", ["strings", "content"])
def test_server_reads_ids_wherever_they_stand(
    style: str,
    model: tuple[LanguageModel, PromptTokens],
    expected: list[list[Mention]],
) -> None:
    lm, prompt = model
    with SmallServer(lm, style=style) as server:
        assert same(decode(decoder(server), None, prompt, TEXTS, LABELS), expected)


def test_server_gets_all_prompts_of_a_round_in_one_request(
    server: SmallServer, prompt: PromptTokens
) -> None:
    (found,) = decode(decoder(server), None, prompt, TEXTS[:1], LABELS)
    _, counts, mentions = server.completions
    (count_prompts,) = prompt.count_prompts(TEXTS[:1], list(LABELS.values()))
    assert counts["prompt"] == [
        count_prompts.root + ids for ids in count_prompts.labels
    ]
    assert len(mentions["prompt"]) == len(found) > 1


def test_server_stops_a_count_where_it_is_complete(server: SmallServer) -> None:
    prompt = PromptTokens(PRESETS["paper-en"], server.lm.tokenizer)
    decode(decoder(server), None, prompt, TEXTS[:1], LABELS)
    newline = prompt.count_answer(7)[-1]
    assert prompt.strings.decode([newline]) == "\n"
    assert newline in server.completions[1]["stop_token_ids"]


def test_server_works_on_several_texts_up_to_the_limit(
    server: SmallServer, prompt: PromptTokens
) -> None:
    three = threading.Barrier(3, timeout=20)

    def meet(path: str, body: dict[str, Any]) -> None:
        # the first counts of three texts wait for each other
        if path == "/v1/completions" and 2 <= len(server.completions) <= 4:
            three.wait()

    server.fault = meet
    decode(decoder(server, max_concurrency=3), None, prompt, TEXTS, LABELS)
    assert server.most_under_way == 3


def test_server_asks_mentions_of_a_text_before_counts_of_the_last(
    server: SmallServer, prompt: PromptTokens
) -> None:
    decode(decoder(server, max_concurrency=2), None, prompt, TEXTS, LABELS)
    counts = len(LABELS)
    rounds = [len(body["prompt"]) == counts for body in server.completions[1:]]
    assert rounds != sorted(rounds, reverse=True)


def test_server_stream_reads_ahead_no_further_than_it_pays(
    server: SmallServer, prompt: PromptTokens
) -> None:
    taken = []

    def texts() -> Iterator[str]:
        for number in range(100):
            taken.append(number)
            yield TEXTS[0]

    held = threading.Event()

    def hold(path: str, body: dict[str, Any]) -> None:
        if path == "/v1/models":
            held.wait(20)

    server.fault = hold
    stream = decoder(server, max_concurrency=2).stream(
        DecodeJob(prompt, LABELS), texts()
    )
    first = threading.Thread(target=next, args=(stream,))
    first.start()
    while not server.requests:
        pass
    held.set()
    first.join()
    assert len(taken) == 2 * AHEAD
    stream.close()


def test_server_stream_yields_ready_results_before_it_reads_more(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    found: list[Any] = []

    def texts() -> Iterator[str]:
        yield TEXTS[0]
        while len(server.completions) < 3 or server.under_way:
            pass  # a source that waits for the first text's requests
        yield from TEXTS[1:3]

    for mentions in decoder(server).stream(DecodeJob(prompt, LABELS), texts()):
        found.append(mentions)
    assert same(found, expected[:3])


def test_server_is_checked_once(server: SmallServer, prompt: PromptTokens) -> None:
    server_decoder = decoder(server)
    for _ in range(2):
        decode(server_decoder, None, prompt, TEXTS[:2], LABELS)
    paths = [path for path, _ in server.requests]
    assert paths.count("/v1/models") == paths.count("/detokenize") == 1


def test_server_gives_an_error_for_a_text_that_is_too_long(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    texts = [TEXTS[0], "Berlin " * 300, TEXTS[1]]
    server.context = 200
    before, error, after = decoder(server).stream(DecodeJob(prompt, LABELS), texts)
    assert isinstance(error, ValueError)
    assert "does not fit the model, which takes 200 tokens" in str(error)
    assert same([before, after], expected[:2])


def test_server_reports_cut_answers(
    server: SmallServer, prompt: PromptTokens, caplog: pytest.LogCaptureFixture
) -> None:
    decode(decoder(server, max_mentions=1), None, prompt, TEXTS, LABELS)
    assert "max_mentions = 1" in caplog.text
    assert "max_mention_tokens = 7" in caplog.text


def test_server_reports_answers_that_the_context_cuts(
    server: SmallServer, prompt: PromptTokens, caplog: pytest.LogCaptureFixture
) -> None:
    server.context = 200
    settings = {"max_mention_tokens": 199, "max_mentions": 1}
    decode(decoder(server, **settings), None, prompt, TEXTS, LABELS)
    assert "where the model's context ended" in caplog.text
    assert "reached max_mention_tokens" not in caplog.text


def test_server_refuses_forced_answers(
    server: SmallServer, prompt: PromptTokens
) -> None:

    forced = ForcedOutputs(prompt, {})
    with pytest.raises(ValueError, match="cannot be forced"):
        decode(decoder(server), None, prompt, TEXTS, LABELS, forced=forced)


def test_server_refuses_prefix_lms(
    server: SmallServer, model: tuple[LanguageModel, PromptTokens]
) -> None:
    both_ways = make_prompt("paper-en", prefix_lm=True)
    prompt = PromptTokens(both_ways, model[0].tokenizer)
    with pytest.raises(ValueError, match="with causal attention only"):
        decode(decoder(server), None, prompt, TEXTS, LABELS)


def test_server_sends_the_prompts_of_separate_sequences() -> None:
    server_decoder = ServerDecoder("http://localhost/v1")
    assert server_decoder.output_format == BatchDecoder().output_format


@pytest.mark.parametrize("kind", ["pickle", "deepcopy"])
def test_server_copies_have_connections_of_their_own(
    kind: str, server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    server_decoder = decoder(server)
    decode(server_decoder, None, prompt, TEXTS[:1], LABELS)
    other = (
        pickle.loads(pickle.dumps(server_decoder))
        if kind == "pickle"
        else copy.deepcopy(server_decoder)
    )
    assert other == server_decoder
    assert same(decode(other, None, prompt, TEXTS, LABELS), expected)
    paths = [path for path, _ in server.requests]
    assert paths.count("/v1/models") == 2


def test_server_threads_share_one_connection(
    server: SmallServer, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    made: list[Connection] = []

    def connect(settings: Any) -> Connection:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)  # for a second one that is made meanwhile
        made.append(Connection(settings))
        return made[-1]

    monkeypatch.setattr(decoder_module, "Connection", connect)
    server_decoder = decoder(server, max_concurrency=2)

    def work(texts: list[str]) -> threading.Thread:
        decode(server_decoder, None, prompt, texts, LABELS)
        return server_decoder.in_turn(threading.current_thread)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, [TEXTS, TEXTS])
    assert len(made) == 1
    assert first is second
    assert server.most_under_way <= 2


def test_server_connects_again_after_a_failure(
    server: SmallServer, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_decoder = decoder(server, api_key_env="SMALL_KEY")
    with pytest.raises(ValueError, match="SMALL_KEY"):
        server_decoder.context(prompt)
    monkeypatch.setenv("SMALL_KEY", "abc")
    with ThreadPoolExecutor(1) as pool:  # another thread than the one that failed
        assert pool.submit(server_decoder.context, prompt).result(10) == server.context


forked: tuple[ServerDecoder, PromptTokens]  # what a forked process inherits


def in_fork(texts: list[str]) -> list[list[Mention]]:
    server_decoder, prompt = forked
    return decode(server_decoder, None, prompt, texts, LABELS)


def test_server_connection_is_left_alone_by_forked_processes(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    global forked
    forked = decoder(server), prompt
    assert same(in_fork(TEXTS[:3]), expected[:3])
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        for found in pool.map(in_fork, [TEXTS, TEXTS]):
            assert same(found, expected)
    assert same(in_fork(TEXTS), expected)


def test_server_closes_its_connection_with_the_decoder(
    server: SmallServer, prompt: PromptTokens
) -> None:
    before = set(threading.enumerate())
    server_decoder = decoder(server)
    decode(server_decoder, None, prompt, TEXTS[:2], LABELS)
    (loop,) = [
        thread
        for thread in set(threading.enumerate()) - before
        if thread.name == "spacy-padellm-server"
    ]
    del server_decoder
    loop.join(timeout=10)
    assert not loop.is_alive()


def test_server_without_the_special_tokens_of_the_prompt_is_told(
    server: SmallServer,
) -> None:
    other = make_lm("llama", seed=3)
    other.add_special_tokens(["<|label|>"])
    prompt = PromptTokens(PRESETS["compact"], other.tokenizer)
    with pytest.raises(ValueError, match="has another tokenizer"):
        decode(decoder(server), None, prompt, TEXTS, LABELS)


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({"max_retries": -1}, "a whole number from 0"),
        ({"timeout": 0}, "a number above 0"),
        ({"max_concurrency": 0}, "at least 1"),
    ],
)
def test_server_settings_out_of_range_are_told(
    settings: dict[str, Any], least: str
) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is .*{least}"):
        ServerDecoder(base_url="http://localhost:1/v1", model="ner", **settings)
