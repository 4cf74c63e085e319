"""`python -m spacy padellm benchmark`, from the command line to its files."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from helpers import GOLD, gold_doc, model_folder, trained_folder
from new_process import run_python
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.benchmark import run
from spacy_padellm.benchmark.decoders import MULTI, default_decoders
from spacy_padellm.benchmark.gold import write_gold
from spacy_padellm.benchmark.measuring.measure import Measurement
from spacy_padellm.benchmark.results import chart
from spacy_padellm.benchmark.run import main
from spacy_padellm.benchmark.settings import parse
from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.compat.onednn import onednn_has_int8
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.mention.gold import GoldText

# the model that the helpers train knows these texts by heart
TEXTS = dict(list(GOLD.items())[:3])
DECODER_NAMES = [name for name in default_decoders() if name != MULTI]
FORCED = ["--forced", "--shape", "tiny", "--dtype", "float32", "--device", "cpu"]
BLOCKED = """
import runpy, sys
sys.modules["spacy"] = sys.modules["thinc"] = None
runpy.run_module("spacy_padellm.benchmark", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.blank("en")
    docs = [gold_doc(nlp, text, mentions) for text, mentions in TEXTS.items()]
    path = tmp_path_factory.mktemp("gold") / "gold.spacy"
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


@pytest.fixture(scope="module")
def forced(corpus: Path) -> dict[str, Any]:
    """A run of everything on random weights; its JSON, its output and its chart."""
    out, png = corpus.parent / "out.json", corpus.parent / "out.png"
    files = ["--json", str(out), "--chart", str(png)]
    options = ["--repeats", "1", "--peers", "ner", *FORCED, *files]
    result = CliRunner().invoke(padellm_cli, ["benchmark", str(corpus), *options])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text("utf8"))
    return {**found, "output": result.output, "png": png.read_bytes()}


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {result["name"]: result for result in found["results"]}


# With spaCy


def test_benchmark_command_measures_every_decoder_and_peer(
    forced: dict[str, Any],
) -> None:
    results = by_name(forced)
    assert list(results) == [*DECODER_NAMES, "multi (simulated)", "spaCy ner"]
    for name, result in results.items():
        assert len(result["latencies"]) == len(TEXTS)
        assert min(result["latencies"]) > 0
        assert (result["texts_a_second"] is None) == (name == "multi (simulated)")
    assert forced["stream"] == "nlp.pipe"


def test_benchmark_command_shows_where_the_time_of_the_tree_goes(
    forced: dict[str, Any],
) -> None:
    results = by_name(forced)
    for shares in (results["tree"]["shares"], results["tree"]["stream_shares"]):
        assert sum(shares.values()) == pytest.approx(1)
    assert results["batch"]["shares"] is None
    assert "% of the time" in forced["output"]


def test_benchmark_command_forces_every_decoder_to_the_gold(
    forced: dict[str, Any],
) -> None:
    results = by_name(forced)
    assert {results[name]["emitted"] for name in DECODER_NAMES} == {1.0}


def test_benchmark_command_tells_work_and_floors(forced: dict[str, Any]) -> None:
    results = by_name(forced)
    (model,) = forced["models"]
    work = {name: result["work"] for name, result in results.items()}
    passes = {name: done["passes"] for name, done in work.items() if done}
    fewest = round(model["fewest_passes_a_text"] * len(TEXTS))
    assert fewest <= passes["tree"] <= passes["tree-no-drafts"] <= passes["batch"]
    assert passes["batch"] < passes["struct"]
    tokens = {name: done["tokens"] for name, done in work.items() if done}
    assert tokens["tree"] < tokens["batch"]
    assert results["tree"]["tokens_a_sequence"] < results["struct"]["tokens_a_sequence"]
    assert results["tree"]["floor"] > 0
    alone = sum(results["tree"]["latencies"])
    times = alone / results["tree"]["floor"]
    assert results["tree"]["times_floor"] == pytest.approx(times)


def test_benchmark_command_tells_the_ratios_first(forced: dict[str, Any]) -> None:
    assert forced["output"].lstrip().startswith("faster than")
    assert next(iter(forced)) == "ratios"
    results, ratios = by_name(forced), forced["ratios"]
    latency = {name: results[name]["mean_ms"] for name in ("tree", "batch", "struct")}
    for name in ("batch", "struct"):
        expected = latency[name] / latency["tree"]
        assert ratios["tree"][f"alone_{name}"] == pytest.approx(expected)
    assert ratios["tree"]["stream_ner"] > 0


def test_benchmark_command_draws_a_png(forced: dict[str, Any]) -> None:
    assert forced["png"].startswith(b"\x89PNG")


