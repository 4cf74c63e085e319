"""From the logits of a forward pass to tokens and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

# logits that fit a CPU's cache, for several passes over them
_CACHED_LOGITS = 1 << 18


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a forward pass for all texts of the batch.

    tokens (list[int]): The most likely token of each output.
    scores (list[float]): Their log-probabilities.
    probabilities (list[float]): The probabilities that were asked for.
    tags (float64, (tokens, tags)): Log-probabilities of the tags.
    """

    tokens: list[int]
    scores: list[float]
    probabilities: list[float]
    tags: npt.NDArray[np.float64]


def read_outputs(
    logits: torch.Tensor, pairs: torch.Tensor, tag_logits: torch.Tensor
) -> Outputs:
    """Transfer the outputs of a forward pass from the device, all at once.

    logits (torch.Tensor): (outputs, vocabulary).
    pairs (torch.Tensor): (pairs, 2): outputs and the tokens whose probabilities are
        needed there.
    tag_logits (torch.Tensor): (tokens, tags).
    """
    tokens, scores = likeliest(logits)
    parts = [tokens.double(), scores.double()]
    if len(pairs):
        rows, wanted = pairs.T
        best = logits[rows, tokens[rows]].double()
        # relative to the most likely token, whose probability is known
        parts.append(scores[rows].double() + logits[rows, wanted].double() - best)
    parts.append(tag_logits.double().log_softmax(dim=-1).flatten())
    flat = torch.cat(parts).cpu().numpy()
    count = len(tokens)
    end = 2 * count + len(pairs)
    return Outputs(
        tokens=flat[:count].astype(np.int64).tolist(),
        scores=flat[count : 2 * count].tolist(),
        probabilities=np.exp(flat[2 * count : end]).tolist(),
        tags=flat[end:].reshape(tag_logits.shape),
    )


def pick(
    logits: torch.Tensor, output: int, allowed: Sequence[int]
) -> tuple[int, float]:
    """The most likely of the allowed tokens, with its log-probability."""
    row = logits[output].float()
    best, index = row[torch.tensor(allowed, device=row.device)].max(dim=0)
    # one transfer from the device
    values = torch.stack((index.float(), best - row.logsumexp(dim=0))).tolist()
    return allowed[int(values[0])], values[1]


def likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The most likely next tokens.

    logits (torch.Tensor): (outputs, vocabulary).
    RETURNS (tuple[torch.Tensor, torch.Tensor]): Tokens (int64, (outputs,)) and their
        log-probabilities (float32, (outputs,)), which are NaN if logits are NaN or
        infinite.
    """
    if logits.device.type == "cpu":
        pieces = logits.split(max(1, _CACHED_LOGITS // logits.shape[-1]))
        pairs = [_likeliest(piece) for piece in pieces]
        tokens, scores = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        return tokens, scores
    return _likeliest(logits)


def _likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.float()
    best, tokens = logits.max(dim=-1)
    # takes half the time of torch.logsumexp, which searches the maximum again
    return tokens, -(logits - best[:, None]).exp_().sum(dim=-1).log()
