"""The settings of a run, and the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from spacy_padellm.benchmark.decoders import DECODERS, default_decoders
from spacy_padellm.benchmark.subjects.shapes import SHAPES
from spacy_padellm.errors import Errors
from spacy_padellm.prompt.template import PRESETS

CLASSIFIER = "token-classifier"
SPACY_PIPES = ("ner", "transformer")


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """The settings of a run; see the help texts in `make_parser`."""

    gold: Path
    forced: bool
    models: tuple[str, ...]
    shape: str
    preset: str
    texts: int
    labels: int | None
    long: int | None
    decoders: tuple[str, ...]
    peers: tuple[str, ...]
    train_peers: int
    vllm: str | None
    device: str | None
    dtype: str | None
    threads: int | None
    batch_size: int | None
    repeats: int
    seed: int
    lang: str
    json: Path | None
    chart: Path | None
    write_gold: Path | None


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options.

    prog (str): The command's name, for its help.
    RETURNS (argparse.ArgumentParser): The parser.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measure every decoder and its peers side by side, in one run.",
    )
    _add_texts_and_models(parser)
    _add_decoders_and_peers(parser)
    _add_run(parser)
    return parser


def _add_texts_and_models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "gold",
        type=Path,
        metavar="GOLD",
        help="a .spacy corpus, or JSON lines of "
        '{"text": ..., "mentions": {label: [mention, ...]}}',
    )
    add(
        "--forced",
        action="store_true",
        help="random weights; decoders are forced to generate the gold mentions",
    )
    add(
        "--model",
        action="append",
        default=[],
        dest="models",
        metavar="MODEL",
        help="a trained pipeline, a model folder or bundled-en; repeatable",
    )
    add("--shape", choices=SHAPES, default="70M", help="size of the random model")
    add("--preset", choices=PRESETS, default="paper-en", help="prompt with --forced")
    add("--texts", type=int, default=40, help="how many texts, spread over the corpus")
    add(
        "--labels",
        type=int,
        help="use this number of labels: the most frequent ones, or new ones for "
        "each distinct mention",
    )
    add("--long", type=int, metavar="TOKENS", help="join texts to this length")


def _add_decoders_and_peers(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--decoders", default=",".join(default_decoders()), help="default: %(default)s")
    add(
        "--peers",
        default=",".join(_available_peers()),
        help="spaCy's pipes, pipelines (en_core_web_sm, a folder), of which `ner` "
        "runs, or token-classifier, an encoder of roberta-base's shape on the model's "
        "device; default: %(default)s; '' for none",
    )
    add(
        "--train-peers",
        type=int,
        default=0,
        metavar="STEPS",
        help="train spaCy's pipes on the same texts; 0 only initializes them",
    )
    add("--vllm", metavar="PYTHON", help="interpreter of an environment with vLLM")


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Add how to run the models, and the output files."""
    add = parser.add_argument
    add(
        "--device",
        help="auto, cpu, cuda, cuda:1, ...; default: that of the pipeline, or auto",
    )
    add("--dtype", help="auto, float32, bfloat16, float16, int8; default: as --device")
    add("--threads", type=int, help="torch's threads on the CPU")
    add("--batch-size", type=int, help="texts of a batch; default: the pipeline's")
    add(
        "--repeats",
        type=int,
        default=3,
        help="the median of this number of runs counts",
    )
    add("--seed", type=int, default=0, help="seed of random weights")
    add("--lang", default="en", help="language of the pipelines")
    add("--json", type=Path, metavar="OUT", help="write all figures")
    add(
        "--chart",
        type=Path,
        metavar="OUT.png",
        help="draw the figures (needs matplotlib)",
    )
    add(
        "--write-gold",
        type=Path,
        metavar="OUT.jsonl",
        help="only write the corpus as JSON lines, which do not need spaCy",
    )


def _available_peers() -> tuple[str, ...]:
    """spaCy's pipes that can be made here."""
    if find_spec("spacy_transformers"):
        return SPACY_PIPES
    return tuple(name for name in SPACY_PIPES if name != "transformer")


def _is_pipeline(name: str) -> bool:
    """Whether a name is the folder or the package of a spaCy pipeline."""
    if (Path(name) / "config.cfg").is_file():
        return True
    package = find_spec(name) if name.isidentifier() else None
    folders = (package and package.submodule_search_locations) or []
    return any((Path(folder) / "meta.json").is_file() for folder in folders)


def parse(arguments: Sequence[str], *, prog: str) -> BenchmarkSettings:
    """Parse the command line.

    arguments (Sequence[str]): The arguments after the command's name.
    prog (str): The command's name.
    RETURNS (BenchmarkSettings): The settings.
    RAISES (ValueError): If options contradict each other or contain unknown names.
    """
    options = vars(make_parser(prog).parse_args(list(arguments)))
    options["models"] = tuple(options["models"])
    for option, known in (
        ("decoders", tuple(DECODERS)),
        (
            "peers",
            (*SPACY_PIPES, CLASSIFIER, "the package or folder of a pipeline"),
        ),
    ):
        names = tuple(name for name in options[option].split(",") if name)
        for name in names:
            own = option == "peers" and _is_pipeline(name)
            if name not in known and not own:
                raise ValueError(
                    Errors.P161.format(option=option, name=name, known=", ".join(known))
                )
        if option == "peers" and "transformer" in {*names} - {*_available_peers()}:
            raise ValueError(Errors.P182)
        options[option] = names
    for option in ("texts", "labels", "long", "threads", "batch_size", "repeats"):
        if options[option] is not None and options[option] < 1:
            raise ValueError(Errors.P162.format(option=option, value=options[option]))
    settings = BenchmarkSettings(**options)
    if settings.write_gold is None and settings.forced == bool(settings.models):
        raise ValueError(Errors.P163)
    return settings
