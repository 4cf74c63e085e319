"""The language model: a Hugging Face causal LM that reads token trees."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch

from spacy_padellm.lm.attention import packed_attention
from spacy_padellm.lm.cache_argument import cache_argument
from spacy_padellm.lm.tags import TaughtTags, read_tags, write_tags
from spacy_padellm.lm.vocabulary import VocabularyHead, fit_vocabulary, project
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch
from spacy_padellm.tree.token_tree import TreeBatch


class LanguageModel:
    """A causal LM with its tokenizer, ready to read token trees."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Take a model and its tokenizer.

        model (transformers.PreTrainedModel): The model, placed.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.autocast_dtype: torch.dtype | None = None  # dtype of products in training
        self._prompts: dict[Prompt, PromptTokens] = {}
        self._head = VocabularyHead(model)
        self.cuda_graphs: Any = None  # what `borrow_graph_runner` keeps for this model
        # held by whoever runs the model: a pass changes its attention and projection
        self.lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        # made anew: caches and graphs cannot be pickled
        return {**self.__dict__, "_prompts": {}, "cuda_graphs": None, "lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.RLock()

    def tokens_of(self, prompt: Prompt) -> PromptTokens:
        """A prompt, bound to this model's tokenizer.

        RAISES (ValueError): If the tokenizer has no `<eos>`.
        """
        if prompt not in self._prompts:
            self._prompts[prompt] = PromptTokens(prompt, self.tokenizer)
        return self._prompts[prompt]

    def add_special_tokens(self, tokens: Sequence[str]) -> list[int]:
        """Register special tokens that the tokenizer does not know yet.

        RETURNS (list[int]): The new ones.
        """
        known = self.tokenizer.get_added_vocab()
        new = [token for token in tokens if token not in known]
        if new:
            self.tokenizer.add_tokens(new, special_tokens=True)
            fit_vocabulary(self.model, self.tokenizer)
            self._head.attach(self.model)
            self._prompts.clear()
        return [int(self.tokenizer.convert_tokens_to_ids(token)) for token in new]

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def context(self) -> int:
        """The longest sequence in tokens that the model takes."""
        return int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)

    def logits(
        self,
        batch: TreeBatch,
        logit_positions: Sequence[int] | torch.Tensor,
        *,
        tag_positions: Sequence[int] = (),
        tag_ids: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run one pass over trees side by side, as training does.

        batch (TreeBatch): The pass.
        logit_positions (Sequence[int] | torch.Tensor): Where next tokens are read, each
            as row * width + slot. The vocabulary is projected there only.
        tag_positions (Sequence[int]): Where some tokens alone are asked for.
        tag_ids (Sequence[int]): These tokens.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): (positions, vocabulary) and
            (tag_positions, tag_ids), in the model's dtype.
        """
        dtype = self.autocast_dtype or self.dtype
        visible = torch.from_numpy(batch.visible).to(self.device)
        mask = additive_mask(visible, dtype)
        tagged = self._index(tag_positions), self._index(tag_ids)
        with self.lock, self.autocast():
            logits, hidden = self.forward(
                batch.ids, batch.positions, mask[:, None], logit_positions
            )
            return logits, self.project(hidden, *tagged)

    def sequence_logits(
        self, batch: TreeBatch, logit_positions: Sequence[int] | torch.Tensor
    ) -> torch.Tensor:
        """Run one pass over trees of a single path each, as sequences of their own.

        batch (TreeBatch): The pass; positions are not given, and padding stands at the
            end.
        logit_positions (Sequence[int] | torch.Tensor): As in `logits`.
        RETURNS (torch.Tensor): (positions, vocabulary), in the model's dtype.
        """
        # padding has depth 0, as a path's first token has
        real = torch.from_numpy(batch.positions > 0).to(self.device)
        real[:, 0] = True
        with self.lock, self.autocast():
            return self.forward(batch.ids, None, real.long(), logit_positions)[0]

    def read(
        self,
        packed: PackedBatch,
        logit_positions: Sequence[int],
        cache: TreeKVCache,
        *,
        tag_positions: Sequence[int] = (),
        tag_ids: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run one pass over packed trees, as decoding does.

        packed (PackedBatch): The pass.
        logit_positions (Sequence[int]): Packed tokens after which next tokens are read.
        cache (TreeKVCache): Keys and values of the passes before.
        tag_positions, tag_ids (Sequence[int]): See `logits`; packed tokens here.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): (positions, vocabulary) and
            (tag_positions, tag_ids), in the model's dtype.
        """
        dtype = self.autocast_dtype or self.dtype
        # one that needs no work: attention has its own masks
        mask = torch.zeros(1, 1, 1, 1, dtype=dtype, device=self.device)
        attention = packed_attention(
            self.model.config, packed, cache, device=self.device, dtype=dtype
        )
        tagged = self._index(tag_positions), self._index(tag_ids)
        with self.lock, self.autocast(), attention:
            ids, positions = packed.ids[None], packed.positions[None]
            logits, hidden = self.forward(ids, positions, mask, logit_positions)
            return logits, self.project(hidden, *tagged)

    def fill(self, cache: Any, **inputs: Any) -> None:
        """Read tokens for their keys and values alone.

        cache (transformers.Cache): Takes them.
        inputs (Any): What the model's forward takes.
        """
        # one token is projected, whichever
        with self._head.at(torch.zeros(1, dtype=torch.long, device=self.device)):
            self.model(**inputs, **{cache_argument(self.model): cache}, use_cache=True)

    def _index(self, numbers: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Numbers on the device; put there after a pass they would wait for its end."""
        return torch.as_tensor(numbers, dtype=torch.long, device=self.device)

    def project(
        self, hidden: torch.Tensor, tag_positions: torch.Tensor, tag_ids: torch.Tensor
    ) -> torch.Tensor:
        """See `vocabulary.project`."""
        return project(self.model, hidden, tag_positions, tag_ids)

    @property
    def tags(self) -> TaughtTags:
        """The tags that it was taught to give the tokens of its texts."""
        return read_tags(self.model.config)

    @tags.setter
    def tags(self, tags: TaughtTags) -> None:
        write_tags(self.model.config, tags)

    def autocast(self) -> torch.autocast:
        """The context to run the model in: products in the dtype `autocast`, if set."""
        return torch.autocast(
            self.device.type,
            dtype=self.autocast_dtype,
            enabled=self.autocast_dtype is not None,
        )

    def forward(
        self, ids: Any, positions: Any, mask: torch.Tensor, logit_positions: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The model's forward function; who calls it holds `alone`.

        ids, positions (Any): (rows, width), numbers; no positions are the model's own.
        mask (torch.Tensor): What the model takes as its attention mask.
        logit_positions (Any): Where next tokens are read, each as row * width + slot.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): Logits (positions, vocabulary), and
            what all tokens give the vocabulary projection, (rows * width, size).
        """
        inputs = {"input_ids": self._index(ids)}
        if positions is not None:
            inputs["position_ids"] = self._index(positions)
        with self._head.at(self._index(logit_positions)):
            output = self.model(**inputs, attention_mask=mask, use_cache=False)
            logits: torch.Tensor = output.logits[0]
            return logits, self._head.hidden
