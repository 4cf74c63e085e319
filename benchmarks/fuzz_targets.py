"""What `benchmarks.fuzz` gives changed inputs to."""

from __future__ import annotations

import functools
import json
import lzma
import platform
import random
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from gzip import compress as gzip
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import spacy
import srsly
from spacy.training import Example

from benchmarks.mutations import mutated_bytes, mutated_json, to_bytes
from spacy_padellm.corpora import convert as converting
from spacy_padellm.corpora.writing.languages import blank_pipeline
from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.server import answers, check
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.errors import Errors
from spacy_padellm.lm.task.config import SETTINGS_FILE, TaskSettings, read_settings
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.calibration import Calibration, Tuning
from spacy_padellm.prompt.template import PRESETS

CASES = Path(__file__).parents[1] / "tests" / "cases" / "convert"
SMALL = {
    "@architectures": "spacy-padellm.SmallCausalLM.v1",
    **{"vocab_size": 400, "hidden_size": 16, "intermediate_size": 16, "layers": 1},
    **{"heads": 1, "key_value_heads": 1, "context": 128},
    **{"dtype": "float32", "device": "cpu"},
}
SERVER = "http://127.0.0.1:1/v1"  # no request leaves the process
TEXT = "Anna Smith met Bob in Oslo ."

Attempt = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Target:
    """A reader.

    share (int): Its share of the inputs.
    make (Callable[[Path, random.Random], Attempt]): Gives a function that makes one
        input and reads it; all files are in the folder.
    """

    share: int
    make: Callable[[Path, random.Random], Attempt]


# padellm.json


def read_settings_file(folder: Path, chance: random.Random) -> Attempt:
    tags = TaughtTags({"person": 7}, {"person": 8}, [["person"]], True)
    tuning = Tuning({"PER": 0.5}, Calibration(0.7, -0.4))
    labels = {"PER": "person", "LOC": "place: towns"}
    valid = [
        json.loads(TaskSettings(labels, prompt, tuning, "x", tags).to_json())
        for prompt in PRESETS.values()
    ]

    def attempt() -> None:
        settings = mutated_json(chance.choice(valid), chance)
        (folder / SETTINGS_FILE).write_bytes(to_bytes(settings, chance))
        found = read_settings(folder)
        if found is not None and TaskSettings.from_json(found.to_json(), source="") != (
            found
        ):
            raise AssertionError("what was read is not written as it was read")

    return attempt


# Answers of model servers

_VLLM = {
    **{"id": "x", "object": "text_completion", "model": "small"},
    "choices": [
        {
            **{"index": index, "text": "a b", "finish_reason": "stop"},
            **{"token_ids": [1, 2], "prompt_token_ids": [7 + index]},
            "logprobs": {
                "tokens": ["token_id:1", "token_id:2"],
                "token_logprobs": [-0.1, -2.0],
            },
        }
        for index in range(2)
    ],
}
_LLAMA = {
    "choices": [
        {
            **{"index": index, "text": "12", "finish_reason": "stop"},
            "logprobs": {
                "content": [
                    {"id": 1, "token": "1", "logprob": -0.1, "top_logprobs": []},
                    {"id": 2, "token": "2", "logprob": -0.3},
                ]
            },
        }
        for index in range(2)
    ]
}
_MODELS = {"data": [{"id": "small", "max_model_len": 99, "meta": {"n_ctx": 9}}]}


def read_answers(folder: Path, chance: random.Random) -> Attempt:
    def decode(ids: Any) -> str:
        return "".join(map(str, ids))

    request = answers.CompletionRequest(
        [[7], [8]], 3, models={"small"}, vocabulary=9, decode=decode
    )
    readers: list[tuple[Any, Callable[[Any], Any]]] = [
        *[
            (valid, lambda x: answers.read_answers(x, request))
            for valid in (_VLLM, _LLAMA)
        ],
        (_MODELS, check._read_models),
        ({"prompt": "x"}, check._read_detokenized),
        (_VLLM, check._read_echo),
    ]

    def attempt() -> None:
        valid, read = chance.choice(readers)
        try:
            read(mutated_json(valid, chance))
        except (
            answers.MalformedAnswer,
            answers.UnusableAnswer,
            answers.OtherModel,
        ) as error:
            # `Connection.request` turns them into these
            found = Errors.P177.format(url=SERVER, found=str(error)[:500])
            raise ValueError(found) from error

    return attempt


