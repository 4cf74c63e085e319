"""Learn a calibration on gold texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from spacy_padellm.mention.calibration import AS_GIVEN, Calibration, log_odds


def learn_calibration(corpora: Sequence[Sequence[tuple[float, bool]]]) -> Calibration:
    """Fit a calibration by maximum likelihood (Platt scaling, 1999).

    A penalty keeps the calibration close to the identity if predictions are few.

    corpora (Sequence[Sequence[tuple[float, bool]]]): The predictions of each corpus:
        the score and whether it is correct. All corpora have the same weight.
    RETURNS (Calibration): The calibration; the identity if higher scores do not mean
        more correct predictions.
    """
    filled = [corpus for corpus in corpora if corpus]
    predictions = [prediction for corpus in filled for prediction in corpus]
    each = len(predictions) / max(len(filled), 1)
    weights = _tensor([each / len(corpus) for corpus in filled for _ in corpus])
    odds = _tensor([log_odds(score) for score, _ in predictions])
    signs = _tensor([2 * right - 1 for _, right in predictions])
    start = _tensor([AS_GIVEN.slope, AS_GIVEN.offset])
    learnt = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([learnt], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        margins = signs * (odds * learnt[0] + learnt[1])
        total = weights @ F.softplus(-margins) + (learnt - start).square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    slope, offset = learnt.tolist()
    return Calibration(slope, offset) if slope > 0 else AS_GIVEN


def _tensor(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
