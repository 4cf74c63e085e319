"""GPUs that are only pretended, for tests on machines without one.

A `GPUTensor` holds its numbers on the CPU, but says that it is on a GPU. As on a real
GPU, operations that mix it with tensors of another device are refused, and its numbers
can only be read by a transfer. So whole decoders and training steps run with real
numbers on the paths that a GPU takes. What is not pretended: kernels of CUDA, and the
order in which a GPU and Python work.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from spacy_padellm.decoding import replicas

COUNT = 2
MEMORY = 80 << 30

aten = torch.ops.aten
# operations for which a GPU is waited for, and Python with it
_WAITS = {
    aten._local_scalar_dense,
    aten.item,
    aten.is_nonzero,
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten.repeat_interleave,
    aten.bincount,
}
_COPIES = {aten.copy_, aten._to_copy}
_current = threading.local()


class GPUTensor(torch.Tensor):
    """A tensor on a pretended GPU."""

    # torch itself takes it for a tensor on the CPU: it knows no other device here
    place: torch.device
    held: torch.Tensor

    @staticmethod
    def __new__(
        cls, held: torch.Tensor, place: torch.device, gpus: PretendedGPUs
    ) -> GPUTensor:
        # a view of a normal tensor must be one, in inference mode too
        with torch.inference_mode(False):
            return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=held.device,
                requires_grad=False,
            )

    def __init__(
        self, held: torch.Tensor, place: torch.device, gpus: PretendedGPUs
    ) -> None:
        self.held, self.place, self.gpus = held, place, gpus

    __torch_function__ = torch._C._disabled_torch_function_impl

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def __repr__(self) -> str:  # type: ignore[override]
        return f"GPUTensor({self.held!r}, {self.place})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        gpu_tensors = [leaf for leaf in leaves if isinstance(leaf, GPUTensor)]
        name, place, gpus = (
            func.overloadpacket,
            gpu_tensors[0].place,
            gpu_tensors[0].gpus,
        )
        if name in _COPIES:
            gpus.note_copy(args)
        else:
            _refuse_mixing(func, leaves)
        indices = args[1] if name in (aten.index, aten.index_put_) else ()
        if name in _WAITS or any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in indices
        ):
            gpus.waits.append(_caller(str(func)))
        tensors = {id(tensor.held): tensor for tensor in gpu_tensors}
        args, kwargs = tree_map(_hold, (args, kwargs))
        output = func(*args, **kwargs)

        def wrap(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            # an operation in place returns its own tensor
            same = tensors.get(id(value))
            return cls(value, place, gpus) if same is None else same

        # a copy onto a tensor of the CPU stays there
        into = name is aten.copy_ and output is args[0] and id(output) not in tensors
        return output if into else tree_map(wrap, output)


def _caller(name: str) -> str:
    """An operation with the line that asked for it."""
    frame: Any = inspect.currentframe()
    while frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{name} in {frame.f_code.co_filename}:{frame.f_lineno}"


def _hold(value: Any) -> Any:
    return value.held if isinstance(value, GPUTensor) else value


def _refuse_mixing(func: Any, leaves: list[Any]) -> None:
    """Refuse what a GPU refuses, and what makes it wait for a transfer.

    Tensors of a single number may come from the CPU.
    """
    places = {
        leaf.device
        for leaf in leaves
        if isinstance(leaf, torch.Tensor)
        and (leaf.dim() or isinstance(leaf, GPUTensor))
    }
    if len(places) > 1:
        found = " and ".join(sorted(map(str, places)))
        message = f"{func}: expected all tensors on one device, found {found}"
        raise RuntimeError(message)


class PretendedGPUs(TorchFunctionMode):
    """Makes tensors on pretended GPUs, and reads them.

    waits (list[str]): The operations for which Python waited for a GPU.
    pageable (list[str]): Transfers to a GPU from memory that is not pinned.
    moves (list[str]): Transfers from one GPU to another.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.pageable: list[str] = []
        self.moves: list[str] = []

    def forget(self) -> None:
        """Forget what was noted so far."""
        self.waits.clear()
        self.pageable.clear()
        self.moves.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        by_number = bool(args) and type(args[0]) is int
        if by_number and func in (torch.device, torch._C._nn._parse_to):
            args = (f"cuda:{args[0]}", *args[1:])
        special = _SPECIAL.get(func)
        if special is not None:
            return special(self, *args, **kwargs)
        place = _gpu(kwargs.get("device"))
        if place is None or func is torch._C._nn._parse_to:
            return func(*args, **kwargs)
        if func in (torch.tensor, torch.as_tensor):
            if isinstance(args[0], torch.Tensor):
                return self.to(args[0], **kwargs)
            self.pageable.append(_caller("torch.tensor"))
        kwargs["device"] = torch.device("cpu")
        output = func(*args, **kwargs)
        if isinstance(output, GPUTensor):
            return output
        return GPUTensor(output, place, self)

    # What reads and moves tensors

    def to(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """`Tensor.to`, with any of its arguments."""
        device, dtype, flags = kwargs.get("device"), kwargs.get("dtype"), []
        for argument in args:
            if isinstance(argument, torch.Tensor):
                device, dtype = argument.device, argument.dtype
            elif isinstance(argument, torch.dtype):
                dtype = argument
            elif isinstance(argument, bool):
                flags.append(argument)
            else:
                device = device if argument is None else argument
        copy = kwargs.get("copy", flags[1] if len(flags) > 1 else False)
        before, dtype = tensor.device, dtype or tensor.dtype
        if "meta" in (before.type, str(device)):
            return tensor.to(*args, **kwargs)
        after = before if device is None else _gpu(device) or torch.device(device)
        if before == after:
            return tensor.to(dtype, copy=copy)
        if after.type == "cpu":
            return self.cpu(tensor).to(dtype)
        if before.type == "cuda":
            self.moves.append(_caller("to"))
        if before.type == "cpu" and tensor.numel() and not hasattr(tensor, "pinned"):
            self.pageable.append(_caller("to"))
        return GPUTensor(_numbers(tensor).to(dtype, copy=True), after, self)

    def cpu(self, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, GPUTensor):
            return tensor
        self.waits.append(_caller("cpu"))
        return _numbers(tensor).clone()

    def cuda(self, tensor: torch.Tensor, device: Any = None) -> torch.Tensor:
        return self.to(tensor, "cuda" if device is None else device)

    def tolist(self, tensor: torch.Tensor) -> Any:
        return self.cpu(tensor).tolist()

    def numpy(self, tensor: torch.Tensor, **kwargs: Any) -> Any:
        if isinstance(tensor, GPUTensor):
            raise TypeError("a tensor on a GPU cannot be converted to numpy")
        return tensor.numpy(**kwargs)

    def data_ptr(self, tensor: torch.Tensor) -> int:
        return int(_hold(tensor).data_ptr())

    def pin_memory(self, tensor: torch.Tensor) -> torch.Tensor:
        if isinstance(tensor, GPUTensor):
            raise RuntimeError("only dense CPU tensors can be pinned")
        copy = tensor.clone()
        copy.pinned = True  # type: ignore[attr-defined]
        return copy

    def set_data(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """`tensor.data = value`, as when a vocabulary grows."""
        torch.Tensor.data.__set__(tensor, value)  # type: ignore[attr-defined]
        if isinstance(tensor, GPUTensor):
            tensor.held = _hold(value)

    def note_copy(self, args: Any) -> None:
        """Note a copy between devices that an operation makes."""
        places = [a.device.type for a in args[:2] if isinstance(a, torch.Tensor)]
        if places == ["cpu", "cuda"]:
            self.waits.append(_caller("copy_"))
        elif places == ["cuda", "cpu"] and args[1].dim():
            self.pageable.append(_caller("copy_"))


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers of a tensor, for a transfer, which has no gradient here."""
    if tensor.requires_grad and torch.is_grad_enabled():
        raise NotImplementedError("a transfer with a gradient is not pretended")
    return _hold(tensor).detach()  # type: ignore[no-any-return]


def _gpu(device: Any) -> torch.device | None:
    """The GPU that is meant; None for others."""
    if device is None:
        return None
    device = torch.device("cuda", device) if isinstance(device, int) else device
    device = torch.device(device)
    if device.type != "cuda":
        return None
    return device if device.index is not None else torch.device("cuda", _index())


def _index() -> int:
    return getattr(_current, "index", 0)


@contextmanager
def _current_device(device: Any) -> Iterator[None]:
    before, place = _index(), _gpu(device)
    assert place is not None
    _current.index = place.index
    try:
        yield
    finally:
        _current.index = before


_SPECIAL: dict[Any, Callable[..., Any]] = {
    getattr(torch.Tensor, name): getattr(PretendedGPUs, name)
    for name in ("to", "cpu", "cuda", "tolist", "numpy", "data_ptr", "pin_memory")
} | {torch.Tensor.data.__set__: PretendedGPUs.set_data}  # type: ignore[attr-defined]


@contextmanager
def pretended_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGPUs]:
    """Pretend that there are two GPUs."""
    with suppress(ImportError):
        importlib.import_module("bitsandbytes")  # looks for a GPU, and for torch's CUDA
    gpus = PretendedGPUs()
    properties = SimpleNamespace(major=9, minor=0, name="pretended")
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: COUNT,
        "current_device": _index,
        "device": _current_device,
        "mem_get_info": lambda device=None: (MEMORY, MEMORY),
        "get_device_properties": lambda device=None: properties,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)

    class Pool(ThreadPoolExecutor):
        """Threads in which the GPUs are pretended, too."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, initializer=gpus.__enter__, **kwargs)

    monkeypatch.setattr(replicas, "ThreadPoolExecutor", Pool)
    # else `Module.to` would keep the class of the parameters
    future = torch.__future__
    monkeypatch.setattr(future, "get_swap_module_params_on_conversion", lambda: True)
    with gpus:
        yield gpus
