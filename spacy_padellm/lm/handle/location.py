"""Where the files of a named model are, and whether they are as they were found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.handle.stamp import Stamp, stamp_of
from spacy_padellm.lm.model_names import find_model


@dataclass(frozen=True, slots=True)
class Location:
    """Where a model's files are: one of the classes below."""

    def is_unchanged(self) -> bool:
        """Whether the files are those that were found."""
        return True

    def check_unchanged(self) -> None:
        """Check that the files are those that were found.

        RAISES (ValueError): If they were changed or deleted.
        """

    def folder(self) -> Path | None:
        """The model's folder on this machine, if it is as it was when it was found."""
        return None


@dataclass(frozen=True, slots=True)
class Elsewhere(Location):
    """A model on the hub, or one that is not here yet; looking again may find it."""


@dataclass(frozen=True, slots=True)
class Bytes(Location):
    """A pipeline's bytes, which were read; the tokenizer alone is kept of them."""


@dataclass(frozen=True, slots=True)
class Package(Location):
    """This package, which holds the bundled models.

    path (Path): The model's folder.
    """

    path: Path

    def folder(self) -> Path:
        """See `Location`."""
        return self.path


@dataclass(frozen=True, slots=True)
class UserFiles(Location):
    """A folder or a GGUF file of the user's, which may change.

    path (Path): The folder or the file, without links.
    stamp (Stamp): The state of the files when they were found.
    """

    path: Path
    stamp: Stamp

    def is_unchanged(self) -> bool:
        """See `Location`."""
        try:
            return stamp_of(self.path, settings=False) == self.stamp
        except OSError:
            return False

    def check_unchanged(self) -> None:
        """See `Location`."""
        if not self.is_unchanged():
            raise ValueError(Errors.P242.format(path=self.path))

    def folder(self) -> Path | None:
        """See `Location`."""
        return self.path if self.is_unchanged() and self.path.is_dir() else None


def locate(name: str | None) -> Elsewhere | Package | UserFiles:
    """Look for a model on this machine.

    name (str | None): Its name, in the working directory of now; None has no files.
    RETURNS (Elsewhere | Package | UserFiles): Where it is.
    """
    try:
        found = find_model(name) if name else None
    except ValueError:
        # reported at first use, as a saved pipe may still bring its folder
        return Elsewhere()
    if not isinstance(found, Path):
        return Elsewhere()
    if name in BUNDLED:
        return Package(found)
    path = found.resolve()
    return UserFiles(path, stamp_of(path, settings=False))
