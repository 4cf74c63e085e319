"""What is built from the repository holds what its users need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SETUP = REPOSITORY / "setup.py"


@pytest.mark.slow
@pytest.mark.skipif(not SETUP.is_file(), reason="this is no clone")
def test_packaging_puts_the_configs_into_the_package(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, str(SETUP), "-q"),
            *("egg_info", "--egg-base", str(tmp_path)),
            *("build", "--build-base", str(tmp_path / "base")),
            *("--build-lib", str(tmp_path / "lib")),
        ],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    built = tmp_path / "lib" / "spacy_padellm"
    configs = sorted(path.name for path in (REPOSITORY / "configs").glob("*.cfg"))
    assert sorted(path.name for path in (built / "configs").iterdir()) == configs
    assert (built / "py.typed").is_file()
    assert (built / "models" / "en" / "MODEL_CARD.md").is_file()
    # the package of this test, not of the repository
    code = (
        "from spacy_padellm.cli.init_config import read_config as r; print(r('train'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=built.parent,
        env={"PYTHONPATH": str(built.parent), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert (
        printed.strip() == (REPOSITORY / "configs/train.cfg").read_text("utf8").strip()
    )
