"""The mean of two pipelines' weights."""

from __future__ import annotations

from pathlib import Path

import spacy
import torch
from helpers import pipe_of, trained_folder
from mean_weights import average


def test_mean_weights_has_the_share_of_the_first(tmp_path: Path) -> None:
    nlp = spacy.load(trained_folder())
    lm = pipe_of(nlp).handle.trainable([])
    plain = {name: p.detach().clone() for name, p in lm.model.named_parameters()}
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.mul_(3)
    nlp.to_disk(tmp_path / "tripled")
    average(trained_folder(), tmp_path / "tripled", tmp_path / "mean", share=0.75)
    mean = pipe_of(spacy.load(tmp_path / "mean")).handle.lm().model
    for name, parameter in mean.named_parameters():
        expected = 1.5 * plain[name].float()
        torch.testing.assert_close(parameter.float(), expected, rtol=0.02, atol=1e-6)
