"""The paper's comparison (its Tables 3 and 6) at small scale, on equal terms.

    python -m benchmarks.compare training/base --output training/compare \
        --jobs 2 --json benchmarks/results/compare.json

One pretrained model is fine-tuned for each method, with the same texts of five data
sets in the same number of steps. Each text has the labels of its own set. The models
are scored on the development part of each set. `--jobs` methods at a time share the
processors; all methods are timed together at the end. Trained pipelines are kept in the
output folder with their scores, so a second run only does what is missing, and
continues a training that was cut off. It scores again if the texts to score have
changed (delete scores.json to score again). Each seed, base, config, number of steps
and choice of sets needs an output folder of its own. The corpora are converted with
--own-labels: CORPORA/train/SET.spacy and CORPORA/dev/SET.spacy.

The same with a real LLM, on one of the sets:

    python -m benchmarks.compare LLM --sets conll03 --config configs/compare-llm.cfg \
        --methods padellm,onestep,struct,aug --steps 440 --output training/compare-llm
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from wasabi import msg

from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.tune.thresholds import (
    CandidateCorpus,
    Candidates,
    learn_thresholds,
)
from spacy_padellm.annotate.pipeline import fingerprint
from spacy_padellm.benchmark.results.figures import lengths
from spacy_padellm.benchmark.subjects.pipelines import (
    SPANS_KEY,
    gold_text_of,
    read_corpus,
)
from spacy_padellm.decoding.base import Decoder
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.pipeline.scorer import ner_score
from spacy_padellm.text.labels import LABELS_KEY
from spacy_padellm.writable import write_whole

TRAINED = "training.json"
SCORED = "scores.json"
SETS = {
    "conll03": "en",
    "weibo": "zh",
    "resume": "zh",
    "youku": "zh",
    "ecommerce": "zh",
}
TIMED = 50  # texts of a set to time, one at a time
PLAIN = {
    "min_count_probability": None,
    "from_text": False,
    "tag_weight": 0.0,
}
DEFAULT = {"min_count_probability": 0.3, "from_text": True}
TAGS = {"tag_weight": 0.5, "sure_tag_probability": 0.7}
# bidirectional attention within texts, and tags
PREFIX = {"prompt.prefix_lm": "true", "training.tag_loss": "0.3"}
# as in configs/train.cfg
MUON = {"training.muon": "true", "training.tag_loss": "1.0"}


@dataclass(frozen=True, slots=True)
class DecodingMode:
    """The settings of a trained pipeline for one row of the tables.

    decoder (Mapping[str, Any]): Settings of the decoder that are changed.
    dedup (str): The component's setting.
    thresholds (bool): Whether each half of the texts is annotated with thresholds by
        label that were learnt on the other half.
    make (Callable[[], Decoder] | None): Makes another decoder than the pipeline's.
    """

    decoder: Mapping[str, Any] = field(default_factory=dict)
    dedup: str = "on"
    thresholds: bool = False
    make: Callable[[], Decoder] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What is compared: a pretrained model, its training, and the texts.

    base (Path): The pretrained model's folder.
    config (Path): The config of the trainings.
    corpora (Path): The folder of the corpora.
    output (Path): The folder of the trained pipelines.
    sets (Sequence[str]): Names of the data sets.
    steps (int): Steps of a training.
    seed (int): The trainings' seed.
    limit (int | None): Texts of each set to score; None scores all.
    """

    base: Path
    config: Path
    corpora: Path
    output: Path
    sets: Sequence[str]
    steps: int
    seed: int
    limit: int | None

    def train(self, name: str) -> Path:
        """The training part of a set."""
        return self.corpora / "train" / f"{name}.spacy"

    def dev(self, name: str) -> Path:
        """The development part of a set."""
        return self.corpora / "dev" / f"{name}.spacy"

    def training(self, method: Method) -> dict[str, Any]:
        """What decides the training of a method."""
        return {
            "base": fingerprint(self.base),
            "config": fingerprint(self.config),
            "sets": {x: fingerprint(self.train(x)) for x in sorted(self.sets)},
            "steps": self.steps,
            "seed": self.seed,
            "settings": dict(method.settings),
        }

    def scoring(self, method: Method) -> dict[str, Any]:
        """What decides the scores of a method."""
        texts = {x: fingerprint(self.dev(x)) for x in sorted(self.sets)}
        return {**self.training(method), "texts": texts, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class Method:
    """A method: how a model is trained, and how it is decoded.

    settings (Mapping[str, str]): Setting of the component -> its value.
    modes (Mapping[str, DecodingMode]): Name in the tables -> settings of decoding.
    """

    settings: Mapping[str, str]
    modes: Mapping[str, DecodingMode]


def _baseline(
    name: str, decoder: str, settings: Mapping[str, str] | None = None
) -> Method:
    return Method(
        {"decoder.@misc": f"spacy-padellm.{decoder}.v1"} | dict(settings or {}),
        {
            name: DecodingMode(),
            f"{name}, and thresholds by label": DecodingMode(thresholds=True),
        },
    )


def _prefix(name: str, settings: Mapping[str, str]) -> Method:
    ours = {**DEFAULT, **TAGS}
    return Method(
        settings,
        {
            name: DecodingMode(PLAIN),
            f"{name}, our default decoding": DecodingMode(ours),
            f"{name}, and thresholds by label": DecodingMode(ours, thresholds=True),
        },
    )


METHODS = {
    "padellm": Method(
        {},
        {
            "PaDeLLM": DecodingMode(PLAIN),
            "PaDeLLM, batch decoder": DecodingMode(make=BatchDecoder),
            "PaDeLLM, de-duplication off": DecodingMode(PLAIN, "off"),
            "PaDeLLM, de-duplication reversed": DecodingMode(PLAIN, "reversed"),
            "PaDeLLM, from the text": DecodingMode({**PLAIN, "from_text": True}),
            "PaDeLLM, our default decoding": DecodingMode(DEFAULT),
            "PaDeLLM, and thresholds by label": DecodingMode(DEFAULT, thresholds=True),
        },
    ),
    "onestep": _baseline("OneStep", "OneStepDecoder"),
    "struct": _baseline("AutoReg-Struct", "StructuredDecoder"),
    "aug": _baseline("AutoReg-Aug", "AugmentedDecoder"),
    "prefix-aug": _baseline("AutoReg-Aug, prefix LM", "AugmentedDecoder", PREFIX),
    "prefix": _prefix("PaDeLLM, prefix LM", PREFIX),
    "muon": _prefix("PaDeLLM, prefix LM, Muon", {**PREFIX, **MUON}),
    "muon-aug": _baseline(
        "AutoReg-Aug, prefix LM, Muon", "AugmentedDecoder", {**PREFIX, **MUON}
    ),
    "no-index-loss": Method(
        {"training.mention_prefix_loss": "false"},
        {"PaDeLLM, `<mention n>` not learnt": DecodingMode(PLAIN)},
    ),
}


def train(run: Run, folder: Path, method: Method) -> float | None:
    """Fine-tune the model in a separate process; continue if that was cut off.

    RETURNS (float | None): The seconds it took; None if it was continued.
    RAISES (subprocess.CalledProcessError): If it fails.
    """
    checkpoint = folder / "checkpoint"
    continued = checkpoint.is_dir()
    write_corpora(run, folder)
    command = [
        *(sys.executable, "-m", "spacy", "train", str(run.config)),
        *("--output", str(folder), "--paths.model", str(run.base)),
        *("--paths.train", str(folder / "train.spacy")),
        *("--paths.dev", str(folder / "few.spacy")),
        *("--paths.checkpoint", str(checkpoint)),
        *("--system.seed", str(run.seed)),
        *("--training.max_steps", str(run.steps)),
        *("--training.optimizer.learn_rate.total_steps", str(run.steps)),
        *("--training.eval_frequency", str(run.steps)),
    ]
    for setting, value in method.settings.items():
        command += [f"--components.{FACTORY}.{setting}", value]
    start = time.monotonic()
    subprocess.run(command, check=True)
    taken = time.monotonic() - start
    shutil.rmtree(checkpoint, ignore_errors=True)  # several times the model's size
    return None if continued else taken


def write_corpora(run: Run, folder: Path) -> None:
    """Write the texts of the sets, and few texts to score while training.

    `spacy train` reads one path, and requires texts for scoring.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocab = spacy.blank("en").vocab
    docs = [
        doc
        for name in sorted(run.sets)  # as spaCy reads a folder
        for doc in read_corpus(run.train(name), vocab)
    ]
    few = read_corpus(run.dev(run.sets[0]), vocab)[:4]
    for name, part in (("train", docs), ("few", few)):
        corpus = DocBin(["ENT_IOB", "ENT_TYPE"], docs=part, store_user_data=True)
        corpus.to_disk(folder / f"{name}.spacy")


def load(
    folder: Path, corpus: Path, mode: DecodingMode, *, limit: int | None
) -> tuple[Language, list[Doc]]:
    """Load a trained pipeline with the labels of a corpus, and the corpus's Docs."""
    nlp = spacy.load(folder)
    pipe: Any = nlp.get_pipe(FACTORY)
    decoder: Any = mode.make() if mode.make else pipe.decoder
    pipe.decoder = replace(decoder, **mode.decoder)
    pipe.cfg["dedup"] = mode.dedup
    golds = read_corpus(corpus, nlp.vocab)[:limit]
    pipe.set_labels(golds[0].user_data[LABELS_KEY])
    return nlp, golds


def score(
    folder: Path,
    corpus: Path,
    modes: Mapping[str, DecodingMode],
    *,
    limit: int | None = None,
) -> dict[str, dict[str, float]]:
    """Score a trained pipeline in several decoding modes.

    RETURNS (dict[str, dict[str, float]]): Name of the mode -> its figures.
    """
    results = {}
    before = None
    for title, mode in modes.items():
        decoding = replace(mode, thresholds=False)
        if decoding != before:  # thresholds need no new decoding
            before = decoding
            nlp, golds = load(folder, corpus, decoding, limit=limit)
            pipe: Any = nlp.get_pipe(FACTORY)
            found = pipe.predict([_blank(gold) for gold in golds])
            prompt = pipe.handle.lm().tokens_of(pipe.prompt)
            gold_texts = [gold_text_of(gold) for gold in golds]
            tokens, sequences = lengths(
                pipe.decoder, prompt, gold_texts, pipe.label_data
            )
        pairs = [(_blank(gold), gold) for gold in golds]
        _annotate(pipe, pairs, found, thresholds=mode.thresholds)
        examples = [Example(*pair) for pair in pairs]
        scores = ner_score(examples, spans_key=SPANS_KEY)
        results[title] = {
            "string_f": scores["strings_f"],
            "string_p": scores["strings_p"],
            "string_r": scores["strings_r"],
            "span_f": scores["ents_f"],
            "tokens_a_sequence": tokens,
            "sequences_a_text": sequences,
        }
    return results


def _annotate(
    pipe: Any,
    pairs: Sequence[tuple[Doc, Doc]],
    found: Sequence[Any],
    *,
    thresholds: bool,
) -> None:
    """Write the predictions to the first Doc of each pair."""
    docs = [doc for doc, _ in pairs]
    # thresholds are learnt on all predictions
    pipe.cfg["threshold"] = 0.0 if thresholds else None
    pipe.set_annotations(docs, found)
    if thresholds:
        for half, learnt in enumerate(_thresholds(pairs)):
            pipe.cfg["threshold"] = learnt
            pipe.set_annotations(docs[half::2], found[half::2])


def time_all(run: Run, results: Mapping[str, dict[str, Any]]) -> None:
    """Time all scored pipelines side by side, one text at a time.

    results (Mapping[str, dict[str, Any]]): Set -> name of the mode -> its figures, to
        which the mean milliseconds of a text are added.
    """
    modes = {
        title: (run.output / key / "model-last", mode)
        for key, method in METHODS.items()
        for title, mode in method.modes.items()
        if not mode.thresholds  # they take no time
    }
    for name, figures in results.items():
        pipelines = {
            title: load(folder, run.dev(name), mode, limit=TIMED)
            for title, (folder, mode) in modes.items()
            if title in figures
        }
        times: dict[str, list[float]] = {title: [] for title in pipelines}
        for nlp, golds in pipelines.values():
            nlp(golds[0].text)  # loads the model
        texts = [gold.text for gold in next(iter(pipelines.values()))[1]]
        for text in texts:
            for title, (nlp, _) in pipelines.items():
                start = time.perf_counter()
                nlp(text)
                times[title].append(1000 * (time.perf_counter() - start))
        for title, ms in times.items():
            figures[title]["ms_a_text"] = statistics.fmean(ms)


def _blank(gold: Doc) -> Doc:
    """A Doc with the gold tokens, but without annotation.

    One pipeline is used for two languages, so its tokenizer cannot be used.
    """
    words = [token.text for token in gold]
    return Doc(gold.vocab, words, spaces=[bool(token.whitespace_) for token in gold])


def _thresholds(
    pairs: Sequence[tuple[Doc, Doc]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Learn thresholds for each half of the texts on the other half."""
    texts = [
        Candidates(
            frozenset(_gold_mention(span) for span in gold.spans[SPANS_KEY]),
            [
                ScoredSpan(s.start_char, s.end_char, s.label_, score, "exact")
                for s, score in zip(
                    doc.spans[SPANS_KEY],
                    doc.spans[SPANS_KEY].attrs["scores"],
                    strict=True,
                )
            ],
        )
        for doc, gold in pairs
    ]
    # the paper scores all mentions
    corpus = CandidateCorpus(texts, nested=True)
    labels = sorted({mention.label for text in texts for mention in text.gold})
    even, odd = (learn_thresholds([corpus.half(i)], labels) for i in (0, 1))
    return odd, even


def _gold_mention(span: Span) -> GoldMention:
    return GoldMention(span.start_char, span.end_char, span.label_)


def table(results: Mapping[str, Mapping[str, Any]], figure: str) -> list[list[str]]:
    """A row for each decoding mode: a figure for each set, and their mean."""
    names = {name: None for scores in results.values() for name in scores}
    rows = []
    for name in names:
        values = [scores.get(name, {}).get(figure) for scores in results.values()]
        known = [value for value in values if value is not None]
        mean = statistics.fmean(known) if len(known) == len(values) else None
        cells = ["-" if v is None else f"{v:.3f}" for v in [*values, mean]]
        rows.append([name, *cells])
    return rows


def collect(run: Run) -> dict[str, dict[str, Any]]:
    """Collect the scores in the output folder: set -> name of the mode -> figures."""
    results: dict[str, dict[str, Any]] = {name: {} for name in run.sets}
    for key, method in METHODS.items():
        path = run.output / key / SCORED
        if not path.is_file():
            continue
        if changes(path, identity := run.scoring(method)):
            msg.warn(f"{path} is of other texts: give {key} in --methods to score it")
            continue
        for name, found in read_note(path, identity).items():
            results[name].update(found)
    return results


def write_note(path: Path, identity: Mapping[str, Any], value: Any) -> None:
    """Write a result, and what decided it."""
    note = {"of": identity, "value": value}
    write_whole(path, f"{json.dumps(note, indent=2)}\n".encode())


def read_note(path: Path, identity: Mapping[str, Any]) -> Any:
    """Read the result that was decided by this; None if there is none."""
    return (
        None if changes(path, identity) else json.loads(path.read_text("utf8"))["value"]
    )


def changes(path: Path, identity: Mapping[str, Any]) -> list[str]:
    """What decides a result now and did not when it was written; all if unknown."""
    try:
        before = json.loads(path.read_text("utf8"))["of"]
        return [key for key, value in identity.items() if before.get(key) != value]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [*identity]


def run_method(key: str, run: Run, *, threads: int) -> None:
    """Train a method and score it, unless its folder has the results already."""
    folder = run.output / key
    method = METHODS[key]
    training, scoring = run.training(method), run.scoring(method)
    if not changes(folder / SCORED, scoring):
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for the training's process
    torch.set_num_threads(threads)
    times = folder / TRAINED
    if changes(times, training):
        write_note(times, training, train(run, folder, method))
    seconds = read_note(times, training)
    scores: dict[str, dict[str, Any]] = {}
    for name in run.sets:
        scores[name] = score(
            folder / "model-last", run.dev(name), method.modes, limit=run.limit
        )
        for title, figures in scores[name].items():
            figures["training_seconds"] = seconds
            msg.info(f"{name}, {title}: string F1 {figures['string_f']:.3f}")
    write_note(folder / SCORED, scoring, scores)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="the pretrained model's folder")
    parser.add_argument("--corpora", type=Path, default=Path("corpus/compare"))
    parser.add_argument("--output", type=Path, default=Path("training/compare"))
    parser.add_argument("--config", type=Path, default=Path("configs/compare.cfg"))
    parser.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--steps", type=int, default=1800, help="of 32 texts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="texts of a set to score")
    parser.add_argument("--jobs", type=int, default=1, help="methods at a time")
    parser.add_argument("--json", type=Path)
    return parser


def find_mistake(run: Run, methods: Sequence[str]) -> str | None:
    """What is wrong with the choice of methods and sets; None if nothing is."""
    if unknown := sorted(set(methods) - set(METHODS)):
        return f"--methods {','.join(unknown)}: choose from {','.join(METHODS)}"
    parts = [*map(run.train, run.sets), *map(run.dev, run.sets)]
    if missing := [path for path in parts if not path.is_file()]:
        return f"{missing[0]} is missing: correct --sets or --corpora"
    for key, method in METHODS.items():
        path = run.output / key / TRAINED
        changed = changes(path, run.training(method)) if path.is_file() else []
        if changed:
            return (
                f"{path} is of a training with another {', '.join(changed)}: give "
                f"another --output, or delete {path.parent} to train anew"
            )
    return None


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    methods = args.methods.split(",")
    run = Run(
        base=args.base,
        config=args.config,
        corpora=args.corpora,
        output=args.output,
        sets=args.sets.split(","),
        steps=args.steps,
        seed=args.seed,
        limit=args.limit,
    )
    if mistake := find_mistake(run, methods):
        parser.error(mistake)
    # those that OMP_NUM_THREADS, or the cores of this process, allow
    threads = max(1, torch.get_num_threads() // args.jobs)
    workers = ProcessPoolExecutor(
        args.jobs, mp_context=multiprocessing.get_context("spawn")
    )
    with workers:
        running = [
            workers.submit(run_method, key, run, threads=threads) for key in methods
        ]
    for done in running:
        done.result()
    results = collect(run)
    time_all(run, results)
    for figure in ("string_f", "span_f", "ms_a_text", "tokens_a_sequence"):
        msg.table(table(results, figure), header=[figure, *results, "mean"])
    if args.json:
        write_whole(args.json, f"{json.dumps(results, indent=2)}\n".encode())


if __name__ == "__main__":
    main()