def test_benchmark_command_tells_the_machine(forced: dict[str, Any]) -> None:
    machine = forced["machine"]
    assert machine["torch"] == torch.__version__
    assert machine["threads"] >= 1
    assert machine["device"] == "cpu"
    assert forced["models"][0]["dtype"] == "float32"


def test_benchmark_command_scores_a_trained_pipeline(
    corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    options = ["--model", str(trained_folder()), "--peers", "", "--repeats", "1"]
    options += ["--decoders", "tree,batch,struct", "--json", str(out)]
    assert main([str(corpus), *options], prog="benchmark") == 0
    results = by_name(json.loads(out.read_text("utf8")))
    # not struct: the model was trained on other prompts
    assert list(results) == ["tree", "batch"]
    for result in results.values():
        assert result["scores"]["strings_f"] == 1.0
        assert result["scores"]["ents_f"] == 1.0
        assert result["scores"]["as_batch"] == 1.0
        assert result["emitted"] is None


@pytest.mark.skipif(not onednn_has_int8(), reason="no 8-bit products")
@pytest.mark.parametrize("forced", [True, False])
def test_benchmark_command_measures_int8(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], forced: bool
) -> None:
    out = tmp_path / "out.json"
    model = FORCED if forced else ["--model", str(trained_folder())]
    options = [*model, "--dtype", "int8", "--device", "cpu", "--peers", ""]
    options += ["--decoders", "tree", "--repeats", "1", "--json", str(out)]
    assert main([str(corpus), *options], prog="benchmark") == 0
    (found,) = json.loads(out.read_text("utf8"))["models"]
    assert found["int8"] is True
    assert "with 8-bit products" in capsys.readouterr().out


