"""Scores of a pipeline, or of the bundled model, on converted corpora.

    python -m benchmarks.quality NAME=CORPUS.spacy [...] --model training/model-best \
        --labels PER,LOC,ORG --json OUT.json

`--decoder min_count_probability=0.3,from_text=true` changes settings of the decoder.
`--labels` leaves out labels that a corpus does not annotate. `--ask` sets other labels
than the model's. `--rename` renames labels of the corpus and of the predictions, e.g.
person=PER,location=LOC,group=ORG.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from wasabi import msg

from spacy_padellm.analysis.reliability import measure_reliability
from spacy_padellm.benchmark.subjects.pipelines import (
    SPANS_KEY,
    gold_mentions,
    read_corpus,
)
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.pipeline.bundled import load_pipeline
from spacy_padellm.pipeline.scorer import ner_score
from spacy_padellm.text.span_getters import make_strided_spans


def read_gold_docs(
    nlp: Language, path: Path, *, labels: set[str], names: dict[str, str]
) -> Iterator[Doc]:
    """Read the Docs of a corpus, rename labels, and leave out other labels."""
    for doc in read_corpus(path, nlp.vocab):
        gold = doc.copy()
        spans = [
            Span(gold, span.start, span.end, names.get(span.label_, span.label_))
            for span in gold_mentions(doc)
        ]
        gold.spans.pop(SPANS_KEY, None)
        gold.set_ents([span for span in spans if span.label_ in labels])
        yield gold


def choose_labels(doc: Doc, labels: set[str], *, names: dict[str, str]) -> Doc:
    """Rename predictions, and remove those of labels that the corpus does not have."""
    doc.spans.pop(SPANS_KEY, None)
    spans = [
        Span(doc, span.start, span.end, names.get(span.label_, span.label_))
        for span in doc.ents
    ]
    doc.set_ents([span for span in spans if span.label_ in labels])
    return doc


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+", metavar="NAME=CORPUS")
    parser.add_argument(
        "--model", default="bundled-en", help="a bundled model or a pipeline"
    )
    parser.add_argument("--labels", help="comma-separated; default: all")
    parser.add_argument(
        "--ask", help="labels to find instead of the pipeline's, comma-separated"
    )
    parser.add_argument("--rename", default="", help="old=new, comma-separated")
    parser.add_argument(
        "--decoder", default="", help="settings name=value, comma-separated"
    )
    parser.add_argument(
        "--windows", help="WINDOW,STRIDE: windows of a fixed number of tokens"
    )
    parser.add_argument(
        "--no-thresholds", action="store_true", help="do not use the model's thresholds"
    )
    parser.add_argument("--json", type=Path)
    return parser


def load(args: argparse.Namespace) -> Language:
    """Load the pipeline with the labels and decoding settings of the command line."""
    nlp = load_pipeline(args.model)
    # pipelines without the component, such as spaCy's own, can be scored, too
    pipe: Any = nlp.get_pipe(FACTORY) if FACTORY in nlp.pipe_names else None
    if args.ask:
        pipe.set_labels(args.ask.split(","))
    if args.decoder:
        pairs = (pair.split("=") for pair in args.decoder.split(","))
        pipe.decoder = replace(pipe.decoder, **{k: json.loads(v) for k, v in pairs})
    if args.windows:
        pipe.span_getter = make_strided_spans(*map(int, args.windows.split(",")))
    if args.no_thresholds:
        pipe.cfg["threshold"] = 0.0
    nlp("The first text loads the model .")
    return nlp


def score(
    nlp: Language, path: Path, *, labels: set[str], names: dict[str, str]
) -> dict[str, Any]:
    """Score a pipeline on a corpus; see `read_gold_docs`."""
    golds = list(read_gold_docs(nlp, path, labels=labels, names=names))
    # predict on the text, with the pipeline's tokenizer
    start = time.perf_counter()
    docs = list(nlp.pipe([gold.text for gold in golds], batch_size=256))
    seconds = time.perf_counter() - start
    reliability = measure_reliability(scored(docs, golds, labels=labels, names=names))
    docs = [choose_labels(doc, labels, names=names) for doc in docs]
    examples = [Example(*pair) for pair in zip(docs, golds, strict=True)]
    words = sum(len(doc) for doc in docs)
    return {
        **ner_score(examples, spans_key=SPANS_KEY),
        "texts": len(docs),
        "words_per_second": words / seconds,
        "reliability": asdict(reliability),
    }


def scored(
    docs: Sequence[Doc],
    golds: Sequence[Doc],
    *,
    labels: set[str],
    names: dict[str, str],
) -> Iterator[tuple[float, bool]]:
    """The score of each entity of our component, and whether it is right."""
    for doc, gold in zip(docs, golds, strict=True):
        right = {(ent.start_char, ent.end_char, ent.label_) for ent in gold.ents}
        for ent in doc.ents:
            label = names.get(ent.label_, ent.label_)
            if ent._.has("padellm_score") and label in labels:
                place = ent.start_char, ent.end_char, label
                yield ent._.padellm_score, place in right


def main() -> None:
    args = make_parser().parse_args()
    nlp = load(args)
    known = {
        label for name in ("ner", FACTORY) for label in nlp.pipe_labels.get(name, ())
    }
    labels = set(args.labels.split(",")) if args.labels else known
    names = dict(pair.split("=") for pair in args.rename.split(",") if pair)
    results = {}
    for corpus in args.corpora:
        name, _, path = corpus.partition("=")
        results[name] = scores = score(nlp, Path(path), labels=labels, names=names)
        msg.info(
            f"{name}: span F1 {scores['ents_f']:.3f}, string F1 "
            f"{scores['strings_f']:.3f} ({scores['texts']} texts, "
            f"{scores['words_per_second']:.0f} words/s)"
        )
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()
