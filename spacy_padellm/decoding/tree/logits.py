"""From the logits of a forward pass to tokens and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from spacy_padellm.lm.devices.upload import upload

# logits that fit a CPU's cache, for several passes over them
_CACHED_LOGITS = 1 << 18
_BLOCK = 128  # of logits, with one maximum
# logits whose float32 copies take 256 MB
_GPU_LOGITS = 1 << 26


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a forward pass for all texts of the batch.

    tokens (list[int]): The most likely token of each output.
    log_probabilities (list[float]): Their log-probabilities.
    probabilities (list[float]): The probabilities that were asked for.
    tags (float64, (tokens, tags)): Log-probabilities of the tags.
    """

    tokens: list[int]
    log_probabilities: list[float]
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
    RETURNS (Outputs): The outputs.
    """
    count = len(logits)
    parts = []
    if count:
        tokens, likely = likeliest(logits)
        parts += [tokens.double(), likely.double()]
    if len(pairs):
        rows, token_ids = pairs.T
        best = logits[rows, tokens[rows]].double()
        # relative to the most likely token, whose probability is known
        parts.append(likely[rows].double() + logits[rows, token_ids].double() - best)
    if len(tag_logits) or not count:
        parts.append(tag_logits.double().log_softmax(dim=-1).flatten())
    flat = torch.cat(parts).cpu().numpy()
    end = 2 * count + len(pairs)
    return Outputs(
        tokens=flat[:count].astype(np.int64).tolist(),
        log_probabilities=flat[count : 2 * count].tolist(),
        probabilities=np.exp(flat[2 * count : end]).tolist(),
        tags=flat[end:].reshape(tag_logits.shape),
    )


def pick(
    logits: torch.Tensor, candidates: Sequence[tuple[int, Sequence[int]]]
) -> list[tuple[int, float]]:
    """Pick the most likely of the allowed tokens at some outputs.

    The device is waited for once, however many outputs there are.

    logits (torch.Tensor): (outputs, vocabulary).
    candidates (Sequence[tuple[int, Sequence[int]]]): Outputs with their allowed
        tokens, at least one each.
    RETURNS (list[tuple[int, float]]): Tokens with their log-probabilities.
    """
    if not candidates:
        return []
    sizes = [len(allowed) for _, allowed in candidates]
    outputs = [output for output, _ in candidates]
    flat = [token for _, allowed in candidates for token in allowed]
    rows, tokens = upload([np.repeat(outputs, sizes), flat], logits.device)
    values = logits[rows, tokens].double()
    total = torch.cat(
        [logits[output].float().logsumexp(dim=0)[None] for output in outputs]
    )
    read = torch.cat((values, total.double())).tolist()
    picked = []
    start = 0
    for size, total_score in zip(sizes, read[len(flat) :], strict=True):
        best = max(range(start, start + size), key=read.__getitem__)
        picked.append((flat[best], read[best] - total_score))
        start += size
    return picked


def likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The most likely next tokens.

    logits (torch.Tensor): (outputs, vocabulary).
    RETURNS (tuple[torch.Tensor, torch.Tensor]): Tokens (int64, (outputs,)) and their
        log-probabilities (float32, (outputs,)), which are NaN if logits are NaN or
        infinite.
    """
    most = _CACHED_LOGITS if logits.device.type == "cpu" else _GPU_LOGITS
    pieces = logits.split(max(1, most // logits.shape[-1]))
    pairs = [_likeliest(piece) for piece in pieces]
    tokens, values = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return tokens, values


def _likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.float()
    tokens = _argmax(logits)
    # takes half the time of exponentials and their sum
    return tokens, -F.cross_entropy(logits, tokens, reduction="none")


def _argmax(values: torch.Tensor) -> torch.Tensor:
    """The index of the first maximum of each row: int64, (rows,).

    On a CPU, maxima are found much faster than their indices: look for the maximum of
    each block, and for its index only in the best one.
    """
    size = values.shape[-1]
    blocks = size // _BLOCK
    if values.device.type != "cpu" or not blocks:
        return values.argmax(dim=-1)
    whole = blocks * _BLOCK
    highest = values[:, :whole].unflatten(1, (blocks, _BLOCK)).amax(-1)
    if whole < size:
        rest = values[:, whole:].amax(-1, keepdim=True)
        highest = torch.cat((highest, rest), dim=1)
    # the last block overlaps the one before it if it is shorter
    first = highest.argmax(-1, keepdim=True).mul_(_BLOCK).clamp_(max=size - _BLOCK)
    inside = torch.arange(_BLOCK, device=values.device)
    block = values.gather(1, first + inside)
    index: torch.Tensor = first + block.argmax(-1, keepdim=True)
    return index.flatten()