def test_benchmark_command_joins_long_texts_with_many_labels(
    corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out.json"
    options = ["--long", "20", "--labels", "7", "--texts", "1", "--repeats", "1"]
    options += ["--decoders", "tree,batch", "--peers", "", "--json", str(out)]
    assert main([str(corpus), *options, *FORCED], prog="benchmark") == 0
    found = json.loads(out.read_text("utf8"))
    assert found["texts"] == 1
    assert len(found["models"][0]["labels"]) > 3
    assert {result["emitted"] for result in found["results"]} == {1.0}


def test_benchmark_command_that_is_ended_leaves_figures(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(self: BatchDecoder, *args: Any) -> Any:
        raise KeyboardInterrupt

    out = tmp_path / "out.json"
    options = [*FORCED, "--decoders", "tree,batch", "--peers", "", "--repeats", "1"]
    command = [str(corpus), *options, "--json", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(BatchDecoder, "stream", end)
        with pytest.raises(KeyboardInterrupt):
            main(command, prog="benchmark")
    found = json.loads(out.read_text("utf8"))
    assert found["unfinished"] is True
    (tree,) = found["results"]
    assert tree["name"] == "tree"
    assert len(tree["latencies"]) == len(TEXTS)
    assert tree["times_floor"] > 0
    assert tree["stream_times_floor"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    # the figures of a whole run take their place
    assert main(command, prog="benchmark") == 0
    whole = json.loads(out.read_text("utf8"))
    assert list(by_name(whole)) == ["tree", "batch"]
    assert set(found) - set(whole) == {"unfinished"}


def test_benchmark_command_is_noted_as_a_shell_takes_it(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    monkeypatch.setattr(run, "run", lambda _, command: noted.append(command))
    arguments = [str(corpus), "--peers", "", *FORCED]
    assert main(arguments, prog="padellm benchmark") == 0
    assert shlex.split(noted[0]) == ["padellm", "benchmark", *arguments]


def test_benchmark_command_passes_help_on() -> None:
    result = CliRunner().invoke(padellm_cli, ["benchmark", "--help"])
    assert result.exit_code == 0
    assert "--write-gold" in result.output


# Without spaCy


def run_blocked(folder: Path, *arguments: str) -> None:
    run_python("-W", "error", "-c", BLOCKED, *arguments, cwd=folder)


@pytest.fixture
def gold(corpus: Path, tmp_path: Path) -> Path:
    path = tmp_path / "gold.jsonl"
    assert main([str(corpus), "--write-gold", str(path)], prog="benchmark") == 0
    return path


def test_benchmark_runs_forced_where_spacy_is_not_installed(
    gold: Path, tmp_path: Path
) -> None:
    options = ["--decoders", "tree,batch", "--repeats", "1", "--json", "out.json"]
    run_blocked(tmp_path, str(gold), *FORCED, *options)
    found = json.loads((tmp_path / "out.json").read_text("utf8"))
    assert found["stream"] == "decoder.stream"
    assert {name: r["emitted"] for name, r in by_name(found).items()} == {
        "tree": 1.0,
        "batch": 1.0,
    }


def test_benchmark_scores_a_model_where_spacy_is_not_installed(
    gold: Path, tmp_path: Path
) -> None:
    options = ["--decoders", "tree", "--repeats", "1", "--json", "out.json"]
    run_blocked(tmp_path, str(gold), "--model", str(model_folder()), *options)
    (result,) = json.loads((tmp_path / "out.json").read_text("utf8"))["results"]
    assert result["scores"] == {"strings_f": 1.0}


# Messages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give either --forced"),
        (["--forced", "--model", "bundled-en-sm"], "Give either --forced"),
        (["--forced", "--decoders", "tree,bush"], "Unknown name 'bush' in --decoders"),
        (["--forced", "--peers", "gpt"], "Unknown name 'gpt' in --peers"),
        (["--forced", "--repeats", "0"], "--repeats is 0"),
    ],
)
def test_benchmark_settings_that_make_no_run_are_told(
    options: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parse(["gold.jsonl", *options], prog="benchmark")


def test_benchmark_command_names_the_extra_before_it_measures(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chart, "find_spec", lambda name: None)
    arguments = [str(corpus), *FORCED, "--chart", "out.png"]
    assert main(arguments, prog="benchmark") == 1
    output = capsys.readouterr()
    assert "spacy-padellm[benchmark]" in output.err
    assert output.out == ""


def test_benchmark_command_tells_a_missing_corpus(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["no.jsonl", "--forced"], prog="benchmark") == 1
    assert "Input not found: no.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("mentions", [{}, {"PER": []}], ids=["no_label", "empty"])
def test_benchmark_command_chose_no_text_with_a_mention_to_force(
    mentions: dict[str, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    golds = [GoldText("No one came .", mentions), GoldText("Bo ran .", {"PER": ["Bo"]})]
    path = tmp_path / "gold.jsonl"
    write_gold(path, golds)
    options = ["--decoders", "tree", "--peers", "", "--repeats", "1", *FORCED]
    assert main([str(path), "--texts", "1", *options], prog="benchmark") == 1
    message = f"None of the 1 text(s) that were chosen from {path} has a mention"
    assert message in capsys.readouterr().err
    # as the message says
    assert main([str(path), "--texts", "2", *options], prog="benchmark") == 0


@pytest.mark.parametrize("option", ["--json", "--chart", "--write-gold"])
def test_benchmark_command_output_that_cannot_be_written_is_told_first(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    target = str(tmp_path / "file" / "out.json")
    assert main(["none.spacy", "--forced", option, target], prog="benchmark") == 1
    assert f"Cannot write {target}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--chart", "--write-gold"])
def test_benchmark_command_does_not_write_over_its_corpus(
    option: str, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = corpus.read_bytes()
    arguments = [str(corpus), *FORCED, option, str(corpus)]
    assert main(arguments, prog="benchmark") == 1
    assert f"{corpus} is read by this command" in capsys.readouterr().err
    assert corpus.read_bytes() == before


def test_benchmark_command_writes_two_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "out")
    options = [*FORCED, "--json", path, "--chart", path]
    assert main(["none.spacy", *options], prog="benchmark") == 1
    assert "--json and --chart name the same file" in capsys.readouterr().err


def end_streams(self: BatchDecoder, *args: Any) -> Any:
    raise KeyboardInterrupt


def test_benchmark_command_that_is_ended_leaves_the_figures_of_vllm(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm = Measurement("vLLM", "peer", [0.1], None, 9)
    monkeypatch.setattr(run, "_measure_vllm", lambda *_, **options: (vllm, "vLLM 1"))
    monkeypatch.setattr(BatchDecoder, "stream", end_streams)
    out = tmp_path / "out.json"
    options = [*FORCED, "--decoders", "tree,batch", "--peers", "", "--repeats", "1"]
    with pytest.raises(KeyboardInterrupt):
        main([str(corpus), *options, "--vllm", "python", "--json", str(out)], prog="b")
    found = json.loads(out.read_text("utf8"))
    assert list(by_name(found)) == ["tree", "vLLM"]
    assert found["vllm"] == "vLLM 1"


def test_benchmark_command_goes_on_if_figures_so_far_cannot_be_written(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write, calls = run.write_json, []

    def fail_first(path: Path, figures: dict[str, Any]) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise ValueError("Cannot write it: no space left.")
        write(path, figures)

    monkeypatch.setattr(run, "write_json", fail_first)
    out = tmp_path / "out.json"
    options = [*FORCED, "--decoders", "tree,batch", "--peers", "", "--repeats", "1"]
    assert main([str(corpus), *options, "--json", str(out)], prog="benchmark") == 0
    message = "so far were not written: Cannot write it: no space left. The benchmark"
    assert message in capsys.readouterr().err
    assert list(by_name(json.loads(out.read_text("utf8")))) == ["tree", "batch"]
