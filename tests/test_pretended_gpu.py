"""What the pretended GPUs refuse, so that the tests that use them can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pretended_gpu import PretendedGPUs
from torch import nn

GPU = torch.device("cuda:0")


@pytest.fixture
def numbers(gpus: PretendedGPUs) -> torch.Tensor:
    return torch.arange(6.0).view(2, 3).to(GPU)


MIXED: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "sum": lambda gpu, cpu: gpu + cpu,
    "product": lambda gpu, cpu: gpu @ cpu.T,
    "cat": lambda gpu, cpu: torch.cat((gpu, cpu)),
    "index": lambda gpu, cpu: gpu[torch.tensor([0])],
    "index of a CPU's": lambda gpu, cpu: cpu[gpu.long()],
    "list as index": lambda gpu, cpu: gpu[[0, 1]],
    "in place": lambda gpu, cpu: gpu.add_(cpu),
    "into a CPU's": lambda gpu, cpu: cpu.add_(gpu),
    "index_copy": lambda gpu, cpu: gpu.index_copy_(0, torch.tensor([0]), gpu[:1]),
    "mask": lambda gpu, cpu: gpu.masked_fill(cpu > 1, 0.0),
    "embedding": lambda gpu, cpu: nn.functional.embedding(torch.tensor([0]), gpu),
    "attention": lambda gpu, cpu: nn.functional.scaled_dot_product_attention(
        *[gpu[None, None]] * 3, attn_mask=torch.zeros(2, 2)
    ),
    "other GPU": lambda gpu, cpu: gpu + cpu.to("cuda:1"),
    "numpy": lambda gpu, cpu: gpu.numpy(),
}


@pytest.mark.parametrize("kind", MIXED)
def test_pretended_gpu_refuses_to_mix_devices(kind: str, numbers: torch.Tensor) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"one device|on a GPU"):
        MIXED[kind](numbers, torch.ones(2, 3))


def test_pretended_gpu_refuses_to_mix_devices_in_inference_mode(
    numbers: torch.Tensor,
) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match="one device"):
        numbers + torch.ones(2, 3)


def test_pretended_gpu_takes_single_numbers_of_the_cpu(numbers: torch.Tensor) -> None:
    found = (numbers * torch.tensor(2.0)).cpu()
    assert found.tolist() == [[0, 2, 4], [6, 8, 10]]


def test_pretended_gpu_computes_real_numbers(numbers: torch.Tensor) -> None:
    zeros = torch.zeros(2, 3, device=GPU)
    zeros[:, 1:] = numbers[:, 1:]
    zeros[torch.tensor([1], device=GPU)] *= 10
    assert zeros.device == GPU
    assert zeros.tolist() == [[0, 1, 2], [0, 40, 50]]


def test_pretended_gpu_has_gradients(gpus: PretendedGPUs) -> None:
    layer = nn.Linear(3, 1, bias=False).to("cuda")
    layer(torch.ones(2, 3, device="cuda")).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.device == GPU
    assert layer.weight.grad.tolist() == [[2, 2, 2]]


def test_pretended_gpu_keeps_tied_weights_tied(gpus: PretendedGPUs) -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    model = nn.Sequential(first, second).to("cuda")
    assert model[0].weight is model[1].weight


WAITS: dict[str, Callable[[torch.Tensor], object]] = {
    "float": lambda gpu: float(gpu.sum()),
    "list": lambda gpu: gpu.tolist(),
    "cpu": lambda gpu: gpu.cpu(),
    "if": lambda gpu: bool((gpu > 1).all()),
    "copy": lambda gpu: torch.zeros(2, 3).copy_(gpu),
    "mask": lambda gpu: gpu[gpu > 1],
    "nonzero": lambda gpu: gpu.nonzero(),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("kind", WAITS)
def test_pretended_gpu_notes_waits(
    kind: str, inference: bool, gpus: PretendedGPUs
) -> None:
    numbers = torch.ones(2, 3, device="cuda")
    with torch.inference_mode(inference):
        numbers.sum()
        assert not gpus.waits
        WAITS[kind](numbers)
    assert gpus.waits


def test_pretended_gpu_notes_transfers_from_pageable_memory(
    gpus: PretendedGPUs,
) -> None:
    numbers = torch.ones(3)
    numbers.pin_memory().to("cuda", non_blocking=True)
    assert not gpus.pageable
    numbers.to("cuda")
    torch.tensor([1, 2], device="cuda")
    torch.zeros(3, device="cuda").copy_(numbers)
    assert len(gpus.pageable) == 3
