"""Links in a model folder: none of them leads out of it unless it is trusted."""

from __future__ import annotations

import os
import site
import sysconfig
from pathlib import Path

from spacy_padellm.errors import Errors


def check_links(folder: Path) -> None:
    """Check that a model folder holds only files and folders, and no links out of it.

    folder (Path): The model folder.
    RAISES (ValueError): If a link leads elsewhere, or to no file, or if there is a pipe
        or a device, or a folder whose files cannot be listed and opened.
    """
    for path in (folder, *folder.rglob("*")):
        # files that are not listed may still be opened by their names; without the
        # right to search, they are listed and cannot be looked at
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise ValueError(Errors.P895.format(folder=path))
        if path == folder:
            continue
        check_link(path, folder)
        # to read a pipe would wait for ever
        if not (path.is_file() or path.is_dir()):
            raise ValueError(Errors.P508.format(file=path, path=folder))


def check_link(path: Path, folder: Path) -> None:
    """Check that a file of a model folder does not link out of it.

    Snapshots of the hub link to files of the folder `blobs` next to their own.

    path (Path): The file.
    folder (Path): The model folder.
    RAISES (ValueError): If it is a link that leads elsewhere, or to no file.
    """
    if path.is_symlink() and (_leads_out(path, folder) or not path.is_file()):
        raise ValueError(Errors.P504.format(link=path, path=folder))


def check_place(model: Path, folder: Path) -> None:
    """Check that a pipeline's model folder does not link out of the pipeline.

    model (Path): The model folder.
    folder (Path): The component's folder, which holds it.
    RAISES (ValueError): If it does.
    """
    if model.is_symlink() and _leads_out(model, folder):
        raise ValueError(Errors.P504.format(link=model, path=folder))


def _leads_out(link: Path, folder: Path) -> bool:
    inside = [folder.resolve()]
    if inside[0].parent.name == "snapshots":
        inside.append(inside[0].parent.parent / "blobs")
    target = Path(os.path.realpath(link))
    known = any(target.is_relative_to(parent) for parent in inside)
    return not (known or _is_installed(folder))


def _is_installed(folder: Path) -> bool:
    """Whether a folder belongs to an installed package; some installers make links."""
    site_folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    site_folders.add(site.getusersitepackages())
    return any(
        folder.resolve().is_relative_to(os.path.realpath(p)) for p in site_folders
    )
