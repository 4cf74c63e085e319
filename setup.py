"""Puts the configs into the package, where `padellm init-config` finds them."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """In the repository they are in one place, beside the package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the package runs from the clone
            return
        target = Path(self.build_lib, "spacy_padellm", "configs")
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path("configs").glob("*.cfg")):
            self.copy_file(str(path), str(target / path.name))


setup(cmdclass={"build_py": BuildWithConfigs})
