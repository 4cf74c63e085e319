"""One run of the benchmark: all decoders and peers side by side."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.benchmark.decoders import BATCH, MULTI
from spacy_padellm.benchmark.gold import (
    choose,
    join,
    names_of,
    read_gold,
    with_labels,
    write_gold,
)
from spacy_padellm.benchmark.machine import machine_facts
from spacy_padellm.benchmark.measuring.measure import (
    Entry,
    Measurement,
    add_shares,
    measure,
)
from spacy_padellm.benchmark.results.chart import check_matplotlib, draw_chart
from spacy_padellm.benchmark.results.figures import add_figures
from spacy_padellm.benchmark.results.floors import speeds
from spacy_padellm.benchmark.results.report import (
    model_line,
    ratio_table,
    result_table,
    share_table,
    to_json,
)
from spacy_padellm.benchmark.settings import CLASSIFIER, BenchmarkSettings, parse
from spacy_padellm.benchmark.subjects.shapes import make_shaped
from spacy_padellm.benchmark.subjects.subjects import (
    Subject,
    forced_subject,
    multi_entry,
    share_equal,
    string_f1,
    trained_subject,
)
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.placement import choose_placement
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.writable import make_all_writable, write_whole


def main(arguments: Sequence[str], *, prog: str) -> int:
    """Run the command.

    arguments (Sequence[str]): The arguments after its name.
    prog (str): Its name.
    RETURNS (int): The exit code.
    """
    try:
        settings = parse(arguments, prog=prog)
        run(settings, command=f"{prog} {shlex.join(arguments)}")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(settings: BenchmarkSettings, *, command: str) -> None:
    """Measure, and report the figures.

    settings (BenchmarkSettings): The settings.
    command (str): The command line, for the JSON.
    RAISES (ValueError): If something is missing, before anything is measured; or if the
        figures cannot be written.
    """
    if settings.chart is not None:
        check_matplotlib()
    outputs = {
        "--json": settings.json,
        "--chart": settings.chart,
        "--write-gold": settings.write_gold,
    }
    make_all_writable(outputs, inputs=[settings.gold])
    corpus = read_gold(settings.gold, lang=settings.lang)
    if settings.write_gold is not None:
        with _told_if_unwritable(settings.write_gold):
            write_gold(settings.write_gold, corpus)
        print(f"{len(corpus)} texts: {settings.write_gold}")
        return
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    lang = settings.lang if find_spec("spacy") else None
    subjects, golds = _subjects(settings, corpus, lang)
    device = subjects[0].lm.device
    entries = [entry for subject in subjects for entry in subject.entries()]
    if settings.forced and MULTI in settings.decoders:
        entries.append(multi_entry(subjects[0], golds))
    peers = _peers(settings, golds) if lang else {}
    if settings.batch_size is not None:
        for nlp in (*(subject.nlp for subject in subjects), *peers.values()):
            if nlp is not None:
                nlp.batch_size = settings.batch_size
    entries += [_peer_entry(f"spaCy {kind}", kind, nlp) for kind, nlp in peers.items()]
    if CLASSIFIER in settings.peers:
        entries.append(_classifier_entry(settings, golds, subjects[0].lm))
    texts = [gold.text for gold in golds]
    words = _words(texts, lang)
    outside = _vllm(settings, subjects[0], golds, words) if settings.vllm else None
    stream = "nlp.pipe" if lang else "decoder.stream"
    facts: dict[str, Any] = {
        "command": command,
        "machine": machine_facts(device),
        "settings": {k: _plain(v) for k, v in asdict(settings).items()},
        "texts": len(texts),
        "words": words,
    }
    speed_of = cache(speeds)  # the figures so far have the floors of the final ones

    def models(results: list[Measurement]) -> list[dict[str, Any]]:
        by_name = {result.name: result for result in results}
        return [
            add_figures(
                subject.results(by_name), subject, golds, speed=speed_of(subject.lm)
            )
            for subject in subjects
        ]

    def keep(results: list[Measurement]) -> None:
        """Write what is measured so far, as the run may be ended before its end."""
        if settings.json is not None:
            partial = {"unfinished": True, **facts, "models": models(results)}
            _write_json(settings.json, to_json(results, partial, stream=stream))

    results = measure(
        entries,
        texts,
        words=words,
        repeats=settings.repeats,
        device=device,
        keep=keep,
    )
    add_shares(entries, results, texts)
    facts["models"] = models(results)
    by_name = {result.name: result for result in results}
    if not settings.forced or (peers and settings.train_peers):
        _add_scores(settings, subjects, peers, by_name, golds)
    if outside is not None:
        result, facts["vllm"] = outside
        results.append(result)
    _report(settings, results, facts, stream=stream)


# Models, texts and peers


def _subjects(
    settings: BenchmarkSettings, corpus: list[GoldText], lang: str | None
) -> tuple[list[Subject], list[GoldText]]:
    """The models with their decoders, and the chosen texts."""
    if not settings.forced:
        trained = [
            trained_subject(
                name,
                decoders=settings.decoders,
                device=settings.device,
                dtype=settings.dtype,
                lang=lang,
                prefix=f"{Path(name).name}: " if len(settings.models) > 1 else "",
            )
            for name in settings.models
        ]
        return trained, _choose(settings, corpus, trained[0].lm)
    placement = choose_placement(settings.device or "auto", settings.dtype or "auto")
    lm = make_shaped(
        settings.shape,
        [gold.text for gold in corpus],
        device=placement.device,
        dtype=placement.dtype,
        int8=placement.int8,
        seed=settings.seed,
    )
    golds = _choose(settings, corpus, lm)
    subject = forced_subject(
        lm,
        lm.tokens_of(PRESETS[settings.preset]),
        names_of(golds),
        golds,
        name=settings.shape,
        decoders=settings.decoders,
        lang=lang,
    )
    return [subject], golds


def _choose(
    settings: BenchmarkSettings, corpus: list[GoldText], lm: LanguageModel
) -> list[GoldText]:
    if settings.labels is not None:
        corpus = with_labels(corpus, settings.labels)
    if settings.long is None:
        return choose(corpus, settings.texts)

    def tokens(text: str) -> int:
        return len(lm.tokenizer(text, add_special_tokens=False)["input_ids"])

    return join(corpus, size=settings.long, count=settings.texts, tokens=tokens)


def _peers(settings: BenchmarkSettings, golds: list[GoldText]) -> dict[str, Any]:
    """spaCy's pipes by name."""
    names = [name for name in settings.peers if name != CLASSIFIER]
    if not names:
        return {}
    from spacy_padellm.benchmark.peers.spacy_pipes import make_peer

    return {
        name: make_peer(
            name,
            golds,
            lang=settings.lang,
            steps=settings.train_peers,
            seed=settings.seed,
        )
        for name in names
    }


