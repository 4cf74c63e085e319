"""The KV cache of a model whose layers are on several devices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from pretended_gpu import pretended_gpus

from spacy_padellm.tree.kv_cache import TreeKVCache

LAYERS = 3

steps = st.lists(
    st.tuples(
        st.integers(1, 40),  # rows
        st.integers(1, 200),  # slots
        st.sampled_from(["write", "clear", "move"]),
        st.integers(0, 1 << 30),  # seed
    ),
    min_size=1,
    max_size=6,
)
places = st.lists(st.sampled_from(["cpu", "cuda:0", "cuda:1"]), min_size=3, max_size=3)


# (layer, 0 for keys or 1 for values, row, slot) -> what was written
Content = dict[tuple[int, int, int, int], torch.Tensor]


def reserve(
    cache: TreeKVCache, rows: int, slots: int, content: Content, *, share: float | None
) -> None:
    """Reserve, and keep a share of the rows and slots; None keeps all."""
    old = cache.rows, cache.slots
    most = min(rows, cache.rows), min(slots, cache.slots)
    kept = most if share is None else (int(share * most[0]), int(share * most[1]))
    cache.reserve(rows, slots, kept=None if share is None else kept)
    if old != (cache.rows, cache.slots):
        for key in [k for k in content if k[2] >= kept[0] or k[3] >= kept[1]]:
            del content[key]


def run(
    cache: TreeKVCache,
    devices: Sequence[str],
    step: tuple[int, int, str, int],
    content: Content,
) -> None:
    """One step; checks that the cache holds all that was written."""
    rows, slots, kind, seed = step
    rng = np.random.default_rng(seed)
    reserve(cache, rows, slots, content, share=rng.random() if seed % 2 else None)
    if kind == "clear":
        row = int(rng.integers(rows))
        cache.clear(row, slots)
        for key in [k for k in content if k[2] == row and k[3] < slots]:
            content[key] = torch.zeros_like(content[key])
    elif kind == "move" and rows > 1:
        source, target = rng.choice(rows, 2, replace=False).tolist()
        cache.move([source], [target], slots)
        for key in [k for k in content if k[2] == target and k[3] < slots]:
            del content[key]
        for key in [k for k in content if k[2] == source and k[3] < slots]:
            content[key[0], key[1], target, key[3]] = content[key]
    count = int(rng.integers(1, min(rows * slots, 20) + 1))
    chosen = rng.choice(rows * slots, count, replace=False)
    mapping = torch.from_numpy(cache.slot_mapping(chosen // slots, chosen % slots))
    for layer, device in enumerate(devices):
        new = torch.from_numpy(rng.normal(size=(2, count, 2, 4)).astype(np.float32))
        key, value = (part.to(device) for part in new)
        written = cache.write(layer, key, value, mapping.to(device))
        assert {str(part.device) for part in written} == {device}
        for which, part in enumerate(new):
            for place, numbers in zip(chosen.tolist(), part, strict=True):
                content[layer, which, place // slots, place % slots] = numbers
        held = [part.cpu() for part in written]
        assert all(bool(part.isfinite().all()) for part in held)
        assert all(
            torch.equal(held[which][row, slot], numbers)
            for (at, which, row, slot), numbers in content.items()
            if at == layer
        )


@settings(max_examples=60, deadline=None)
@given(steps=steps, devices=places)
def test_kv_cache_holds_what_was_written(
    steps: list[tuple[int, int, str, int]], devices: list[str]
) -> None:
    content: Content = {}
    cache = TreeKVCache()
    with pytest.MonkeyPatch.context() as patch, pretended_gpus(patch):
        for step in steps:
            run(cache, devices, step, content)


def test_kv_cache_memory_is_used_again_until_it_is_much_too_large() -> None:
    cache, content = TreeKVCache(), Content()
    memories = []
    for rows, slots in ((2, 400), (40, 400), (300, 40), (30, 500), (2, 40)):
        run(cache, ["cpu"], (rows, slots, "write", 0), content)
        memories.append([store.memory for store in cache._stores])
        taken = sum(memory.numel() for memory in memories[-1])
        assert taken <= 8 * rows * slots * 2 * 4 * 2
    assert [a is b for (a, *_), (b, *_) in pairwise(memories)] == [
        False,  # too small
        True,
        True,
        False,  # too large
    ]


def test_kv_cache_layers_of_a_device_are_grown_together() -> None:
    cache = TreeKVCache()
    devices = ["cuda:0", "cuda:0", "cuda:1"]
    with pytest.MonkeyPatch.context() as patch, pretended_gpus(patch):
        run(cache, devices, (2, 20, "write", 0), {})
        run(cache, devices, (8, 90, "write", 1), {})
        stores = {str(store.tensor.device): store for store in cache._stores}
    assert len(cache._stores) == 2
    assert len(stores["cuda:0"].indexes) == 4  # keys and values of two layers
