"""Write snippets of the web (reviews, tweets, editorials) as files of plain text.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2 --dest assets/web
    python scripts/snippets.py assets/web/vaderSentiment-3.3.2.tar.gz assets/en/web

The source package vaderSentiment (MIT) holds the texts of Hutto and Gilbert (ICWSM
2014): one a line, after an id and a rating.
"""

from __future__ import annotations

import argparse
import html
import io
import tarfile
from pathlib import Path

TEXTS = "_GroundTruth.txt"  # how the names of the files end
INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
PER_FILE = 200  # snippets; scripts/silver.py takes some sentences of each file


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, text in read(options.package):
        lines = [snippet(line) for line in text.splitlines()]
        for start in range(0, len(lines), PER_FILE):
            path = options.output / f"{name}-{start}.txt"
            path.write_text("\n\n".join(lines[start : start + PER_FILE]), "utf8")


def read(package: Path) -> list[tuple[str, str]]:
    """The name and the contents of each file of snippets."""
    with tarfile.open(package) as outer:
        (member,) = (m for m in outer.getmembers() if m.name.endswith(INNER))
        stream = outer.extractfile(member)
        assert stream is not None
        archive = io.BytesIO(stream.read())
    files = []
    with tarfile.open(fileobj=archive) as inner:
        for member in inner.getmembers():
            stream = inner.extractfile(member)
            if stream is not None and member.name.endswith(TEXTS):
                name = Path(member.name).name.removesuffix(TEXTS)
                files.append((name, stream.read().decode("utf8", errors="replace")))
    return files


def snippet(line: str) -> str:
    """The text of a line: `id TAB rating TAB text`, with characters as in HTML."""
    text = line.split("\t", 2)[-1]
    return html.unescape(text).replace("''", '"').strip()


if __name__ == "__main__":
    main()