def ask_server(folder: Path, chance: random.Random) -> Attempt:
    """Texts are decoded on a server whose answers are changed on their way."""
    lm = _component().handle.lm()
    prompt = lm.tokens_of(PRESETS["compact"])

    def right(path: str, body: dict[str, Any]) -> Any:
        if path.endswith("/models"):
            return {"data": [{"id": "small", "max_model_len": lm.context}]}
        if path.endswith("/detokenize"):
            return {"prompt": lm.tokenizer.decode(body["tokens"])}
        return {"choices": [choice(i, body) for i in range(len(body["prompt"]))]}

    def choice(index: int, body: dict[str, Any]) -> dict[str, Any]:
        count = chance.randrange(body["max_tokens"])
        ids = [chance.randrange(prompt.strings.size) for _ in range(count)]
        ids.append(prompt.eos)
        scores = [-chance.random() for _ in ids]
        found = {"index": index, "text": "x", "finish_reason": "stop"}
        named = {"tokens": [f"token_id:{i}" for i in ids], "token_logprobs": scores}
        return {**found, "token_ids": ids, "logprobs": named}

    def answer(request: Any) -> Any:
        body = json.loads(request.content) if request.content else {}
        found, status = right(request.url.path, body), 200
        headers: dict[str, str | bytes] = {"Content-Type": "application/json"}
        if chance.random() < 0.2:
            found = mutated_json(found, chance)
        if chance.random() < 0.05:
            status = chance.choice((201, 204, 301, 304, 307, 400, 404, 429, 500, 599))
        if chance.random() < 0.1:
            name = chance.choice(("Content-Type", "Location", "Retry-After", "Date"))
            headers[name] = mutated_bytes(b"text/html; charset=utf-8", chance)
        content = to_bytes(found, chance)
        # not read before the client does
        stream = _stream(httpx.AsyncByteStream, content)
        return httpx.Response(status, headers=headers, stream=stream)

    decoder = ServerDecoder(SERVER, max_retries=0, timeout=10)
    served = decoder._connect()
    http = served.connection._transport._client._client
    # openai has an httpx of its own in some versions
    httpx = import_module(type(http._transport).__module__.partition(".")[0])
    http._transport = httpx.MockTransport(answer)
    platform.processor()  # openai asks for it once, and starts a process
    job = DecodeJob(prompt, {"PER": "person", "LOC": "place"})

    def attempt() -> None:
        served._checks.clear()
        served.connection._given_up = False
        for found in decoder.stream(job, [TEXT]):
            if isinstance(found, Exception):
                raise found

    return attempt


def _stream(base: Any, content: bytes) -> Any:
    class Stream(base):  # type: ignore[misc]  # of either httpx
        async def __aiter__(self) -> Any:
            yield content

    return Stream()


# Bytes of a component


@functools.cache
def _component() -> Any:
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("padellm_ner", config={"model": SMALL})
    doc = nlp.make_doc(TEXT)
    places = [(0, 10, "PER"), (22, 26, "LOC")]
    spans = [doc.char_span(start, end, label) for start, end, label in places]
    doc.set_ents([span for span in spans if span is not None])
    nlp.initialize(lambda: [Example(nlp.make_doc(TEXT), doc)])
    return pipe


def load_bytes(folder: Path, chance: random.Random) -> Attempt:
    """The component that loads them uses its model."""
    return _load_bytes(chance, {})


def load_client_bytes(folder: Path, chance: random.Random) -> Attempt:
    """The component that loads them uses a model server, and no weights."""
    decoder = {"@misc": "spacy-padellm.ServerDecoder.v1", "base_url": SERVER}
    return _load_bytes(chance, {"decoder": decoder})


def _load_bytes(chance: random.Random, config: dict[str, Any]) -> Attempt:
    data = _component().to_bytes()
    settings = {"model": SMALL, **config}
    pipe: Any = spacy.blank("en").add_pipe("padellm_ner", config=settings)

    def attempt() -> None:
        pipe.from_bytes(_changed_message(data, chance))

    return attempt


