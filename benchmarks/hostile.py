"""Hostile texts and everyday layouts through `nlp.pipe`: no exception, right offsets,
the same alone and in a batch, and a time that grows with the length alone.

    python -m benchmarks.hostile bundled-en-sm --json benchmarks/results/hostile.json
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from benchmarks.hostile_texts import GROWING, HOSTILE, LAYOUTS, make_texts

KEY = "padellm"
BATCH_SIZE = 256
_RUNS = 3  # of a text that is timed
SHORT, LONG = 1_000, 16_000  # characters of the texts whose times are compared
# blank lines and tabs between cells, which no mention may run over
_PARTING = re.compile(r"(?<!\s)[^\S\r\n\f\v\u0085\u2028\u2029]*\t|\n[^\S\n]*\n")


def make_pipeline(model: str, *, dtype: str = "auto") -> Language:
    """A pipeline with a model by its name, whose errors are raised."""
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": model, "dtype": dtype}})
    return nlp


def faults_of(doc: Doc, text: str) -> list[str]:
    """What is wrong with the annotation of a text; empty if nothing is."""
    if doc.text != text:
        return ["the text was changed"]
    group = doc.spans[KEY]
    attrs = group.attrs
    faults = []
    scores, places = list(attrs["scores"]), list(attrs["places"])
    if not len(group) == len(scores) == len(places) == len(attrs["statuses"]):
        faults.append("numbers of spans and scores differ")
    for span, score, place in zip(group, scores, places, strict=False):
        start, end, label = place
        found = text[start:end]
        if (span.start_char, span.end_char, span.label_) != (start, end, label):
            faults.append("a place is not that of its span")
        if span.text != found or not found or found != found.strip():
            faults.append("a mention is empty, or has blanks at its edges")
        if _PARTING.search(found):
            faults.append("a mention runs over a blank line or a tab")
        if not (math.isfinite(score) and 0 <= score <= 1):
            faults.append("a score is no probability")
    known = {(span.start, span.end, span.label) for span in group}
    if any((ent.start, ent.end, ent.label) not in known for ent in doc.ents):
        faults.append("an entity is not among the mentions")
    return faults


def annotate_each(
    nlp: Language, texts: Sequence[str]
) -> Iterator[tuple[Doc | None, Exception | None]]:
    """Annotate a stream; a text with an error has None as its Doc."""
    errors: dict[int, Exception] = {}

    def keep(_: str, __: Any, docs: list[Doc], error: Exception) -> None:
        errors.update((id(doc), error) for doc in docs)

    docs = [nlp.make_doc(text) for text in texts]
    nlp.set_error_handler(keep)  # type: ignore[arg-type]  # it may return
    for _ in nlp.pipe(docs, batch_size=BATCH_SIZE):
        pass
    for doc in docs:
        error = errors.get(id(doc))
        yield (None if error else doc), error


def mentions_of(doc: Doc) -> list[tuple[tuple[int, int, str], float]]:
    """The places of a Doc's mentions, and their probabilities."""
    attrs = doc.spans[KEY].attrs
    places = [(int(a), int(b), str(label)) for a, b, label in attrs["places"]]
    return sorted(zip(places, map(float, attrs["scores"]), strict=True))


def check_stream(nlp: Language, texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Annotate texts in a stream, and check all of them.

    nlp (Language): The pipeline.
    texts (Sequence[tuple[str, str]]): The kind and the text of each.
    RETURNS (dict[str, Any]): Counts, the faults, and words a second.
    """
    start = time.perf_counter()
    faults: Counter[str] = Counter()
    examples: list[str] = []
    words = mentions = 0
    annotated = annotate_each(nlp, [text for _, text in texts])
    for (kind, text), (doc, error) in zip(texts, annotated, strict=True):
        if doc is None:
            found = [f"{type(error).__name__}: {error}"[:200]]
        else:
            found = faults_of(doc, text)
            words += len(doc)
            mentions += len(doc.spans[KEY])
        faults.update(found)
        if found:
            examples.append(f"{kind}: {found[0]}: {text!r}")
    return {
        "texts": len(texts),
        "words": words,
        "mentions": mentions,
        "words_a_second": words / (time.perf_counter() - start),
        "faults": dict(faults),
        "examples": examples[:20],
    }


def check_alone(nlp: Language, texts: Sequence[str]) -> dict[str, Any]:
    """Compare each text alone with itself in a batch.

    RETURNS (dict[str, Any]): How many texts have other mentions, and the largest
        difference between two scores.
    """
    docs = list(nlp.pipe(texts, batch_size=BATCH_SIZE))
    others, largest = [], 0.0
    for text, doc in zip(texts, docs, strict=True):
        batch, alone = mentions_of(doc), mentions_of(nlp(text))
        if [place for place, _ in batch] != [place for place, _ in alone]:
            others.append(repr(text))
            continue
        pairs = zip(batch, alone, strict=True)
        largest = max([largest, *(abs(a - b) for (_, a), (_, b) in pairs)])
    return {
        "texts": len(texts),
        "other_mentions": len(others),
        "largest_difference": largest,
        "examples": others[:20],
    }


def measure_growth(nlp: Language, *, short: int, long: int) -> dict[str, Any]:
    """Times of long texts by those of short ones, for what a text may repeat.

    short, long (int): Characters of the texts.
    RETURNS (dict[str, Any]): By kind, the seconds of both, how much more the long one
        takes for each character, and the seconds of spaCy's tokenizer, which are not
        among them.
    """
    found = {}
    for kind, unit in GROWING.items():
        _, few = _seconds(nlp, unit * (short // len(unit)))
        tokenizer, seconds = _seconds(nlp, unit * (long // len(unit)))
        found[kind] = {
            "short": few,
            "long": seconds,
            "ratio": seconds / few / (long / short),
            "tokenizer": tokenizer,
        }
    return found


def _seconds(nlp: Language, text: str) -> tuple[float, float]:
    """Processor time of a text alone, the least of some runs: of the tokenizer, and of
    the rest."""
    runs = []
    for _ in range(_RUNS):
        start = time.process_time()
        doc = nlp.make_doc(text)
        made = time.process_time()
        nlp(doc)
        runs.append((made - start, time.process_time() - made))
    return min(run[0] for run in runs), min(run[1] for run in runs)


def main() -> int:
    """Run all checks, print the figures, and fail if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="A bundled model, a folder or a hub name")
    parser.add_argument("--hostile", type=int, default=20_000)
    parser.add_argument("--layouts", type=int, default=2_000)
    parser.add_argument("--alone", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    nlp = make_pipeline(options.model)
    hostile = make_texts(HOSTILE, options.hostile, seed=options.seed)
    layouts = make_texts(LAYOUTS, options.layouts, seed=options.seed)
    figures: dict[str, Any] = {
        "model": options.model,
        "hostile": check_stream(nlp, hostile),
        "layouts": check_stream(nlp, layouts),
    }
    print(json.dumps(figures, indent=2), flush=True)
    figures["growth"] = measure_growth(nlp, short=SHORT, long=LONG)
    print(json.dumps(figures["growth"], indent=2), flush=True)
    chance = random.Random(options.seed)
    texts = [text for _, text in hostile + layouts]
    sample = chance.sample(texts, min(options.alone, len(texts)))
    exact = make_pipeline(options.model, dtype="float32")
    figures["alone"] = check_alone(exact, sample)
    print(json.dumps(figures["alone"], indent=2), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf8")
    failed = figures["hostile"]["faults"] or figures["layouts"]["faults"]
    return int(bool(failed or figures["alone"]["other_mentions"]))


if __name__ == "__main__":
    sys.exit(main())
