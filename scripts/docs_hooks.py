"""What MkDocs does besides when it builds the site (see mkdocs.yml).

The README, the benchmarks and the model cards become pages, too. Links are those of
the repository, so that they work where its files are read. Here they are turned into
links of the site. Links to files that are not on the site become plain words.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from docs_reference import list_commands, list_messages
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parent.parent
PAGES = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "benchmarks/quality.md",
    "spacy_padellm/models/en/MODEL_CARD.md",
    "spacy_padellm/models/en_sm/MODEL_CARD.md",
    *(
        f"benchmarks/results/{p.name}"
        for p in REPOSITORY.glob("benchmarks/results/*.png")
    ),
]
# path in the repository -> path on the site
ADDED = {"README.md": "index.md", **{path: f"repository/{path}" for path in PAGES}}
GENERATED = {"<!-- commands -->": list_commands, "<!-- messages -->": list_messages}

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_SOURCE = re.compile(r'\b(src|srcset)="([^"]+)"')
_FENCE = re.compile(r"^(```.*?^```)", flags=re.DOTALL | re.MULTILINE)
logger = logging.getLogger("mkdocs.hooks.docs")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the files of the repository that are pages of the site."""
    for path, page in ADDED.items():
        files.append(File.generated(config, page, abs_src_path=str(REPOSITORY / path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links of the repository into links of the site; add what is generated."""
    source = page.file.src_uri
    path = next((p for p, s in ADDED.items() if s == source), f"docs/{source}")
    # links are not those of code
    pieces = _FENCE.split(markdown)
    pieces[::2] = [rewrite_links(piece, path) for piece in pieces[::2]]
    markdown = "".join(pieces)
    for mark, generate in GENERATED.items():
        if mark in markdown:
            markdown = markdown.replace(mark, generate())
    return markdown


def rewrite_links(markdown: str, path: str) -> str:
    """Turn the links of a piece of Markdown into links of the site.

    markdown (str): The piece, without code.
    path (str): The path of its file in the repository.
    """

    def link(match: re.Match[str]) -> str:
        mark, words, target = match.groups()
        new = site_link(target, path)
        return words if new is None else f"{mark}[{words}]({new})"

    def source(match: re.Match[str]) -> str:
        return f'{match[1]}="{site_link(match[2], path)}"'

    return _SOURCE.sub(source, _LINK.sub(link, markdown))


def site_link(target: str, path: str) -> str | None:
    """The target of a link, seen from a page of the site.

    target (str): The target, seen from the file `path`.
    path (str): A file's path in the repository.
    RETURNS (str | None): None if the target is a file that is not on the site.
    """
    if re.match(r"[a-z]+:|#", target):
        return target
    file, _, heading = target.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
    page = ADDED.get(there)
    if page is None and there.startswith("docs/") and (REPOSITORY / there).exists():
        page = there.removeprefix("docs/")
    if page is None:
        # weasel writes its links from the folder of project.yml
        if not any((REPOSITORY / found).exists() for found in (there, file)):
            logger.warning("%s links to %s, which does not exist", path, target)
        return None
    here = ADDED.get(path, path.removeprefix("docs/"))
    new = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return f"{new}#{heading}" if heading else new
