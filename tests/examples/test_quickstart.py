"""The notebook `examples/quickstart.ipynb` runs, and finds what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

PATH = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def outputs(notebook: Any) -> str:
    """The text of all outputs."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.append(output.get("text", ""))
            found.append(output.get("data", {}).get("text/plain", ""))
    return "\n".join(found)


@pytest.mark.slow
def test_quickstart_runs_and_finds_entities(tmp_path: Path) -> None:
    notebook = nbformat.read(PATH, as_version=4)
    nbclient.NotebookClient(
        notebook,
        timeout=500,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    found = outputs(notebook)
    assert "('Emmanuel Macron', 'PER'" in found
    assert "(Paris, France)" in found
    assert "('ibuprofen', 'DRUG')" in found


def test_quickstart_is_saved_without_outputs() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    assert outputs(notebook) == ""
