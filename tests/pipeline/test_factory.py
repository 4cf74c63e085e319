"""The factory of the component."""

from __future__ import annotations

import subprocess
import sys


def test_factory_is_imported_without_transformers() -> None:
    """As spaCy imports the factories of all packages for any pipeline."""
    code = (
        "import sys, spacy_padellm.pipeline.factory; "
        "print('transformers' in sys.modules or 'spacy_padellm.lm' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"
