"""A token classifier as a peer: an encoder that gives each token a tag, in one pass.

It has roberta-base's shape and random weights. It only computes: its tags are read
back, but not made into entities. So it is the least that a pipeline on such an encoder
takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    RobertaConfig,
    RobertaForTokenClassification as Classifier,
)

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
PAD = 1  # its place among them
ROBERTA_BASE: dict[str, Any] = {
    "vocab_size": 50_265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
}
PASS_TOKENS = 16_384  # with padding
TEXT_TOKENS = 512


class TokenClassifier:
    """An encoder with a tag for each token.

    texts (Sequence[str]): The texts that its tokenizer is learnt from.
    labels (int): The number of labels; each has a tag for its first token and one for
        the others.
    device (torch.device): The device.
    dtype (torch.dtype): The dtype.
    seed (int): Seed of the weights.
    sizes (dict[str, Any] | None): Arguments of RobertaConfig that replace those of
        roberta-base.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        seed: int,
        sizes: dict[str, Any] | None = None,
    ) -> None:
        options = {**ROBERTA_BASE, **(sizes or {})}
        self.device = device
        self.tokenizer = learn_byte_tokenizer(texts, options["vocab_size"])
        torch.manual_seed(seed)
        config = RobertaConfig(**options, num_labels=2 * labels + 1)
        module: torch.nn.Module = Classifier(config)
        self.model = module.to(device, dtype).eval()

    def __call__(self, text: str) -> list[int]:
        """The tags of a text's tokens."""
        return next(self.pipe([text]))

    @torch.inference_mode()
    def pipe(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The tags of the texts' tokens, those of short texts first."""
        encoded = self.tokenizer.encode_batch(list(texts))
        rows = sorted((row.ids[:TEXT_TOKENS] for row in encoded), key=len)
        for batch in in_passes(rows):
            ids = [torch.tensor(row) for row in batch]
            padded = pad_sequence(ids, batch_first=True, padding_value=PAD)
            padded = padded.to(self.device)
            output = self.model(padded, attention_mask=(padded != PAD).long())
            for row, tags in zip(batch, output.logits.argmax(-1).tolist(), strict=True):
                yield tags[: len(row)]


def in_passes(rows: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
    """Part rows, sorted by length, into passes of at most PASS_TOKENS with padding."""
    start = 0
    for end, row in enumerate(rows):
        if len(row) * (end + 1 - start) > PASS_TOKENS:
            yield rows[start:end]
            start = end
    if start < len(rows):
        yield rows[start:]


def learn_byte_tokenizer(texts: Sequence[str], size: int) -> ByteLevelBPETokenizer:
    """A byte-level BPE tokenizer with RoBERTa's special tokens."""
    learnt = ByteLevelBPETokenizer()
    learnt.train_from_iterator(
        texts, vocab_size=size, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    return learnt
