from __future__ import annotations

import numpy as np
import torch
from conftest import on_cuda
from pretended_gpu import PretendedGPUs

from spacy_padellm.lm.attention.padded import PaddedAttention
from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.lm.devices.upload import send, upload
from spacy_padellm.tree.masks import aligned


def test_upload_keeps_shapes_and_numbers() -> None:
    parts = [[3, 4], np.arange(6, dtype=np.int32).reshape(2, 3), [], range(2)]
    tensors = upload(parts, torch.device("cpu"))
    assert [tensor.tolist() for tensor in tensors] == [
        [3, 4],
        [[0, 1, 2], [3, 4, 5]],
        [],
        [0, 1],
    ]
    assert {tensor.dtype for tensor in tensors} == {torch.int64}


def test_upload_mask_of_training_is_repeated_once_for_all_layers() -> None:
    rows, width = 2, 13
    attention = PaddedAttention(torch.zeros(rows, 1, width, width, device="meta"))
    query = torch.zeros(rows * width, 4, 8, device="meta")
    shared = torch.zeros(rows * width, 2, 8, device="meta")
    qkv = QKV(query, shared, shared)
    output = attention(0, qkv, 1.0)
    assert output.shape == query.shape
    (mask,) = attention.repeated.values()
    attention(1, qkv, 1.0)
    assert list(map(id, attention.repeated.values())) == [id(mask)]
    assert mask.shape == (rows, 1, 2 * width, width)
    assert mask.stride(2) == 16


def test_upload_masks_of_other_devices_have_aligned_rows() -> None:
    mask = torch.zeros(2, 1, 3, 13, device="meta")
    copied = aligned(mask)
    assert copied.shape == mask.shape
    assert copied.stride() == (48, 48, 16, 1)


def test_upload_takes_tensors_that_are_on_a_gpu_already(gpus: PretendedGPUs) -> None:
    there = torch.tensor([1, 2], device="cuda")
    gpus.forget()
    sent = send(there, torch.device("cuda"))
    assert sent.device.type == "cuda"
    assert sent.tolist() == [1, 2]
    assert not gpus.moves
    assert not gpus.pageable


@on_cuda
def test_upload_on_cuda_takes_tensors_that_are_there_already() -> None:
    there = torch.tensor([1, 2], device="cuda")
    assert send(there, torch.device("cuda")).tolist() == [1, 2]
