"""A new Python process, as a user starts one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_python(*arguments: object, cwd: Path | None = None, **environment: str) -> str:
    """Run Python, which must succeed.

    arguments (object): After `python`.
    cwd (Path | None): The working directory; None is that of the tests.
    environment (str): Variables that are set in addition.
    RETURNS (str): What it printed.
    """
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
