"""Uses of other libraries that their documentation does not promise.

Each function names the version that it was last checked with. `tests/test_compat.py`
fails when an upgrade changes one of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.context import get_spawning_popen
from typing import Any

import torch
import transformers
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import dynamic_module_utils

# Python


def renew_lock(lock: Any) -> None:
    """Make a lock free in a forked process, whoever held it in the parent.

    Seen on Python 3.11: `threading` and `logging` renew their own locks this way.

    lock (threading.RLock): The lock.
    """
    lock._at_fork_reinit()


def is_starting_process() -> bool:
    """Whether this thread is pickling the arguments of a new process.

    Seen on Python 3.11: `multiprocessing` itself asks so where a lock is pickled.
    """
    return get_spawning_popen() is not None


# spaCy


def is_under_spacy_train() -> bool:
    """Whether `spacy train`, or the function behind it, runs in this thread.

    Seen on spaCy 3.8: a component that is initialized is not told what for.
    """
    train = getattr(sys.modules.get("spacy.cli.train"), "train", None)
    code, frame = getattr(train, "__code__", None), inspect.currentframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


# transformers


def attention_name(config: Any) -> str:
    """The name of the attention implementation that a model uses.

    Seen on transformers 4.53.2 and 5.24.0.

    config (transformers.PretrainedConfig): The model's config.
    """
    return str(config._attn_implementation)


def set_attention(config: Any, name: str) -> None:
    """Choose the attention implementation of a model.

    Seen on transformers 4.53.2 and 5.24.0. The public
    `PreTrainedModel.set_attn_implementation` came after 4.53, and checks the whole
    model at each call.

    config (transformers.PretrainedConfig): The model's config.
    name (str): The implementation's name.
    """
    config._attn_implementation = name


@contextmanager
def swapped_attention(config: Any, name: str) -> Iterator[None]:
    """Let a model use another attention implementation for a while.

    Seen on transformers 4.53.2 and 5.24.0.
    An implementation that is set once and calls the model's own one outside of our
    passes would have to find that one: "eager" is a function of each model's module
    and is not registered anywhere. Models also compare the name with "eager" and
    "sdpa" to build masks, and GPT-2 copies it when it is made.

    config (transformers.PretrainedConfig): The model's config.
    name (str): The name of a registered implementation.
    """
    before = attention_name(config)
    set_attention(config, name)
    try:
        yield
    finally:
        set_attention(config, before)


def hook_vocabulary_head(
    model: Any, hook: Callable[[Any, tuple[Any, ...]], tuple[Any, ...] | None]
) -> Any:
    """Call a hook with the hidden states before they are projected to the vocabulary.

    Seen on transformers 4.53.2 and 5.24.0: models call their head as a module, with the
    hidden states (rows, width, size) as its only argument. `logits_to_keep` is no
    substitute: it takes the same positions in every row and returns no hidden states.

    model (transformers.PreTrainedModel): The model.
    hook (Callable): A forward pre-hook of torch.
    RETURNS (torch.utils.hooks.RemovableHandle): Removes the hook.
    """
    return model.get_output_embeddings().register_forward_pre_hook(hook)


def dtype_option(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The argument of `from_pretrained` for the weights' dtype.

    Seen on transformers 4.53.2, which calls it `torch_dtype`, and 5.24.0, which warns
    of that name.
    """
    old = transformers.__version__.startswith("4.")
    return {"torch_dtype" if old else "dtype": dtype}


def mend_bitsandbytes_saving(model: Any) -> None:
    """Let a model be saved that was loaded with stored weights of bitsandbytes.

    Seen on transformers 5.24.0: it notes how the weights were read, and fails when it
    saves them, as that cannot be reversed. It need not be: a state dict has the weights
    as they are stored. 4.53.2 notes nothing.

    model (transformers.PreTrainedModel): The model.
    """
    noted = getattr(model, "_weight_conversions", None)
    if noted is not None:
        model._weight_conversions = [
            conversion
            for conversion in noted
            if not any(
                type(operation).__module__.endswith("integrations.bitsandbytes")
                for operation in getattr(conversion, "operations", ())
            )
        ]


