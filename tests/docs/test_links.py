"""The links of README and documentation, as they are read in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
PAGES = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "benchmarks").rglob("*.md")),
]
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"')
FENCE = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)
# weasel writes this link from the folder of project.yml
FOREIGN = {"docs/reference/project.md": {"project.yml"}}
pytestmark = pytest.mark.skipif(
    not (REPOSITORY / "spacy_padellm").is_dir(), reason="this is no clone"
)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


def broken(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return False
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    return not path.exists() or bool(anchor and anchor not in anchors(path))


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    targets = {a or b for a, b in LINK.findall(prose(page))}
    targets -= FOREIGN.get(str(page.relative_to(REPOSITORY)), set())
    assert [target for target in sorted(targets) if broken(page, target)] == []


def test_links_find_broken_links() -> None:
    page = REPOSITORY / "README.md"
    assert broken(page, "docs/none.md")
    assert broken(page, "#no-such-heading")
    assert not broken(page, "#install")
    assert not broken(page, "https://example.org/none")


def test_links_readme_is_a_front_door() -> None:
    assert len((REPOSITORY / "README.md").read_text("utf8").splitlines()) <= 150
