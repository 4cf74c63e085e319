"""`spacy padellm annotate`: a worker's memory does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from helpers import trained_folder

# matrix products of ever new shapes, as in batches of texts
PROGRAM = """
import sys
import torch
from spacy_padellm.annotate.pipeline import load_checked
from spacy_padellm.lm.devices.memory import release_free_memory

def products(shapes):
    weights = torch.ones(256, 768, dtype=torch.bfloat16)
    for rows in shapes:
        torch.ones(rows, 256, dtype=torch.bfloat16) @ weights
    release_free_memory()
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

load_checked(sys.argv[1])
before = products(range(1, 100))
print(products(range(100, 500)) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_annotate_memory_does_not_grow_with_shapes() -> None:
    command = [sys.executable, "-c", PROGRAM, str(trained_folder())]
    grown = subprocess.run(command, capture_output=True, text=True, check=True)
    # one cached kernel per shape would take 200 MiB
    assert float(grown.stdout) < 30
