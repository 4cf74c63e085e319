"""A small pipeline that finds real entities, and what the component's tests share."""

from __future__ import annotations

import atexit
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans, registry
from thinc.api import Adam

from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.text.span_getters import SpanGetter

NAME = "padellm_ner"
LABELS = {"LOC": "place", "ORG": "organisation", "PER": "person"}
SMALL = {
    "@architectures": "spacy-padellm.SmallCausalLM.v1",
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 48,
    "layers": 1,
    "heads": 2,
    "key_value_heads": 2,
    "context": 128,
    "dtype": "float32",
    "device": "cpu",
}
DOC_SPANS = {"@span_getters": "spacy-padellm.doc_spans.v1"}
REFUSING = {"@span_getters": "tests.refusing_spans.v1"}
# a prefix LM that tags its texts
TAGGING: dict[str, Any] = {
    "labels": LABELS,
    "prompt": {
        "@misc": "spacy-padellm.Prompt.v1",
        "preset": "compact",
        "prefix_lm": True,
    },
    "training": {"@misc": "spacy-padellm.Training.v1", "tag_loss": 0.3},
    "span_getter": DOC_SPANS,
}
TEXT = "Anna Smith met Bob in Paris ."
NESTED = "The Bank of Paris closed ."
EMPTY = "Nothing happened here ."
# no part comes again: repeated parts are cut apart
TOO_LONG = " ".join(f"Anna Smith met Bob in Paris {number} ." for number in range(60))
GOLD: dict[str, list[tuple[str, str]]] = {
    TEXT: [("Anna Smith", "PER"), ("Bob", "PER"), ("Paris", "LOC")],
    "Acme hired Bob in London .": [("Acme", "ORG"), ("Bob", "PER"), ("London", "LOC")],
    EMPTY: [],
    NESTED: [("Bank of Paris", "ORG"), ("Paris", "LOC")],
    "Anna Smith left Acme .": [("Anna Smith", "PER"), ("Acme", "ORG")],
}


@registry.span_getters("tests.refusing_spans.v1")  # type: ignore[attr-defined]
def make_refusing_spans() -> SpanGetter:
    """Each Doc is one window; a long one is an error."""

    def get_spans(docs: list[Doc]) -> list[list[Span]]:
        if any(len(doc) > 100 for doc in docs):
            raise ValueError("The test refuses this Doc.")
        return [[doc[:]] for doc in docs]

    return get_spans


def adam(rate: float = 0.005, **settings: Any) -> Adam:
    return Adam(rate, **{"use_averages": False, "L2": 0.0, **settings})


def make_nlp(**config: Any) -> Language:
    """A blank pipeline with the component, by default one with a model to be made."""
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, config={"model": SMALL, **config})
    return nlp


def named(folder: Path | str, *, model: dict[str, Any] | None = None) -> dict[str, Any]:
    """The config's model, from a folder."""
    settings = {"name": str(folder), "dtype": "float32", "device": "cpu"}
    return {"@architectures": "spacy-padellm.CausalLM.v1", **settings, **(model or {})}


def pipe_of(nlp: Language) -> PaDeLLMNER:
    pipe = nlp.get_pipe(NAME)
    assert isinstance(pipe, PaDeLLMNER)
    return pipe


def gold_doc(nlp: Language, text: str, mentions: Sequence[tuple[str, str]]) -> Doc:
    doc = nlp.make_doc(text)
    spans = []
    for string, label in mentions:
        start = text.index(string)
        spans.append(doc.char_span(start, start + len(string), label=label))
    doc.spans["padellm"] = spans
    doc.set_ents(filter_spans(spans))
    return doc


def gold_examples(
    nlp: Language, gold: Mapping[str, Sequence[tuple[str, str]]] = GOLD
) -> list[Example]:
    return [
        Example(nlp.make_doc(text), gold_doc(nlp, text, mentions))
        for text, mentions in gold.items()
    ]


def initialised(**config: Any) -> Language:
    """A pipeline whose small model is made, but not trained."""
    torch.manual_seed(0)
    nlp = make_nlp(**config)
    examples = gold_examples(nlp)
    nlp.initialize(lambda: examples)
    return nlp


def train(
    nlp: Language,
    *,
    steps: int,
    rate: float = 0.005,
    examples: Sequence[Example] | None = None,
) -> list[float]:
    """Train, by default on the gold examples; gives the loss of each step."""
    examples, sgd = examples or gold_examples(nlp), adam(rate)
    return [nlp.update(examples, sgd=sgd)[NAME] for _ in range(steps)]


@cache
def trained_folder() -> Path:
    """A saved pipeline that was overfitted to the gold examples; only read it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shape = {"hidden_size": 64, "intermediate_size": 128, "layers": 2}
    nlp = initialised(model={**SMALL, **shape}, labels=LABELS)
    train(nlp, steps=100)
    torch.set_num_threads(threads)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    nlp.to_disk(folder / "nlp")
    return folder / "nlp"


def model_folder() -> Path:
    """Its model; only read it."""
    return trained_folder() / NAME / "model"


def without_settings(folder: Path) -> Path:
    """A copy of the trained model that does not say what it was trained for."""
    for path in model_folder().iterdir():
        if path.name != "padellm.json":
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def trained(**config: Any) -> Language:
    """A new pipeline on the trained model."""
    return make_nlp(**{"model": named(model_folder()), **config})


def found(docs: Iterable[Doc]) -> list[list[tuple[str, str]]]:
    """The strings and labels of all mentions of each Doc."""
    return [[(s.text, s.label_) for s in doc.spans["padellm"]] for doc in docs]


def entities(doc: Doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]


def predictions(nlp: Language) -> list[list[tuple[str, str, float]]]:
    """Entities of all gold texts with their exact scores."""
    docs = [nlp(text) for text in GOLD]
    return [[(s.text, s.label_, s._.padellm_score) for s in d.ents] for d in docs]


def swallow(errors: list[str]) -> Callable[..., None]:
    """An error handler that notes the texts that failed, and goes on."""

    def handler(name: str, proc: Any, docs: list[Doc], error: Exception) -> None:
        errors.extend(doc.text for doc in docs)

    return handler


def lost_server() -> dict[str, Any]:
    """A decoder on a server that is not there; its pipeline can be saved."""
    pytest.importorskip("openai")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    name = "spacy-padellm.ServerDecoder.v1"
    return {"@misc": name, "base_url": url, "max_retries": 0}


def weights_of(nlp: Language) -> dict[str, torch.Tensor]:
    """Copies of the weights in use."""
    weights = pipe_of(nlp).handle.lm().model.state_dict()
    return {name: tensor.clone() for name, tensor in weights.items()}


def same_weights(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]
) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
