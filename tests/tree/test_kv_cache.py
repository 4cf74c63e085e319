"""The KV cache of a model whose layers are on several devices."""

from __future__ import annotations

from collections.abc import Sequence

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


def run(
    cache: TreeKVCache, devices: Sequence[str], step: tuple[int, int, str, int]
) -> list[torch.Tensor]:
    """One step; gives all keys and values, on the CPU."""
    rows, slots, kind, seed = step
    rng = np.random.default_rng(seed)
    cache.reserve(rows, slots)
    if kind == "clear":
        cache.clear(int(rng.integers(rows)), slots)
    elif kind == "move" and rows > 1:
        source, target = rng.choice(rows, 2, replace=False).tolist()
        cache.move([source], [target], slots)
    count = int(rng.integers(1, min(rows * slots, 20) + 1))
    chosen = rng.choice(rows * slots, count, replace=False)
    mapping = torch.from_numpy(cache.slot_mapping(chosen // slots, chosen % slots))
    held = []
    for layer, device in enumerate(devices):
        new = torch.from_numpy(rng.normal(size=(2, count, 2, 4)).astype(np.float32))
        key, value = (part.to(device) for part in new)
        written = cache.write(layer, key, value, mapping.to(device))
        assert {str(part.device) for part in written} == {device}
        held += [part.cpu().clone() for part in written]
    return held


@settings(max_examples=60, deadline=None)
@given(steps=steps, devices=places)
def test_kv_cache_on_several_devices_holds_the_same(
    steps: list[tuple[int, int, str, int]], devices: list[str]
) -> None:
    caches = TreeKVCache(), TreeKVCache()
    with pytest.MonkeyPatch.context() as patch, pretended_gpus(patch):
        for step in steps:
            on_one = run(caches[0], ["cpu"] * LAYERS, step)
            on_several = run(caches[1], devices, step)
            assert all(map(torch.equal, on_one, on_several))
        rows, slots = caches[0].rows, caches[0].slots
        assert (caches[1].rows, caches[1].slots) == (rows, slots)


def test_kv_cache_layers_of_a_device_are_grown_together() -> None:
    cache = TreeKVCache()
    devices = ["cuda:0", "cuda:0", "cuda:1"]
    with pytest.MonkeyPatch.context() as patch, pretended_gpus(patch):
        run(cache, devices, (2, 20, "write", 0))
        run(cache, devices, (8, 90, "write", 1))
        stores = {str(store.tensor.device): store for store in cache._stores}
    assert len(cache._stores) == 2
    assert len(stores["cuda:0"].indexes) == 4  # keys and values of two layers
