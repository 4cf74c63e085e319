"""Decoding of a stream of texts as token trees, many in one pass.

Texts join and leave between passes, so that passes stay full: the tokens that texts
in progress ask for, then as many new texts as there is room for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from spacy_padellm.decoding.base import DecodeResult, likeliest
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.text import TreeText
from spacy_padellm.errors import Errors
from spacy_padellm.lm.cuda_graphs import GraphRunner
from spacy_padellm.lm.devices import on_device
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import PackedBatch, pack

CACHE_SHARE = 8  # slots of the cache for each token of a pass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A text that waits to be decoded.

    key (int): Names it.
    size (int): Tokens of its first pass.
    tree (TreeText): It.
    """

    key: int
    size: int
    tree: TreeText


class TreeRun:
    """Grows the trees of texts that come and go."""

    def __init__(
        self,
        lm: LanguageModel,
        waiting: Iterator[Waiting | None],
        *,
        max_batch_tokens: int,
        draft_tokens: int,
        tags: Sequence[int] = (),
        graph_runner: GraphRunner | None = None,
    ) -> None:
        """Prepare a run.

        lm (LanguageModel): The model.
        waiting (Iterator[Waiting | None]): The texts, those of like size together;
            None where there is none for now.
        max_batch_tokens (int): Tokens of a pass; one text may exceed it.
        draft_tokens (int): Tokens of a mention to draft in a pass.
        tags (Sequence[int]): The tokens that texts may be tagged with.
        graph_runner (GraphRunner | None): Reads a text that is alone.
        """
        self._lm = lm
        self._tags = tags
        self._graph_runner = graph_runner
        self._alone = False  # whether the text in progress is
        self._waiting = waiting
        self._next: Waiting | None = None
        self._ended = False
        self._max_batch_tokens = max_batch_tokens
        self._draft_tokens = draft_tokens
        self._cache = TreeKVCache()
        self._keys: list[int] = []  # of the texts in progress, by row
        self._texts: list[TreeText] = []

    def __iter__(self) -> Iterator[tuple[int, DecodeResult] | None]:
        """Run passes until every text is decoded.

        YIELDS (tuple[int, DecodeResult] | None): A text's key and its mentions, in the
            order in which texts are finished; None where there was no text to decode.
        """
        while True:
            old = len(self._texts)
            self._admit()
            if self._texts:
                yield from self._pass(old)
            elif self._ended:
                return
            else:
                yield None

    def _admit(self) -> None:
        """Let new texts join the pass, as many as there is room for."""
        tokens = sum(text.tree.width for text in self._texts)
        slots = max((text.tree.filled for text in self._texts), default=0)
        while (new := self._waits()) is not None:
            slots = max(slots, new.size)
            tokens += new.size
            held = slots * (len(self._texts) + 1)
            full = tokens > self._max_batch_tokens
            if self._texts and (full or held > CACHE_SHARE * self._max_batch_tokens):
                return
            self._keys.append(new.key)
            self._texts.append(new.tree)
            self._next = None

    def _waits(self) -> Waiting | None:
        """The next text, if there is one for now."""
        if self._next is None and not self._ended:
            try:
                self._next = next(self._waiting)
            except StopIteration:
                self._ended = True
        return self._next

    def _pass(self, old: int) -> list[tuple[int, DecodeResult]]:
        """One pass; `old` texts were in a pass before. Gives the finished ones."""
        packed = pack([text.tree for text in self._texts], old)
        if not old:
            self._alone = self._ended and GraphRunner.fits(packed)
        logit_positions: list[int] = []
        asked: list[tuple[int, int]] = []  # rows of the logits, and tokens
        tagged: list[int] = []
        for text, start, first in zip(
            self._texts, packed.starts, packed.first_slots, strict=True
        ):
            first_row = len(logit_positions)
            asked += [(first_row + read, token) for read, token in text.request.chances]
            logit_positions += [
                start - first + slot for slot in text.request.logit_slots
            ]
            tagged += [start - first + slot for slot in text.request.tagged]
        with torch.inference_mode(), on_device(self._lm.device):
            # put on the device after the pass, they would wait for its end
            wanted = torch.tensor(asked, dtype=torch.long, device=self._lm.device)
            logits, tag_logits = self._read(packed, logit_positions, tagged)
            tokens, scores, chances, tags = _read_off(logits, wanted, tag_logits)
        place = chance = tag = 0
        ended: list[tuple[int, DecodeResult]] = []  # rows
        for row, text in enumerate(self._texts):
            end = place + len(text.request.logit_slots)
            last = chance + len(text.request.chances)
            until = tag + len(text.request.tagged)
            result = PassResult(
                tokens[place:end],
                scores[place:end],
                chances[chance:last],
                partial(_pick, logits[place:end]),
                tags[tag:until],
            )
            place, chance, tag = end, last, until
            found = self._take(row, text, result)
            if found is not None:
                ended.append((row, found))
        done = [(self._keys[row], found) for row, found in ended]
        self._drop([row for row, _ in ended])
        return done

    def _read(
        self, packed: PackedBatch, logit_positions: Sequence[int], tagged: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LanguageModel.packed_logits`."""
        asked = {"tag_positions": tagged, "tag_ids": self._tags}
        if self._alone and self._graph_runner:
            return self._graph_runner.packed_logits(packed, logit_positions, **asked)
        return self._lm.packed_logits(packed, logit_positions, self._cache, **asked)

    def _take(
        self, row: int, text: TreeText, result: PassResult
    ) -> DecodeResult | None:
        """Give a text what was read; what was found in it once it is finished."""
        if any(map(math.isnan, result.scores)) or np.isnan(result.tags).any():
            # what the next text in this row does not see must be numbers
            with torch.inference_mode():
                if self._alone and self._graph_runner:
                    self._graph_runner.clear()
                else:
                    self._cache.clear(row, text.tree.start)
            return ValueError(Errors.P122)
        try:
            goes_on = text.take(result, draft_tokens=self._draft_tokens)
        except ValueError as error:
            return error
        return None if goes_on else text.mentions()

    def _drop(self, rows: Sequence[int]) -> None:
        """Let texts leave: the last ones take their rows."""
        order = list(range(len(self._texts)))
        for row in reversed(rows):
            last = order.pop()
            if row < len(order):
                order[row] = last
        self._keys = [self._keys[row] for row in order]
        self._texts = [self._texts[row] for row in order]
        moved = [row for row, source in enumerate(order) if row != source]
        if moved:
            slots = max(self._texts[row].tree.start for row in moved)
            with torch.inference_mode():
                self._cache.move([order[row] for row in moved], moved, slots)


def _read_off(
    logits: torch.Tensor, asked: torch.Tensor, tag_logits: torch.Tensor
) -> tuple[list[int], list[float], list[float], npt.NDArray[np.float64]]:
    """What is read of a pass.

    RETURNS (tuple): The likeliest tokens, their log-probabilities, the probabilities
        asked for, the log-probabilities of the tags.
    """
    tokens, scores = likeliest(logits)
    found = [tokens.double(), scores.double()]
    if len(asked):
        rows, wanted = asked.T
        best = logits[rows, tokens[rows]].double()
        # relative to the likeliest token, whose probability is known
        found.append(scores[rows].double() + logits[rows, wanted].double() - best)
    found.append(tag_logits.double().log_softmax(dim=-1).flatten())
    flat = torch.cat(found).cpu().numpy()  # one transfer from the device a pass
    count = len(tokens)
    end = 2 * count + len(asked)
    ids = flat[:count].astype(np.int64).tolist()
    chances = np.exp(flat[2 * count : end]).tolist()
    tags = flat[end:].reshape(tag_logits.shape)
    return ids, flat[count : 2 * count].tolist(), chances, tags


def _pick(logits: torch.Tensor, read: int, allowed: Sequence[int]) -> tuple[int, float]:
    """The likeliest of some tokens after a read, with its log-probability."""
    row = logits[read].float()
    best, place = row[torch.tensor(allowed, device=row.device)].max(dim=0)
    # one transfer from the device
    found = torch.stack((place.float(), best - row.logsumexp(dim=0))).tolist()
    return allowed[int(found[0])], found[1]
