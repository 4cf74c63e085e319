"""Training steps of a model of a given shape: tokens a second, products, memory.

python -m benchmarks.gpu.training conll03_dev.spacy --shape 135M --json training.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Adam

from benchmarks.gpu.finetune import as_example, endless, make_nlp
from spacy_padellm.benchmark.measuring.measure import wait
from spacy_padellm.benchmark.measuring.work import Work, count_work
from spacy_padellm.benchmark.results.floors import sizes, speeds
from spacy_padellm.benchmark.subjects.pipelines import read_corpus
from spacy_padellm.benchmark.subjects.shapes import SHAPES, make_shaped
from spacy_padellm.lm.devices.choose import choose_device, choose_dtype
from spacy_padellm.lm.language_model import LanguageModel

TEXTS_A_STEP = 32
WARM_UP = 3  # steps


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="135M")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--tokens", type=int, default=16384, help="of a pass")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.base = save_shape(options, Path(folder))
        nlp = make_nlp(options)
        docs = read_corpus(options.corpus, nlp.vocab)
        nlp.initialize(lambda: [as_example(nlp, doc) for doc in docs[:64]])
        pipe: Any = nlp.get_pipe("padellm_ner")
        figures = measure(pipe, steps_of(nlp, docs), seconds=options.seconds)
    figures = {"shape": options.shape, "training": figures}
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf8")


def save_shape(options: argparse.Namespace, folder: Path) -> Path:
    """Write a model with random weights, to be loaded as one from the hub."""
    device = choose_device(options.device)
    lm = make_shaped(
        options.shape,
        [doc.text for doc in read_corpus(options.corpus, Vocab())],
        device=device,
        dtype=choose_dtype(options.dtype, device),
        seed=0,
    )
    lm.unpack_weights()
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


def steps_of(nlp: Any, docs: Sequence[Doc]) -> Iterator[list[Example]]:
    """Batches of examples, without end."""
    for batch in endless(docs, min(TEXTS_A_STEP, len(docs)), seed=0):
        yield [as_example(nlp, doc) for doc in batch]


def measure(
    pipe: Any, steps: Iterator[list[Example]], *, seconds: float
) -> dict[str, Any]:
    """Train for some seconds after a warm-up.

    pipe (PaDeLLMNER): The component.
    steps (Iterator[list[Example]]): The texts of each step.
    seconds (float): How long.
    RETURNS (dict[str, Any]): The figures.
    """
    sgd = Adam(1e-4, L2=0.05, grad_clip=1.0, use_averages=False)
    for examples in itertools.islice(steps, WARM_UP):
        pipe.update(examples, sgd=sgd)
    lm: LanguageModel = pipe.handle.lm()
    count = 0
    with count_work(lm) as work, count_outputs(lm) as outputs:
        wait(lm.device)
        start = time.perf_counter()
        spent = 0.0
        while spent < seconds:
            pipe.update(next(steps), sgd=sgd)
            wait(lm.device)
            count += 1
            spent = time.perf_counter() - start
    weights, cuda = sizes(lm), lm.device.type == "cuda"
    # forward, and backward for inputs and for weights
    products = 6 * (work.tokens * weights.inner + outputs.tokens * weights.head)
    return {
        "steps": count,
        "seconds_a_step": spent / count,
        "tokens_a_second": work.tokens / spent,
        "passes_a_step": work.passes / count,
        "share_of_matrix_rate": products / spent / speeds(lm).product_rate,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
    }


@contextmanager
def count_outputs(lm: LanguageModel) -> Iterator[Work]:
    """Count the rows that are multiplied with the vocabulary's matrix."""
    work = Work()

    def count(module: Any, args: tuple[Any, ...]) -> None:
        work.passes += 1
        work.tokens += args[0].numel() // args[0].shape[-1]

    hook = lm.model.get_output_embeddings().register_forward_pre_hook(count)
    try:
        yield work
    finally:
        hook.remove()


if __name__ == "__main__":
    main()