@contextmanager
def no_questions() -> Iterator[None]:
    """Keep transformers from asking on the terminal whether a model's code may run.

    Seen on transformers 4.53.2 and 5.24.0: parts of a model are loaded without the
    argument `trust_remote_code`, and then it asks. With this, that is an error.
    """
    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


# spaCy


def doc_context(doc: Any) -> Any:
    """The context of a Doc inside of `nlp.pipe(..., as_tuples=True)`.

    Seen on spaCy 3.8.18. Error handlers are given Docs without their contexts.

    doc (spacy.tokens.Doc): The Doc.
    """
    return doc._context


def is_made_from_config() -> bool:
    """Whether a pipeline is being made from its config, perhaps from a saved one.

    Seen on spaCy 3.8.18: a factory is called alike by `Language.from_config`, after
    which weights may be loaded from a folder or from bytes, and by `add_pipe`.
    """
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if (module, frame.f_code.co_name) == ("spacy.language", "from_config"):
            return True
        frame = frame.f_back
    return False


# tokenizers


def is_panic(error: BaseException) -> bool:
    """Whether an error is that of Rust code which gave up.

    Seen on tokenizers 0.21.4 and 0.23.3: it is raised where the pattern of a
    tokenizer takes too many steps, is no `Exception`, and cannot be imported.
    """
    return type(error).__name__ == "PanicException"


# torch


def is_bad_fork() -> bool:
    """Whether this process was forked from one that had started to use CUDA.

    Seen on torch 2.13.0.
    """
    return bool(torch.cuda._is_in_bad_fork())


