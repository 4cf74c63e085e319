"""Decodes a stream of texts as token trees, several in one forward pass.

Texts join and leave the batch between passes, so that passes stay full. Each pass holds
the new tokens of the texts in progress, then as many new texts as there is room for. If
there is no memory for a pass, its texts start again, each alone.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from spacy_padellm.decoding.base import DecodeResult
from spacy_padellm.decoding.limits import Cuts
from spacy_padellm.decoding.tree.logits import Outputs, pick, read_outputs
from spacy_padellm.decoding.tree.pass_size import CACHE_SHARE
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.text import TreeText
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.lm.cuda_graphs import GraphRunner
from spacy_padellm.lm.devices.choose import on_device
from spacy_padellm.lm.devices.upload import upload
from spacy_padellm.lm.files.load_errors import is_out_of_memory
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import PackedBatch, pack

# new rows times the widest one, per token of a pass
_PADDED_SHARE = 2


@dataclass(frozen=True, slots=True)
class Waiting:
    """A text that has not been in a pass yet.

    key (int): Identifies the text.
    size (int): Tokens of its first pass.
    text (TreeText): The text.
    """

    key: int
    size: int
    text: TreeText


class TreeRun:
    """Grows the trees of a changing batch of texts."""

    def __init__(
        self,
        lm: LanguageModel,
        waiting: Iterator[Waiting | None],
        *,
        max_batch_tokens: int,
        most_tokens: int | None,
        decode_separately: Callable[[str], DecodeResult],
        draft_tokens: int,
        cuts: Cuts,
        tags: Sequence[int] = (),
        graph_runner: GraphRunner | None = None,
        cascade: bool = False,
    ) -> None:
        """Prepare a run.

        lm (LanguageModel): The model.
        waiting (Iterator[Waiting | None]): The texts, best sorted by size; None if the
            next text is not there yet.
        max_batch_tokens (int): Tokens of a pass; a single text may exceed it.
        most_tokens (int | None): The most tokens of a pass, also of a single text, that
            the model computes rightly; None if there is no limit.
        decode_separately (Callable[[str], DecodeResult]): Decodes a text whose passes
            have more.
        draft_tokens (int): Tokens of a mention to draft in a pass.
        cuts (Cuts): Those of the finished texts are added to it.
        tags (Sequence[int]): The tokens that stand for the tags of texts.
        graph_runner (GraphRunner | None): Runs a batch of one text.
        cascade (bool): See `LanguageModel.packed_logits`.
        """
        self._lm = lm
        self._cuts = cuts
        self._tags = tags
        self._graph_runner = graph_runner
        self._cascade = cascade
        self._alone = False  # whether the batch is the only text of the stream
        self._waiting = waiting
        self._next: Waiting | None = None
        self._again: deque[tuple[int, TreeText]] = deque()  # keys, texts to run alone
        self._ended = False
        self._max_batch_tokens = min(max_batch_tokens, most_tokens or max_batch_tokens)
        self._most_tokens = most_tokens
        self._decode_separately = decode_separately
        self._draft_tokens = draft_tokens
        self._cache = TreeKVCache()
        self._keys: list[int] = []  # of the texts in the batch, by row
        self._texts: list[TreeText] = []

    def __iter__(self) -> Iterator[tuple[int, DecodeResult] | None]:
        """Run passes until all texts are decoded.

        YIELDS (tuple[int, DecodeResult] | None): A text's key and result, in the order
            in which texts are finished; None if there was no text to decode.
        """
        while True:
            old = len(self._texts)
            self._admit()
            if self._texts:
                yield from self._try_pass(old)
            elif self._ended:
                return
            else:
                yield None

    def _admit(self) -> None:
        """Add new texts to the batch, as many as there is room for."""
        if self._again:
            if not self._texts:
                key, text = self._again.popleft()
                self._keys, self._texts = [key], [text]
            return
        old = len(self._texts)
        tokens = sum(text.tree.width for text in self._texts)
        slots = max((text.tree.filled for text in self._texts), default=0)
        widest = 0  # new text
        while (new := self._peek()) is not None:
            rows = len(self._texts) + 1
            slots = max(slots, new.size)
            widest = max(widest, new.size)
            tokens += new.size
            full = (
                tokens > self._max_batch_tokens
                or slots * rows > CACHE_SHARE * self._max_batch_tokens
                # masks are padded to the widest text
                or widest * (rows - old) > _PADDED_SHARE * self._max_batch_tokens
            )
            if self._texts and full:
                return
            self._keys.append(new.key)
            self._texts.append(new.text)
            self._next = None

    def _peek(self) -> Waiting | None:
        """The next text, if it is there already."""
        if self._next is None and not self._ended:
            try:
                self._next = next(self._waiting)
            except StopIteration:
                self._ended = True
        return self._next

    def _try_pass(self, old: int) -> list[tuple[int, DecodeResult]]:
        """Run one forward pass; if that is impossible, its texts start again."""
        tokens = sum(text.tree.width for text in self._texts)
        if self._most_tokens is not None and tokens > self._most_tokens:
            return self._start_in_smaller_passes()
        try:
            return self._pass(old)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            words = words_of(error)
        # outside of the handler, as the error keeps the pass in memory
        return self._start_again(words)

    def _start_again(self, words: str) -> list[tuple[int, DecodeResult]]:
        """Empty the batch, to run its texts alone; a text that was alone is an error.

        words (str): Those of the error of a lack of memory.
        """
        keys, texts = self._keys, self._texts
        self._keys, self._texts, self._cache = [], [], TreeKVCache()
        if self._graph_runner is not None:
            self._graph_runner.free()
        device = self._lm.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if len(texts) == 1 and self._graph_runner is None:
            tokens = texts[0].job.count_prompts.text_tokens
            message = Errors.P1007.format(tokens=tokens, device=device, error=words)
            return [(keys[0], ValueError(message))]
        self._graph_runner = None  # graphs have memory of their own
        self._max_batch_tokens = max(1, self._max_batch_tokens // 2)
        tokens = self._max_batch_tokens
        logger.warning(Warnings.W973.format(device=device, tokens=tokens, error=words))
        self._run_alone(keys, texts)
        return []

    def _start_in_smaller_passes(self) -> list[tuple[int, DecodeResult]]:
        """Empty the batch, to run its texts alone; or separately one that was alone."""
        keys, texts = self._keys, self._texts
        self._keys, self._texts = [], []
        if len(texts) == 1:
            return [(keys[0], self._decode_separately(texts[0].job.text))]
        self._run_alone(keys, texts)
        return []

    def _run_alone(self, keys: Sequence[int], texts: Sequence[TreeText]) -> None:
        for key, text in zip(keys, texts, strict=True):
            self._again.append((key, TreeText(replace(text.job, cuts=Cuts()))))

    def _pass(self, old: int) -> list[tuple[int, DecodeResult]]:
        """Run one forward pass.

        old (int): How many texts of the batch were in a pass before.
        RETURNS (list[tuple[int, DecodeResult]]): The finished texts' keys and results.
        """
        packed = pack([text.tree for text in self._texts], old)
        if not old:
            self._alone = self._ended and GraphRunner.fits(packed)
        logits, outputs = self._outputs(packed)
        finished: list[tuple[int, DecodeResult]] = []  # rows and results
        for row, result in enumerate(self._split(logits, outputs)):
            decoded = self._advance(row, result)
            if decoded is not None:
                finished.append((row, decoded))
        results = [(self._keys[row], decoded) for row, decoded in finished]
        texts = [self._texts[row] for row, _ in finished]
        self._drop([row for row, _ in finished])
        for text in texts:
            self._cuts.add(text.job.cuts)
        return results

    def _outputs(self, packed: PackedBatch) -> tuple[torch.Tensor, Outputs]:
        """Run the model on a batch, and take the outputs that its texts asked for."""
        logit_positions: list[int] = []
        pairs: list[tuple[int, int]] = []  # outputs of the batch, and tokens
        tagged: list[int] = []
        for text, start, first in zip(
            self._texts, packed.starts, packed.first_slots, strict=True
        ):
            request, outputs_before = text.request, len(logit_positions)
            pairs += [(outputs_before + n, token) for n, token in request.probabilities]
            logit_positions += [start - first + slot for slot in request.logit_slots]
            tagged += [start - first + slot for slot in request.tagged]
        with torch.inference_mode(), on_device(self._lm.device):
            # a transfer to the device after the pass would wait for its end
            (sent_pairs,) = upload([np.reshape(pairs, (-1, 2))], self._lm.output_device)
            logits, tag_logits = self._forward(packed, logit_positions, tagged)
            return logits, read_outputs(logits, sent_pairs, tag_logits)

    def _forward(
        self, packed: PackedBatch, logit_positions: Sequence[int], tagged: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LanguageModel.packed_logits`."""
        tags: dict[str, Any] = {"tag_positions": tagged, "tag_ids": self._tags}
        if self._alone and self._graph_runner:
            return self._graph_runner.packed_logits(packed, logit_positions, **tags)
        return self._lm.packed_logits(
            packed, logit_positions, self._cache, cascade=self._cascade, **tags
        )

    def _split(self, logits: torch.Tensor, outputs: Outputs) -> Iterator[PassResult]:
        """Split the outputs of a batch by text."""
        picks = self._pick(logits, outputs.tokens)
        output = probability = tag = 0
        for request, its_picks in zip(
            [text.request for text in self._texts], picks, strict=True
        ):
            output_end = output + len(request.logit_slots)
            probability_end = probability + len(request.probabilities)
            tag_end = tag + len(request.tagged)
            yield PassResult(
                tokens=outputs.tokens[output:output_end],
                log_probabilities=outputs.log_probabilities[output:output_end],
                probabilities=outputs.probabilities[probability:probability_end],
                tags=outputs.tags[tag:tag_end],
                picks=its_picks,
            )
            output, probability, tag = output_end, probability_end, tag_end

    def _pick(
        self, logits: torch.Tensor, tokens: Sequence[int]
    ) -> list[dict[int, tuple[int, float]]]:
        """Replace the most likely tokens that do not fit: the picks of each text."""
        misfits: list[tuple[int, Sequence[int]]] = []
        pick_targets: list[tuple[dict[int, tuple[int, float]], int]] = []
        picks: list[dict[int, tuple[int, float]]] = []
        start = 0
        for text in self._texts:
            picks.append({})
            end = start + len(text.request.logit_slots)
            for output, allowed in text.misfits(tokens[start:end]):
                misfits.append((start + output, allowed))
                pick_targets.append((picks[-1], output))
            start = end
        if not misfits:
            return picks
        with torch.inference_mode(), on_device(self._lm.device):
            picked = pick(logits, misfits)
        for (its_picks, output), token in zip(pick_targets, picked, strict=True):
            its_picks[output] = token
        return picks

    def _advance(self, row: int, result: PassResult) -> DecodeResult | None:
        """Let the text in a row take its outputs; returns its result once finished."""
        text = self._texts[row]
        if (
            any(map(math.isnan, result.log_probabilities))
            or np.isnan(result.tags).any()
        ):
            # masked slots are read too, so the next text in this row needs numbers
            with torch.inference_mode():
                if self._alone and self._graph_runner:
                    self._graph_runner.clear()
                else:
                    self._cache.clear(row, text.tree.start)
            return ValueError(Errors.P122)
        try:
            unfinished = text.advance(result, draft_tokens=self._draft_tokens)
        except ValueError as error:
            return error
        return None if unfinished else text.mentions()

    def _drop(self, rows: Sequence[int]) -> None:
        """Remove texts from the batch; the last texts take their rows."""
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
