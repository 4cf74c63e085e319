"""Average the weights of two pipelines with one shape (Wortsman et al., 2022).

    python scripts/mean_weights.py training/first training/second training/mean \
        --share 0.65

The mean has the settings of the first one, whose weights have the given share.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spacy
import torch

from spacy_padellm.benchmark.subjects.pipelines import pipe_of


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=float, required=True, help="of the first")
    options = parser.parse_args()
    average(options.first, options.second, options.output, share=options.share)


def average(first: Path, second: Path, output: Path, *, share: float) -> None:
    """Write the mean of two pipelines.

    first, second (Path): Folders of pipelines.
    output (Path): The folder to write.
    share (float): The share of the first one's weights.
    """
    nlp = spacy.load(first)
    pipe = pipe_of(nlp)
    assert pipe.prompt is not None
    mean = pipe.handle.trainable(pipe.prompt.special_tokens).model
    others = dict(pipe_of(spacy.load(second)).handle.lm().model.named_parameters())
    with torch.no_grad():
        for name, weight in mean.named_parameters():
            weight.copy_(torch.lerp(others[name].float(), weight.float(), share))
    nlp.to_disk(output)


if __name__ == "__main__":
    main()