def cpu_is_fast_in_bf16() -> bool:
    """Whether the processor has instructions for bfloat16 products.

    Seen on torch 2.13.0. `torch.cpu.get_capabilities` is public, but newer than the
    oldest torch that is supported. The answer is no where torch has no such check.
    """
    return cpu_has_amx() or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def cpu_has_amx() -> bool:
    """Whether the processor has tiles for matrix products (AMX).

    See `cpu_is_fast_in_bf16`.
    """
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def onednn_has_bf16() -> bool:
    """Whether torch has oneDNN, and the processor can run its bfloat16 kernels.

    Seen on torch 2.13.0.
    """
    available = bool(torch.backends.mkldnn.is_available())
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def onednn_pack(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """Copy a linear layer's weight into the layout of oneDNN's kernels.

    Seen on torch 2.13.0.

    weight (torch.Tensor): (outputs, inputs), bfloat16 on the CPU.
    rows (int): Rows of the inputs that the layout is best for.
    RETURNS (torch.Tensor): For `onednn_linear` only.
    """
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def onednn_linear(
    x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Run a linear layer on a weight packed by `onednn_pack`.

    Seen on torch 2.13.0.

    x (torch.Tensor): (..., inputs), bfloat16 on the CPU.
    packed (torch.Tensor): The packed weight.
    bias (torch.Tensor | None): (outputs,).
    RETURNS (torch.Tensor): (..., outputs).
    """
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        x, packed, bias, "none", [], ""
    )
    return product


def onednn_has_int8() -> bool:
    """Whether torch has oneDNN, and the processor has 8-bit products (VNNI or AMX).

    Seen on torch 2.13.0. Without such instructions sums of two products overflow.
    """
    has = cpu_has_amx() or getattr(torch.cpu, "_is_vnni_supported", bool)()
    available = bool(torch.backends.mkldnn.is_available())
    return has and available and hasattr(torch.ops.onednn, "qlinear_pointwise")


def onednn_pack_int8(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """Copy an 8-bit weight into the layout of oneDNN's kernels.

    Seen on torch 2.13.0.

    weight (int8): (outputs, inputs), on the CPU.
    rows (int): Rows of the inputs that the layout is best for.
    RETURNS (torch.Tensor): For `onednn_linear_int8` only.
    """
    shape = [rows, weight.shape[1]]
    packed: torch.Tensor = torch.ops.onednn.qlinear_prepack(weight, shape)
    return packed


def onednn_linear_int8(
    codes: torch.Tensor,
    packed: torch.Tensor,
    scales: torch.Tensor,
    *,
    zeros: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply 8-bit rows with a weight packed by `onednn_pack_int8`.

    Seen on torch 2.13.0.

    codes (uint8): (rows, inputs); 128 stands for zero.
    packed (torch.Tensor): The packed weight.
    scales (float32): (outputs,), the scale of each row of the weight.
    zeros (int32): (outputs,), the code that stands for zero in each row: all 0.
    dtype (torch.dtype): Of the outputs: float32 or bfloat16.
    RETURNS (torch.Tensor): (rows, outputs).
    """
    product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, 128, packed, scales, zeros, None, 1.0, 0, dtype, "none", [], ""
    )
    return product


def tensor_version(tensor: torch.Tensor) -> int:
    """A number that grows each time a tensor is changed in place.

    Seen on torch 2.13.0. Tensors made in inference mode have no such number; it is 0.
    """
    return 0 if tensor.is_inference() else tensor._version


def parameter_of_class(kind: type, data: torch.Tensor, *, requires_grad: bool) -> Any:
    """Make a parameter of a class of its own, without its attributes.

    Seen on torch 2.13.0, whose `Parameter` is made so. The constructor of the class may
    take other arguments, and quantize the data again.

    kind (type): A subclass of torch.nn.Parameter.
    data (torch.Tensor): The data.
    requires_grad (bool): Whether it gets a gradient.
    """
    return torch.Tensor._make_subclass(kind, data, requires_grad)


def holds_tensors(tensor: torch.Tensor) -> bool:
    """Whether a tensor is of a class that wraps tensors, and knows how it is copied.

    Seen on torch 2.13.0.

    tensor (torch.Tensor): Any tensor.
    """
    return is_traceable_wrapper_subclass(tensor)


def scale_in_place(tensors: list[torch.Tensor], scale: float) -> None:
    """Multiply many tensors by a number, with few kernels on a GPU.

    Seen on torch 2.13.0.
    """
    torch._foreach_mul_(tensors, scale)


def varlen_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_starts: torch.Tensor,
    key_starts: torch.Tensor,
    longest_query: int,
    longest_key: int,
    *,
    scale: float,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the attention of sequences of different lengths, on a GPU.

    Read in torch 2.11.0 and 2.13.0. Their documentation gives the second output as
    (queries, heads), their kernels (heads, queries). 2.11 lets query heads share keys
    without being told; 2.13 must be told.

    query (torch.Tensor): (queries, heads, head size), bfloat16 or float16.
    key, value (torch.Tensor): (keys, shared heads, head size).
    query_starts, key_starts (torch.Tensor): int32, (sequences + 1,).
    longest_query, longest_key (int): Most queries and keys of a sequence.
    scale (float): Factor of the scores.
    causal (bool): Whether no query attends to a later key.
    RETURNS (tuple[torch.Tensor, torch.Tensor]): The output, and the logarithms of the
        sums of the exponentials of the scores: float32, (queries, heads).
    """
    from torch.nn.attention.varlen import (  # torch 2.10 or newer
        AuxRequest,
        varlen_attn,
    )

    told: dict[str, Any] = {}
    if "enable_gqa" in inspect.signature(varlen_attn).parameters:
        told["enable_gqa"] = True
    output, sums = varlen_attn(
        query,
        key,
        value,
        query_starts,
        key_starts,
        longest_query,
        longest_key,
        return_aux=AuxRequest(lse=True),
        scale=scale,
        window_size=(-1, 0) if causal else (-1, -1),
        **told,
    )
    return output, sums.T if sums.shape[0] == query.shape[1] else sums


def muon_in_float32() -> AbstractContextManager[Any]:
    """Let `torch.optim.Muon` orthogonalize matrices in float32.

    Seen on torch 2.13.0: it calls `Tensor.bfloat16` on each gradient, has no setting
    for the dtype, and is slow on processors without bfloat16 instructions.
    """
    return _BFloat16IsFloat32()


class _BFloat16IsFloat32(TorchFunctionMode):
    """Replaces `Tensor.bfloat16` by a cast to float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)  # Muon changes it in place
        return func(*args, **(kwargs or {}))