def _peer_entry(name: str, kind: str, nlp: Any) -> Entry:
    def stream(texts: Sequence[str]) -> None:
        for _ in nlp.pipe(texts):
            pass

    return Entry(name, kind, nlp, stream)


def _classifier_entry(
    settings: BenchmarkSettings, golds: list[GoldText], lm: LanguageModel
) -> Entry:
    """A token classifier on the device of a model."""
    from spacy_padellm.benchmark.peers.token_classifier import TokenClassifier

    classifier = TokenClassifier(
        [gold.text for gold in golds],
        len(names_of(golds)),
        device=lm.device,
        dtype=lm.dtype,
        seed=settings.seed,
    )
    return _peer_entry("token classifier", CLASSIFIER, classifier)


def _words(texts: list[str], lang: str | None) -> int:
    """Count the tokens of spaCy's tokenizer; without spaCy, split at whitespace."""
    if lang is None:
        return sum(len(text.split()) for text in texts)
    from spacy_padellm.benchmark.subjects.pipelines import count_words

    return count_words(texts, lang=lang)


def _vllm(
    settings: BenchmarkSettings, subject: Subject, golds: list[GoldText], words: int
) -> tuple[Measurement, str]:
    from spacy_padellm.benchmark.peers.vllm_peer import measure_vllm

    assert settings.vllm is not None
    return measure_vllm(
        settings.vllm,
        subject.lm,
        subject.prompt,
        golds,
        subject.labels,
        words=words,
        repeats=settings.repeats,
        seed=settings.seed,
    )


# Report


def _add_scores(
    settings: BenchmarkSettings,
    subjects: list[Subject],
    peers: dict[str, Any],
    results: dict[str, Measurement],
    golds: list[GoldText],
) -> None:
    """Score the trained models."""
    docs = None
    if find_spec("spacy"):
        from spacy_padellm.benchmark.subjects.pipelines import gold_docs, score

        # with --labels, the annotation of the corpus is not the gold annotation
        has_docs = settings.gold.suffix == ".spacy" and settings.labels is None
        docs = gold_docs(settings.gold if has_docs else None, golds, lang=settings.lang)
    for subject in [] if settings.forced else subjects:
        for name, result in subject.results(results).items():
            decoder = subject.decoders[name]
            if docs is None:
                result.scores = {"strings_f": string_f1(decoder, golds)}
            else:
                result.scores = score(subject.use(decoder), docs)
            if BATCH in subject.decoders:
                reference = subject.decoders[BATCH]
                result.scores["as_batch"] = share_equal(decoder, reference)
    if docs is not None and settings.train_peers:
        for kind, nlp in peers.items():
            results[f"spaCy {kind}"].scores = score(nlp, docs)


def _report(
    settings: BenchmarkSettings,
    results: list[Measurement],
    facts: dict[str, Any],
    *,
    stream: str,
) -> None:
    """Print the tables, and write the JSON and the chart."""
    tables = (
        ratio_table(results),
        result_table(results, stream=stream),
        share_table(results),
    )
    print("\n\n".join(table for table in tables if table))
    for model in facts["models"]:
        print(f"\n{model_line(model)}")
    machine = ", ".join(f"{k} {v}" for k, v in facts["machine"].items() if v)
    print(f"\n{facts['texts']} texts of {facts['words']} words; {machine}")
    if settings.json is not None:
        _write_json(settings.json, to_json(results, facts, stream=stream))
    if settings.chart is not None:
        names = ", ".join(model["name"] for model in facts["models"])
        title = f"{names}: {facts['texts']} texts on {facts['machine']['device']}"
        with _told_if_unwritable(settings.chart):
            draw_chart(results, settings.chart, title=title, stream=stream)


def _write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write figures, which take the place of earlier ones as a whole."""
    with _told_if_unwritable(path):
        write_whole(path, f"{json.dumps(figures, indent=2)}\n".encode())


@contextmanager
def _told_if_unwritable(path: Path) -> Iterator[None]:
    """Raise a ValueError if a file cannot be written inside the block."""
    try:
        yield
    except OSError as error:
        raise ValueError(Errors.P725.format(path=path, error=error)) from error


def _plain(value: Any) -> Any:
    """A setting as a value of JSON."""
    return str(value) if isinstance(value, Path) else value
