from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from new_process import run_python
from thinc.api import Config

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parent.parent.parent
PEOPLE = ["Ada Lovelace", "Alan Turing", "Grace Hopper", "Kurt Goedel"]
PLACES = ["London", "Vienna", "New York", "Manchester"]


def rows() -> list[str]:
    """Sentences in the paper's format, words indexed, ends included."""
    written = []
    for person in PEOPLE:
        for place in PLACES:
            words = f"{person} lived in {place} ."
            last = 4 if " " not in place else 5
            spans = [[0, 1, person, "PER"], [4, last, place, "LOC"]]
            written.append(json.dumps([words, *spans]))
    return [*written, json.dumps(["Nobody lived there ."])]


def run(folder: Path, *args: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return run_python("-m", "spacy", *args, cwd=folder, PATH=path)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project file, run whole on a small data set."""
    folder = tmp_path_factory.mktemp("project")
    settings = (REPOSITORY / "project.yml").read_text("utf8")
    # no assets: the data are laid in place by hand
    before, after = settings.split("\nassets:\n")
    settings = before + "\n\nworkflows:\n" + after.split("\nworkflows:\n")[1]
    (folder / "project.yml").write_text(settings, "utf8")
    (folder / "assets").mkdir()
    for part in ("train", "dev"):
        text = "\n".join(rows()) + "\n"
        (folder / "assets" / f"tiny_{part}.json").write_text(text, "utf8")
    config = Config().from_disk(REPOSITORY / "configs" / "train.cfg", interpolate=False)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "layers": 2}
    config["components"]["padellm_ner"]["model"] |= {**sizes, "dtype": "float32"}
    rate = config["training"]["optimizer"]["learn_rate"]
    rate |= {"initial_rate": 0.005, "warmup_steps": 10}
    config["training"]["batcher"]["size"] = 8
    config.to_disk(folder / "tiny.cfg")
    run(
        folder,
        *("project", "run", "all", "."),
        *("--vars.dataset", "tiny", "--vars.config", "tiny.cfg"),
        *("--vars.max_steps", "200", "--vars.eval_frequency", "200"),
    )
    return folder


def test_project_metrics_have_span_and_string_scores(project: Path) -> None:
    metrics = json.loads((project / "training/tiny/metrics.json").read_text("utf8"))
    assert metrics["ents_f"] > 0.8
    assert metrics["strings_f"] > 0.8


def test_project_annotates_with_apply(project: Path) -> None:
    lines = ['{"text": "Ada Lovelace lived in Vienna ."}', '{"text": ""}']
    (project / "texts.jsonl").write_text("\n".join(lines), "utf8")
    run(project, "apply", "training/tiny/model-best", "texts.jsonl", "out.spacy")
    vocab = spacy.blank("en").vocab
    docs = list(spacy.tokens.DocBin().from_disk(project / "out.spacy").get_docs(vocab))
    assert len(docs) == 2
    assert ("Vienna", "LOC") in [(e.text, e.label_) for e in docs[0].ents]
    assert docs[0].spans["padellm"].attrs["scores"]


def test_project_wheel_gives_the_same_entities(project: Path, tmp_path: Path) -> None:
    (wheel,) = (project / "packages").glob("*/dist/*.whl")
    site = tmp_path / "site"
    shutil.unpack_archive(wheel, site, "zip")
    text = "Grace Hopper lived in New York ."
    code = (
        "import sys, json, spacy; nlp = spacy.load('en_padellm_ner_model'); "
        "print(json.dumps([(e.text, e.label_) for e in nlp(sys.argv[1]).ents]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, text],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    doc = spacy.load(project / "training/tiny/model-best")(text)
    assert json.loads(done.stdout) == [[e.text, e.label_] for e in doc.ents]
    assert doc.ents


def test_project_package_requires_this_package(project: Path) -> None:
    (meta,) = (project / "packages").glob("*/meta.json")
    requirements = json.loads(meta.read_text("utf8"))["requirements"]
    assert any(name.startswith("spacy-padellm>=") for name in requirements)
