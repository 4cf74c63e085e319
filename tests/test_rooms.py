"""The rooms of the package: which may import which, and which know spaCy."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import takewhile
from pathlib import Path

import spacy_padellm

PACKAGE = Path(spacy_padellm.__file__).parent
NAME = PACKAGE.name
# upper rooms import lower ones, never the reverse, and rooms of one line not each other
FLOORS = [
    [
        "error_words",
        "errors",
        "checks",
        "writable",
        "progress",
        "compat",
        "locks",
        "modes",
        "proxies",
        "replacing",
        "factory_name",
    ],
    ["prompt", "tree", "mention"],
    ["lm"],
    ["decoding"],
    ["text"],
    ["training"],
    ["pipeline"],
    ["analysis", "annotate", "corpora"],
    ["benchmark", "suggest"],
    ["explain", "show"],
    ["cli"],
]
WITHOUT_SPACY = {*FLOORS[0], "prompt", "tree", "mention", "lm", "decoding"}
ALSO_WITHOUT_SPACY = {f"{NAME}.text.align", f"{NAME}.text.normalize"}


def imports(path: Path) -> Iterator[str]:
    """All that a module imports, inside functions and for types alone too."""
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: import by full names"
            assert node.level == 0, f"{path}: import by full names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> dict[str, set[str]]:
    """Module -> the package's modules and the other packages that it imports."""
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        paths[".".join(parts).removesuffix(".__init__")] = path
    return {
        module: {
            name
            if name in paths
            else name.rpartition(".")[0]
            if name.startswith(f"{NAME}.")
            else name.partition(".")[0]
            for name in imports(path)
        }
        for module, path in paths.items()
    }


MODULES = modules()


def room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def test_rooms_import_lower_rooms_alone() -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    assert {room(module) for module in MODULES} == {"", *floor_of}
    wrong = [
        f"{module} imports {imported}"
        for module, imported_modules in MODULES.items()
        for imported in imported_modules
        if imported in MODULES and room(imported) not in {"", room(module)}
        if floor_of[room(imported)] > 0
        and floor_of[room(imported)] >= floor_of[room(module)]
    ]
    assert wrong == []


def test_rooms_have_no_circles() -> None:
    known = {module: names & set(MODULES) for module, names in MODULES.items()}
    TopologicalSorter(known).prepare()


def test_rooms_of_the_model_know_no_spacy() -> None:
    spacy = {"spacy", "thinc", "spacy_transformers"}
    wrong = [
        module
        for module, names in MODULES.items()
        if room(module) in WITHOUT_SPACY or module in ALSO_WITHOUT_SPACY
        if names & spacy
    ]
    assert wrong == []


def test_folders_of_rooms_have_no_circles() -> None:
    # folder -> what lies in it, modules and folders -> what each imports there
    folders: dict[str, dict[str, set[str]]] = {}
    for module, names in MODULES.items():
        for imported in names & set(MODULES):
            paths = zip(module.split("."), imported.split("."), strict=False)
            same = [one for one, other in takewhile(lambda p: p[0] == p[1], paths)]
            here, there = (name.split(".")[len(same) :] for name in (module, imported))
            if here and there:
                inside = folders.setdefault(".".join(same), {})
                inside.setdefault(here[0], set()).add(there[0])
    folders.pop(NAME)  # FLOORS
    assert f"{NAME}.lm" in folders
    for inside in folders.values():
        TopologicalSorter(inside).prepare()