def _changed_message(data: bytes, chance: random.Random) -> bytes:
    kind = chance.randrange(10)
    if kind == 0:
        return mutated_bytes(data, chance)
    message = srsly.msgpack_loads(data)
    if kind == 1:
        part = chance.choice(list(message))
        message[part] = mutated_json(chance.choice(([], "x", {"x": b"x"})), chance)
    elif kind < 5:
        message["cfg"] = to_bytes(
            mutated_json(json.loads(message["cfg"]), chance), chance
        )
    elif kind == 5:
        message["vocab"] = mutated_bytes(message["vocab"], chance)
    else:
        files = message["model"]
        name = chance.choice(list(files))
        if kind == 6:
            content = files.pop(name)
            files[mutated_bytes(name.encode(), chance).decode("utf8", "replace")] = (
                content
            )
        elif kind < 9 and name.endswith(".json"):
            settings = mutated_json(json.loads(files[name]), chance)
            files[name] = to_bytes(settings, chance)
        else:
            files[name] = mutated_bytes(files[name], chance)
    try:
        return bytes(srsly.msgpack_dumps(message))
    except (UnicodeEncodeError, OverflowError):
        # a value that such a message cannot have
        return mutated_bytes(data, chance)


# Corpora


def convert(folder: Path, chance: random.Random) -> Attempt:
    """All formats, by files of common tools."""
    cases = [
        case for path in sorted(CASES.glob("*.yaml")) for case in srsly.read_yaml(path)
    ]
    sources = [
        {name: content.encode() for name, content in case["files"].items()}
        | {name: b64decode(data) for name, data in case.get("binary", {}).items()}
        for case in cases
    ]
    sources += list(_others(folder))
    converting.blank_pipeline = functools.cache(blank_pipeline)  # type: ignore[attr-defined]
    place, target = folder / "in", folder / "out" / "x.spacy"

    def attempt() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        files = dict(chance.choice(sources))
        changed = chance.choice(list(files))
        files[changed] = _changed_file(changed, files[changed], chance)
        for name, content in files.items():
            (place / name).write_bytes(content)
        first = place / next(iter(files))
        converting.convert(
            chance.choice((first, first, place)),
            target,
            data_format=chance.choice(("auto",) * 20 + converting.FORMATS),
            lang=chance.choice(("en", "en", "de", "xx")),
            flat=chance.random() < 0.1,
            spans_key="padellm",
        )

    return attempt


def _changed_file(name: str, content: bytes, chance: random.Random) -> bytes:
    if name.endswith((".json", ".jsonl")) and chance.random() < 0.6:
        lines = content.splitlines() if name.endswith(".jsonl") else [content]
        number = chance.randrange(len(lines))
        try:
            value = json.loads(lines[number])
        except ValueError:
            return mutated_bytes(content, chance)
        lines[number] = json.dumps(mutated_json(value, chance)).encode()
        return b"\n".join(lines)
    return mutated_bytes(content, chance)


def _others(folder: Path) -> Iterator[dict[str, bytes]]:
    """Files that the cases lack: compressed ones, and Parquet."""
    row = {"tokens": ["Anna", "in", "Oslo"], "ner_tags": ["B-PER", "O", "B-LOC"]}
    line = json.dumps(row).encode()
    spans = {"text": "Anna", "spans": [{"start": 0, "end": 4, "label": "PER"}]}
    for packed, end in ((gzip(line), "gz"), (lzma.compress(line), "xz")):
        yield {f"a.jsonl.{end}": packed}
    yield {
        "a.json": json.dumps(
            [{"sentence": "Anna", "entities": {"PER": ["Anna"]}}]
        ).encode()
    }
    yield {"a.json": b'{"text": "Anna", "label": {"name": {"Anna": [[0, 3]]}}}'}
    for rows in ([row] * 3, [spans] * 3):
        path = folder / "a.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path, compression="none")
        yield {"a.parquet": path.read_bytes()}


TARGETS = {
    "padellm.json": Target(44, read_settings_file),
    "answers": Target(37, read_answers),
    "server": Target(1, ask_server),
    "from_bytes": Target(1, load_bytes),
    "from_bytes, client": Target(2, load_client_bytes),
    "convert": Target(15, convert),
}
