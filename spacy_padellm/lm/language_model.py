"""The language model: a Hugging Face causal LM that runs on token trees."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from spacy_padellm.compat.peft import stored_weight
from spacy_padellm.compat.transformers import (
    attention_names,
    configs_of,
    set_attentions,
)
from spacy_padellm.errors import Warnings, logger
from spacy_padellm.lm.attention.cache_argument import cache_argument
from spacy_padellm.lm.attention.cascade import can_cascade
from spacy_padellm.lm.attention.interface import used_by
from spacy_padellm.lm.attention.padded import PaddedAttention, training_attention
from spacy_padellm.lm.attention.split import TreeAttention, tree_attention
from spacy_padellm.lm.context import context_of
from spacy_padellm.lm.devices.cudnn import switch_off_cudnn_attention
from spacy_padellm.lm.devices.split import weight_shares
from spacy_padellm.lm.devices.upload import send, upload
from spacy_padellm.lm.layers.buckets import Numbers, bucket, fill_bucket
from spacy_padellm.lm.layers.fused import (
    is_faster_in_int8,
    read_int8_layers,
    read_layers,
    why_no_int8_layers,
)
from spacy_padellm.lm.layers.onednn import can_pack, prepack, unpack
from spacy_padellm.lm.layers.stack import Attend, Layers
from spacy_padellm.lm.quantization.compute import is_quantized
from spacy_padellm.lm.quantization.copies import copied, dumps
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.lm.vocabulary import (
    VocabularyHead,
    check_special_tokens,
    fit_vocabulary,
    project,
    start_with_words,
)
from spacy_padellm.locks import make_lock
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch
from spacy_padellm.tree.token_tree import TreeBatch


class _Wanted(NamedTuple):
    """Which outputs of a pass are computed: int64, on the `output_device`.

    logits (torch.Tensor): The tokens whose next-token logits are computed.
    tags (torch.Tensor): The tokens at which only the logits of `tag_ids` are computed.
    tag_ids (torch.Tensor): Token ids.
    """

    logits: torch.Tensor
    tags: torch.Tensor
    tag_ids: torch.Tensor


class LanguageModel:
    """A causal LM with its tokenizer, ready to run on token trees.

    shares (dict[torch.device, float]): See `weight_shares`: empty on one device.
    fused_layers (bool): Whether the layers of well-known models are run with fewer and
        larger operations than those of transformers.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        tags: TaughtTags | None = None,
        quantized: bool = False,
        fused_layers: bool = True,
    ) -> None:
        """Wrap a model and its tokenizer.

        model (transformers.PreTrainedModel): The model, on its device, or split over
            several by `split`.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        tags (TaughtTags | None): The tags that the model was trained to give the tokens
            of its texts.
        quantized (bool): Whether the weights are saved in few bits.
        fused_layers (bool): See the class.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.tags = TaughtTags() if tags is None else tags
        self.quantized = quantized
        self.fused_layers = fused_layers
        # file name -> content, of the folder that it was loaded from
        self.licenses: Mapping[str, bytes] = {}
        self.shares = weight_shares(model)
        self._prompts: dict[Prompt, PromptTokens] = {}
        self._head = VocabularyHead(model)
        self._layers: Layers | None = None
        self._packs = False
        self.int8 = False  # whether token trees are run with 8-bit products
        self._int8_wish: bool | None = False
        self.cuda_graphs: Any = None  # kept here by `borrow_graph_runner`
        # to be held while the model runs: a pass swaps its attention and its head
        self.lock = make_lock()
        switch_off_cudnn_attention(self.device)

    def __getstate__(self) -> dict[str, Any]:
        # locks and CUDA graphs cannot be pickled, and are made again
        made_again: dict[str, Any] = {"_prompts": {}, "_layers": None}
        with self.lock:  # a pass of another thread swaps it, also while it is pickled
            attentions = attention_names(configs_of(self.model))
        state = {**self.__dict__, **made_again, "cuda_graphs": None, "lock": None}
        return {**state, "attentions": attentions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        attentions = state.pop("attentions")
        self.__dict__.update(state)
        self.lock = make_lock()
        switch_off_cudnn_attention(self.device)
        set_attentions(configs_of(self.model), attentions)
        if self.int8:  # it may be on another machine or device now
            self._choose_int8()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if is_quantized(self.model):
            with self.lock:  # as in a copy
                return _unpickled, (dumps(self.__getstate__()),)
        return super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> LanguageModel:
        with self.lock:  # a pass of another thread would be copied, too
            state = self.__getstate__()
            if is_quantized(self.model):
                return _unpickled(dumps(state))
            other = LanguageModel.__new__(LanguageModel)
            other.__setstate__(copy.deepcopy(state, memo))
        return other

    def copied(self, device: torch.device | None = None) -> LanguageModel:
        """Copy a quantized model; the tokenizer is shared.

        device (torch.device | None): The copy's device; None is the model's own.
        RAISES (ValueError): If a part of it cannot be copied.
        """
        other = LanguageModel.__new__(LanguageModel)
        with self.lock:  # a pass of another thread would be copied, too
            state = self.__getstate__()
            other.__setstate__(copied(state, device=device, shared=[self.tokenizer]))
        return other

    def pack_weights(self, *, int8: bool | None = False) -> None:
        """Let the CPU's fastest kernels run a model that is no longer trained.

        They take a copy of the weights in a layout of their own.

        int8 (bool | None): Whether to multiply 8-bit numbers in token trees, where the
            model and the processor can. None: only if the weights are stored in few
            bits, and where that is faster.
        """
        prepack(self.model)
        self._packs = True
        self._layers = None
        self._int8_wish = int8
        self._choose_int8()

    @property
    def prefers_int8(self) -> bool:
        """Whether it multiplies 8-bit numbers if nothing else is asked for."""
        few_bits = self.quantized and self.fused_layers
        return few_bits and is_faster_in_int8(self.model)

    def _choose_int8(self) -> None:
        """Choose the numbers of products; say why they are not those asked for."""
        if self._int8_wish is None:
            self.int8 = self.prefers_int8
            return
        reason = why_no_int8_layers(self.model) if self._int8_wish else None
        self.int8 = self._int8_wish and reason is None
        if reason is not None:
            logger.warning(Warnings.W790.format(reason=reason))

    def unpack_weights(self) -> None:
        """Use the plain weights again, as a model must that will be trained."""
        unpack(self.model)
        self._packs = self.int8 = False
        self._layers = None

    @property
    def layers(self) -> Layers | None:
        """The model's layers, if they are fused."""
        if not self.fused_layers:
            return None
        if self._layers is None:
            packs = self._packs and can_pack(self.model)
            self._layers = (
                read_int8_layers(self.model, packed=packs)
                if self.int8
                else read_layers(self.model, packed=packs)
            )
        return self._layers

    def tokens_of(self, prompt: Prompt) -> PromptTokens:
        """Get the token ids of a prompt for this model's tokenizer.

        prompt (Prompt): The prompt.
        RAISES (ValueError): If the tokenizer has no end-of-sequence token, or the model
            no embedding of a special token.
        """
        if prompt not in self._prompts:
            check_special_tokens(self.model, self.tokenizer, prompt.special_tokens)
            self._prompts[prompt] = PromptTokens(prompt, self.tokenizer)
        return self._prompts[prompt]

    def add_special_tokens(self, tokens: Sequence[str]) -> list[int]:
        """Add special tokens that the tokenizer does not have yet.

        tokens (Sequence[str]): The special tokens.
        RETURNS (list[int]): The ids of the added tokens.
        """
        known = self.tokenizer.get_added_vocab()
        new = [token for token in tokens if token not in known]
        if not new:
            return []
        self.tokenizer.add_tokens(new, special_tokens=True)
        fit_vocabulary(self.model, self.tokenizer)
        self._head.attach(self.model)
        self._prompts.clear()
        ids = [int(self.tokenizer.convert_tokens_to_ids(token)) for token in new]
        start_with_words(self.model, self.tokenizer, ids)
        return ids

    @property
    def device(self) -> torch.device:
        """The model's device, or that of its inputs."""
        return self._embeddings.device

    @property
    def output_device(self) -> torch.device:
        """The device of the logits: another than `device` if the model is split."""
        return stored_weight(self.model.get_output_embeddings()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the model's weights."""
        return self._embeddings.dtype

    @property
    def _embeddings(self) -> torch.Tensor:
        # transformers' `device` and `dtype` look for a weight in every module
        return stored_weight(self.model.get_input_embeddings())

    @property
    def context(self) -> int:
        """The length of the longest sequence that the model supports, in tokens."""
        return context_of(self.model.config)

    def set_training(self, training: bool) -> None:
        """Choose between training and evaluation mode. The caller must hold `lock`."""
        if self.model.training != training:
            self.model.train(training)

    def logits(
        self,
        batch: TreeBatch,
        logit_positions: Sequence[int] | torch.Tensor,
        *,
        tag_positions: Sequence[int] = (),
        tag_ids: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run a forward pass over padded trees, as training does.

        batch (TreeBatch): The trees.
        logit_positions (Sequence[int] | torch.Tensor): The positions whose next-token
            logits are computed, each as row * width + slot.
        tag_positions (Sequence[int]): The positions at which only the logits of
            `tag_ids` are computed.
        tag_ids (Sequence[int]): Token ids.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): Logits (positions, vocabulary) and
            (tag_positions, tag_ids), in the model's dtype.
        """
        (ids, positions), wanted = self._upload(
            [batch.ids, batch.positions], logit_positions, tag_positions, tag_ids
        )
        visible = send(torch.from_numpy(batch.visible), self.device)
        mask = additive_mask(visible, self.dtype)[:, None]
        with self.lock:
            logits, hidden = self._padded_forward(
                ids,
                positions,
                mask,
                wanted.logits,
                causal=not np.triu(batch.visible, 1).any(),
            )
            tag_logits = project(self.model, hidden, wanted.tags, wanted.tag_ids)
        return logits[: len(logit_positions)], tag_logits[: len(tag_positions)]

    def _padded_forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        logit_positions: torch.Tensor,
        *,
        causal: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the model over padded trees: see `_forward` and `training_attention`."""
        layers = self.layers
        if layers is not None and not self._needs_modules(layers):
            tokens = ids.numel()
            extra = bucket(tokens) - tokens if self._compiles else 0
            flat_ids, flat_positions = (
                F.pad(part.flatten(), (0, extra)) for part in (ids, positions)
            )
            attention = PaddedAttention(mask)
            return self._run_layers(
                layers, flat_ids, flat_positions, attention, logit_positions
            )
        with training_attention(self.model, ids.shape[1], causal=causal):
            return self._forward(ids, positions, mask, logit_positions)

    def _needs_modules(self, layers: Layers) -> bool:
        """Whether training does what the modules of transformers do alone."""
        drops = layers.drops and self.model.training
        return bool(drops or self.model.is_gradient_checkpointing)

    def sequence_logits(
        self, batch: TreeBatch, logit_positions: Sequence[int] | torch.Tensor
    ) -> torch.Tensor:
        """Run a forward pass over trees of a single path each, as plain sequences.

        The model gets no position ids and a plain padding mask.

        batch (TreeBatch): The trees, padded at the end.
        logit_positions (Sequence[int] | torch.Tensor): As in `logits`.
        RETURNS (torch.Tensor): (positions, vocabulary), in the model's dtype.
        """
        # padding has depth 0, like the first token of a path
        real = torch.from_numpy(batch.positions > 0).to(self.device)
        real[:, 0] = True
        ids, logits_at = upload([batch.ids, logit_positions], self.device)
        logits_at = logits_at.to(self.output_device)
        with self.lock:
            return self._forward(ids, None, real.long(), logits_at)[0]

    def packed_logits(
        self,
        packed: PackedBatch,
        logit_positions: Sequence[int],
        cache: TreeKVCache,
        *,
        tag_positions: Sequence[int] = (),
        tag_ids: Sequence[int] = (),
        cascade: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run a forward pass over packed trees, as decoding does.

        packed (PackedBatch): The new tokens of all trees.
        logit_positions (Sequence[int]): The packed tokens whose next-token logits are
            computed.
        cache (TreeKVCache): Keys and values of earlier passes; takes those of this one.
        tag_positions, tag_ids (Sequence[int]): See `logits`, with positions among the
            packed tokens.
        cascade (bool): Attend to shared prefixes apart, where the model can.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): Logits (positions, vocabulary) and
            (tag_positions, tag_ids), in the model's dtype.
        """
        cache.reserve(*packed.used, kept=packed.kept)
        (ids, positions, slots), wanted = self._upload(
            [
                self._bucketed(packed.ids),
                self._bucketed(packed.positions),
                cache.slot_mapping(packed.rows, packed.slots),
            ],
            logit_positions,
            tag_positions,
            tag_ids,
        )
        attention = tree_attention(
            packed,
            cache,
            slots,
            dtype=self.dtype,
            tokens=len(ids),
            cascade=cascade and can_cascade(self.model),
            devices=self.shares,
            may_round=self.int8,  # its products round much more
        )
        with self.lock:
            # texts may be decoded while the model is trained
            self.set_training(False)
            logits, hidden = self.packed_forward(
                ids, positions, attention, wanted.logits
            )
            tag_logits = project(self.model, hidden, wanted.tags, wanted.tag_ids)
        return logits[: len(logit_positions)], tag_logits[: len(tag_positions)]

    def packed_forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attention: TreeAttention,
        logit_positions: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the model over packed tokens. The caller must hold `lock`.

        ids, positions (int64): (tokens,), token ids and position ids.
        attention (TreeAttention): The attention of the pass.
        logit_positions (int64): The tokens whose next-token logits are computed, on
            the `output_device`.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): Logits (logit_positions,
            vocabulary), and the last hidden states of all tokens (tokens, size).
        """
        if self.layers is not None:
            return self._run_layers(
                self.layers, ids, positions, attention, logit_positions
            )
        # a mask of the smallest size: `attend` uses its own masks
        mask = torch.zeros(1, 1, 1, 1, dtype=self.dtype, device=self.device)
        with used_by(self.model, attention):
            return self._forward(ids[None], positions[None], mask, logit_positions)

    def _run_layers(
        self,
        layers: Layers,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attention: Attend,
        logit_positions: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run `layers`, and the vocabulary head where it is needed.

        layers, ids, positions, attention: See `Layers`.
        logit_positions, RETURNS: See `packed_forward`.
        """
        hidden = layers(ids, positions, attention).to(self.output_device)
        if not len(logit_positions):  # the pass of a text's tags
            return hidden.new_empty(0, len(self._embeddings)), hidden
        return self.model.get_output_embeddings()(hidden[logit_positions]), hidden

    def fill(self, cache: Any, **inputs: torch.Tensor) -> None:
        """Run a forward pass only to fill a KV cache.

        cache (transformers.Cache): Takes the keys and values.
        inputs (torch.Tensor): Arguments of the model's forward function.
        """
        # project a single token; its logits are not used
        with self._head.at(torch.zeros(1, dtype=torch.long, device=self.output_device)):
            self.model(**inputs, **{cache_argument(self.model): cache}, use_cache=True)

    @property
    def _compiles(self) -> bool:
        """Whether products are compiled for each size."""
        compiles = self.dtype == torch.bfloat16 or self.int8
        return self.device.type == "cpu" and compiles

    def _bucketed(self, numbers: Numbers) -> npt.NDArray[np.int64]:
        """Append zeros up to a size that has compiled products already."""
        return fill_bucket(numbers) if self._compiles else np.asarray(numbers)

    def _upload(
        self,
        inputs: Sequence[npt.NDArray[np.int64]],
        logit_positions: Numbers,
        tag_positions: Sequence[int],
        tag_ids: Sequence[int],
    ) -> tuple[list[torch.Tensor], _Wanted]:
        """Copy the numbers of a pass to the model's device, in one transfer before it.

        inputs (Sequence[int64]): The numbers that the pass begins with.
        logit_positions, tag_positions, tag_ids: See `logits`.
        RETURNS (tuple[list[torch.Tensor], _Wanted]): The inputs, and what is computed.
        """
        at = self._bucketed(logit_positions), self._bucketed(tag_positions)
        sent = upload([*inputs, *at, tag_ids], self.device)
        wanted = [part.to(self.output_device) for part in sent[len(inputs) :]]
        return sent[: len(inputs)], _Wanted(*wanted)

    def _forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor | None,
        mask: torch.Tensor,
        logit_positions: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Call the model's forward function. The caller must hold `lock`.

        ids (int64): Token ids (rows, width).
        positions (int64): Position ids (rows, width); None leaves them to the model.
        mask (torch.Tensor): The model's attention mask.
        logit_positions (int64): The positions whose next-token logits are computed,
            each as row * width + slot, on the `output_device`.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): Logits (positions, vocabulary), and
            the last hidden states of all tokens (rows * width, size).
        """
        inputs = {"input_ids": ids}
        if positions is not None:
            inputs["position_ids"] = positions
        with self._head.at(logit_positions):
            output = self.model(**inputs, attention_mask=mask, use_cache=False)
            logits: torch.Tensor = output.logits[0]
            return logits, self._head.hidden


def _unpickled(state: bytes) -> LanguageModel:
    """Make a quantized model from its pickled state."""
    lm = LanguageModel.__new__(LanguageModel)
    lm.__setstate__(pickle.loads(state))
    return lm
