"""One run of the benchmark: all decoders and peers side by side."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.benchmark.decoders import MULTI
from spacy_padellm.benchmark.gold import read_gold, write_gold
from spacy_padellm.benchmark.machine import machine_facts
from spacy_padellm.benchmark.measuring.measure import Measurement, add_shares, measure
from spacy_padellm.benchmark.prepare import (
    classifier_entry,
    make_peers,
    make_subjects,
    peer_entry,
    words_in,
)
from spacy_padellm.benchmark.results.chart import check_matplotlib
from spacy_padellm.benchmark.results.figures import add_figures
from spacy_padellm.benchmark.results.floors import speeds
from spacy_padellm.benchmark.results.report import to_json
from spacy_padellm.benchmark.results.write import (
    told_if_unwritable,
    write_json,
    write_report,
)
from spacy_padellm.benchmark.scores import add_scores
from spacy_padellm.benchmark.settings import CLASSIFIER, BenchmarkSettings, parse
from spacy_padellm.benchmark.subjects.subjects import Subject, multi_entry
from spacy_padellm.errors import Warnings
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.writable import make_all_writable


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
        with told_if_unwritable(settings.write_gold):
            write_gold(settings.write_gold, corpus)
        print(f"{len(corpus)} texts: {settings.write_gold}")
        return
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    lang = settings.lang if find_spec("spacy") else None
    subjects, golds = make_subjects(settings, corpus, lang=lang)
    device = subjects[0].lm.device
    entries = [entry for subject in subjects for entry in subject.entries()]
    if settings.forced and MULTI in settings.decoders:
        entries.append(multi_entry(subjects[0], golds))
    peers = make_peers(settings, golds) if lang else {}
    if settings.batch_size is not None:
        for nlp in (*(subject.nlp for subject in subjects), *peers.values()):
            if nlp is not None:
                nlp.batch_size = settings.batch_size
    entries += [
        peer_entry(f"spaCy {kind}", kind, nlp=nlp) for kind, nlp in peers.items()
    ]
    if CLASSIFIER in settings.peers:
        entries.append(classifier_entry(settings, golds, lm=subjects[0].lm))
    texts = [gold.text for gold in golds]
    words = words_in(texts, lang=lang)
    outside = (
        _measure_vllm(settings, subjects[0], golds=golds, words=words)
        if settings.vllm
        else None
    )
    stream = "nlp.pipe" if lang else "decoder.stream"
    facts: dict[str, Any] = {
        "command": command,
        "machine": machine_facts(device),
        "settings": {k: _plain(v) for k, v in asdict(settings).items()},
        "texts": len(texts),
        "words": words,
    }
    outside_results = []
    if outside is not None:
        result, facts["vllm"] = outside
        outside_results.append(result)
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
        if settings.json is None:
            return
        partial = {"unfinished": True, **facts, "models": models(results)}
        measured = [*results, *outside_results]
        try:
            write_json(settings.json, to_json(measured, partial, stream=stream))
        except ValueError as error:
            print(Warnings.W979.format(error=error), file=sys.stderr)

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
        add_scores(by_name, settings, subjects=subjects, peers=peers, golds=golds)
    results += outside_results
    write_report(settings, results, facts=facts, stream=stream)


def _measure_vllm(
    settings: BenchmarkSettings,
    subject: Subject,
    *,
    golds: list[GoldText],
    words: int,
) -> tuple[Measurement, str]:
    """The figures of vLLM, and what it is."""
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


def _plain(value: Any) -> Any:
    """A setting as a value of JSON."""
    return str(value) if isinstance(value, Path) else value
