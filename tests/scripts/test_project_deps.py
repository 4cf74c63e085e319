"""project.yml: a command runs again when anything that it reads has changed."""

from __future__ import annotations

import ast
import re
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from weasel.util import load_project_config

REPOSITORY = Path(__file__).parents[2]
PROJECT = load_project_config(REPOSITORY)
COMMANDS: dict[str, dict[str, Any]] = {x["name"]: x for x in PROJECT["commands"]}
MAKERS: dict[str, set[str]] = defaultdict(set)
for command in COMMANDS.values():
    for path in [*command.get("outputs", []), *command.get("outputs_no_cache", [])]:
        MAKERS[path].add(command["name"])
PATH = re.compile(r"(?:.*=)?((?:assets|corpus|configs|training)/[\w./-]+)")
WRITING_OPTIONS = {"--output", "--json", "--paths.checkpoint", "--dest"}
# which of the paths that a command names is the one that it writes
WRITTEN = {
    **{"convert": 1, "zipfile": 1, "scripts/fill_label.py": 2, "scripts/silver.py": 1},
    **{"scripts/trim_vocabulary.py": 1, "scripts/gold_corpus.py": 0},
    **{"scripts/gum.py": 0, "scripts/mixed_corpus.py": 0, "scripts/names.py": 0},
    **{"scripts/small_base.py": 0, "scripts/soft_labels.py": 0, "scripts/distil.py": 2},
    **{"scripts/snippets.py": 1, "scripts/pretrain.py": 0},
    **{"scripts/mean_weights.py": 2},
    **{"scripts/sample_corpora.py": 0},
}


def with_imports(script: str) -> set[str]:
    """A script and those beside it that it imports."""
    found = {script}
    for node in ast.walk(ast.parse((REPOSITORY / script).read_text("utf8"))):
        names = [x.name for x in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if (REPOSITORY / "scripts" / f"{name}.py").exists():
                found |= with_imports(f"scripts/{name}.py")
    return found


def read_and_written(line: str) -> tuple[set[str], set[str]]:
    """The paths that a line of a script reads, and those that it writes."""
    words = shlex.split(line)
    named = [(i, m[1]) for i, x in enumerate(words) if (m := PATH.fullmatch(x))]
    written = {path for i, path in named if words[i - 1] in WRITING_OPTIONS}
    read = {path for _, path in named}
    for word in words:
        if word.startswith("benchmarks."):
            read.add(f"{word.replace('.', '/')}.py")
        if word.startswith("scripts/"):
            read |= with_imports(word)
        if word.startswith("scripts/") or word in WRITTEN:
            written.add(named[WRITTEN[word]][1])
    return read, written


def is_same(path: str, other: str) -> bool:
    """Whether one path is the other, or inside it."""
    first, second = Path(path), Path(other)
    return first == second or first in second.parents or second in first.parents


def trained_by_spacy() -> set[str]:
    """The output folders of `spacy train`, whose meta.json holds a model's scores."""
    lines = [line for command in COMMANDS.values() for line in command["script"]]
    return {
        words[words.index("--output") + 1]
        for words in map(shlex.split, lines)
        if words[:4] == ["python", "-m", "spacy", "train"]
    }


def is_covered(path: str, deps: list[str]) -> bool:
    """Whether a path is a dependency.

    The folder of its component, or its meta.json, stands for a pipeline.
    """
    folders = (Path(path), *Path(path).parents)
    parts = {(x / y).as_posix() for x in folders for y in ("meta.json", "padellm_ner")}
    return path in deps or not parts.isdisjoint(deps)


@pytest.mark.parametrize("name", COMMANDS)
def test_project_deps_hold_all_that_a_command_reads(name: str) -> None:
    command = COMMANDS[name]
    lines = [read_and_written(line) for line in command["script"]]
    written = {path for _, paths in lines for path in paths}
    read = {
        path
        for paths, _ in lines
        for path in paths
        if not any(is_same(path, other) for other in written)
    }
    deps = command.get("deps", [])
    assert sorted(path for path in read if not is_covered(path, deps)) == []


def test_project_deps_name_the_weights_where_no_scores_stand_for_them() -> None:
    named = {
        path
        for command in COMMANDS.values()
        for key in ("deps", "outputs_no_cache")
        for path in command.get(key, [])
        if re.fullmatch(r"training/.*/meta\.json", path)
    }
    scored = {
        path for path in named if str(Path(path).parents[1]) in trained_by_spacy()
    }
    assert scored
    assert named - scored == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_project_deps_a_stop_after_a_distillation_does_not_cost_it(name: str) -> None:
    # scripts/distil.py deletes its checkpoint at its end
    script = COMMANDS[name]["script"]
    assert len(script) == 1 or not any("scripts/distil.py" in x for x in script)


def test_project_deps_hold_what_scripts_find_in_folders() -> None:
    gold = [path for path in COMMANDS["corpora-en"]["outputs"] if "_dev" not in path]
    assert {*gold} <= {*COMMANDS["gold-en"]["deps"]}
    assert {"corpus/compare", "configs/compare.cfg"} <= {
        *COMMANDS["compare-methods"]["deps"]
    }


def test_project_deps_are_written_by_one_command_each() -> None:
    # what convert writes depends on the variables
    made_twice = {
        path: names - {"convert"}
        for path, names in MAKERS.items()
        if len(names - {"convert"}) > 1
    }
    assert made_twice == {}


def test_project_deps_are_written_earlier_in_each_workflow() -> None:
    late = [
        (workflow, name, dep)
        for workflow, names in PROJECT["workflows"].items()
        for i, name in enumerate(names)
        for dep in COMMANDS[name].get("deps", [])
        if dep in MAKERS and MAKERS[dep].isdisjoint(names[:i])
    ]
    assert late == []


def test_project_deps_in_assets_are_named_as_assets() -> None:
    named = [asset["dest"] for asset in PROJECT["assets"]]
    read = {dep for command in COMMANDS.values() for dep in command.get("deps", [])}
    given = {dep for dep in read - {*MAKERS} if dep.startswith("assets/")}
    assert given
    assert {dep for dep in given if dep not in named} == set()
