from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import torch

from spacy_padellm.benchmark.decoders import DECODERS, MULTI, make_decoders
from spacy_padellm.benchmark.measuring.measure import (
    Entry,
    Measurement,
    measure,
    percentile,
)
from spacy_padellm.benchmark.measuring.memory import peak_memory
from spacy_padellm.benchmark.measuring.work import count_work
from spacy_padellm.benchmark.results import floors
from spacy_padellm.benchmark.results.figures import lengths
from spacy_padellm.benchmark.results.report import ratios, table
from spacy_padellm.benchmark.subjects.shapes import SHAPES, make_shaped
from spacy_padellm.benchmark.subjects.subjects import (
    Subject,
    forced_subject,
    multi_entry,
    share_found,
    string_f1,
)
from spacy_padellm.compat.onednn import onednn_has_int8
from spacy_padellm.decoding.recorder import Recorder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import PRESETS, make_prompt
from spacy_padellm.prompt.tokens import PromptTokens

CPU = torch.device("cpu")
LABELS = {"LOC": "location", "PER": "person"}
GOLD = [
    GoldText("Bo saw Al in New York .", {"PER": ["Bo", "Al"], "LOC": ["New York"]}),
    GoldText("No one came .", {}),
    GoldText("Al met Al .", {"PER": ["Al", "Al"]}),
]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    texts = [gold.text for gold in GOLD]
    return make_shaped("tiny", texts, device=CPU, dtype=torch.float32, seed=0)


@pytest.fixture(scope="module")
def prompt(lm: LanguageModel) -> PromptTokens:
    return lm.tokens_of(PRESETS["paper-en"])


def subject_of(lm: LanguageModel, prompt: PromptTokens, *names: str) -> Subject:
    return forced_subject(
        lm, prompt, LABELS, GOLD, name="tiny", decoders=names, lang=None
    )


# Shapes


@pytest.mark.parametrize("name", SHAPES)
def test_benchmark_shapes_have_the_parameters_of_their_name(name: str) -> None:
    shape = SHAPES[name]
    matrix = shape.hidden * shape.head_size * (shape.heads + shape.key_value_heads) * 2
    layer = matrix + 3 * shape.hidden * shape.intermediate
    tables = shape.vocabulary * shape.hidden * (2 if shape.llama else 1)
    total = shape.layers * layer + tables
    expected = {
        "tiny": 5e4,
        "7M": 7e6,
        "70M": 6.3e7,
        "135M": 1.35e8,
        "0.6B": 6e8,
        "7B": 6.7e9,
    }
    assert total == pytest.approx(expected[name], rel=0.2)


def test_benchmark_shapes_are_made_in_their_dtype_from_a_seed(
    lm: LanguageModel,
) -> None:
    texts = [gold.text for gold in GOLD]
    other = make_shaped("tiny", texts, device=CPU, dtype=torch.bfloat16, seed=0)
    assert {p.dtype for p in other.model.parameters()} == {torch.bfloat16}
    again = make_shaped("tiny", texts, device=CPU, dtype=torch.float32, seed=0)
    for first, second in zip(
        lm.model.parameters(), again.model.parameters(), strict=True
    ):
        assert torch.equal(first, second)


# Forced decoders


@pytest.mark.parametrize("name", [name for name in DECODERS if name != MULTI])
def test_benchmark_forced_decoder_gives_the_gold_mentions(
    lm: LanguageModel, prompt: PromptTokens, name: str
) -> None:
    subject = subject_of(lm, prompt, name)
    (entry,) = subject.entries()
    assert entry.stream is not None
    entry.stream([gold.text for gold in GOLD])
    (watched,) = subject.decoders.values()
    found = [[(m.label, m.text) for m in watched.found[gold.text]] for gold in GOLD]
    assert found == [
        [("LOC", "New York"), ("PER", "Bo"), ("PER", "Al")],
        [],
        [("PER", "Al"), ("PER", "Al")],
    ]
    assert share_found(watched, GOLD) == 1.0
    assert string_f1(watched, GOLD) == 1.0


def test_benchmark_share_found_falls_with_mentions_that_are_missing(
    lm: LanguageModel, prompt: PromptTokens
) -> None:
    subject = subject_of(lm, prompt, "tree")
    (entry,) = subject.entries()
    entry.run_alone(GOLD[2].text)
    assert share_found(subject.decoders["tree"], GOLD) == pytest.approx(2 / 5)


def test_benchmark_limits_never_cut_the_gold_mentions(lm: LanguageModel) -> None:
    prompt = lm.tokens_of(PRESETS["paper-en"])
    golds = [GoldText("Al " * 40, {"PER": ["Al"] * 40})]
    subject = forced_subject(
        lm, prompt, LABELS, golds, name="tiny", decoders=["tree", "struct"], lang=None
    )
    for entry in subject.entries():
        entry.run_alone(golds[0].text)
    shares = [share_found(watched, golds) for watched in subject.decoders.values()]
    assert shares == [1.0, 1.0]


def test_benchmark_raises_the_error_of_a_text(
    lm: LanguageModel, prompt: PromptTokens
) -> None:
    (decoder,) = make_decoders(["tree"]).values()
    subject = Subject("tiny", lm, prompt, LABELS, {"tree": Recorder(decoder)}, None)
    (entry,) = subject.entries()
    with pytest.raises(ValueError, match="does not fit the model"):
        entry.run_alone("long " * 40_000)


# Work


def test_benchmark_work_counts_passes_and_their_tokens(
    lm: LanguageModel, prompt: PromptTokens
) -> None:
    subject = subject_of(lm, prompt, "tree-no-drafts")
    (entry,) = subject.entries()
    (need,) = floors.needs(prompt, GOLD[1:2], LABELS, tags=False)
    with count_work(lm) as work:
        entry.run_alone(GOLD[1].text)
    # no mention: one pass over the text and its labels
    assert (work.passes, work.tokens) == (need.passes, need.tokens)
    entry.run_alone(GOLD[1].text)
    assert work.passes == 1


@pytest.mark.parametrize(
    ("name", "sequences"), [("tree", 6), ("onestep", 6), ("struct", 3), ("aug", 3)]
)
def test_benchmark_lengths_are_those_of_each_methods_sequences(
    lm: LanguageModel, prompt: PromptTokens, name: str, sequences: int
) -> None:
    (decoder,) = make_decoders([name]).values()
    tokens, found = lengths(decoder, prompt, GOLD, LABELS)
    if name == "tree":
        # a sequence for each mention and each label without one
        ends = 5 + 3
        counted = [prompt.count_answer(len(g.mentions.get(k, ()))) for g in GOLD
                   for k in LABELS for _ in g.mentions.get(k, ()) or [0]]  # fmt: skip
        answers = [prompt.mention_answer(m) for g in GOLD
                   for ms in g.mentions.values() for m in ms]  # fmt: skip
        assert tokens * ends == pytest.approx(sum(map(len, counted + answers)))
        assert found == pytest.approx(ends / 3)
    else:
        assert found == pytest.approx(sequences / 3)
        assert tokens > 1


def test_benchmark_multi_takes_the_slowest_of_the_sequences(
    lm: LanguageModel, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = multi_entry(subject_of(lm, prompt, "batch"), GOLD)
    clock = iter([0.0, 1.0, 10.0, 15.0, 20.0, 22.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    # New York, then Bo, then Al: three sequences of 1, 5 and 2 seconds
    assert entry.run_alone(GOLD[0].text) == 5.0


# Floors


def test_benchmark_floors_need_three_passes_for_mentions_and_one_for_none(
    prompt: PromptTokens,
) -> None:
    needs = floors.needs(prompt, GOLD, LABELS, tags=False)
    assert [need.passes for need in needs] == [3, 1, 3]


def test_benchmark_floors_need_one_pass_over_the_text_for_tags(
    prompt: PromptTokens,
) -> None:
    (need,) = floors.needs(prompt, GOLD[:1], LABELS, tags=True)
    (counting,) = prompt.count_prompts([GOLD[0].text], list(LABELS.values()))
    assert (need.passes, need.tokens) == (1, len(counting.root))


def test_benchmark_floors_need_a_pass_for_each_further_digit(
    prompt: PromptTokens,
) -> None:
    gold = GoldText("Al " * 12, {"PER": ["Al"] * 12})
    (need,) = floors.needs(prompt, [gold], LABELS, tags=False)
    assert need.passes == 4


def test_benchmark_floors_count_tree_tokens_once(prompt: PromptTokens) -> None:
    (need,) = floors.needs(prompt, GOLD[1:2], LABELS, tags=False)
    (counting,) = prompt.count_prompts([GOLD[1].text], list(LABELS.values()))
    assert need.tokens == len(counting.root) + sum(map(len, counting.labels))
    assert need.outputs == len(LABELS)


def test_benchmark_floors_count_each_copy_of_the_text(lm: LanguageModel) -> None:
    once, twice = (
        floors.needs(
            lm.tokens_of(make_prompt("paper-en", text="{text}\n" * copies)),
            GOLD,
            LABELS,
            tags=False,
        )
        for copies in (1, 2)
    )
    lines = lm.tokens_of(PRESETS["paper-en"]).strings.plain(
        [f"{gold.text}\n" for gold in GOLD]
    )
    more = [b.tokens - a.tokens for a, b in zip(once, twice, strict=True)]
    assert more == [len(ids) for ids in lines]
    assert [need.outputs for need in once] == [need.outputs for need in twice]


def test_benchmark_floors_are_reading_or_computing() -> None:
    need = floors.Need(passes=3, tokens=10, outputs=4)
    weights = floors.Weights(read=1000, inner=100, head=50)
    speed = floors.Speeds(read_seconds=2.0, bandwidth=500.0, product_rate=100.0)
    # (2 * 10 * 100 + 2 * 4 * 50) / 100
    assert floors.floor_product(need, weights, speed) == 24.0
    assert floors.floor_alone(need, weights, speed) == 24.0
    fast = floors.Speeds(read_seconds=2.0, bandwidth=500.0, product_rate=1000.0)
    assert floors.floor_alone(need, weights, fast) == 6.0


def test_benchmark_floors_read_tied_tables_once(lm: LanguageModel) -> None:
    weights = floors.sizes(lm)
    total = sum(p.numel() for p in lm.model.parameters())
    assert weights.head == lm.model.get_output_embeddings().weight.numel()
    assert weights.inner == total - weights.head
    assert weights.read == 4 * total


def test_benchmark_floors_of_adapters_on_tied_tables_are_those_of_both() -> None:
    pytest.importorskip("peft")
    lm = make_shaped("tiny", [], device=CPU, dtype=torch.float32, seed=0)
    plain = floors.sizes(lm)
    settings = {"r": 2, "target_modules": ["q_proj"]}
    adapted = with_lora(lm, settings, name=None, revision=None, new_tokens=[5, 6])
    names = adapted.model.named_parameters()
    lora = sum(p.numel() for name, p in names if "lora_" in name)
    weights = floors.sizes(adapted)
    assert weights.head == plain.head
    assert weights.inner == plain.inner + lora
    assert plain.read + 4 * lora <= weights.read <= 1.1 * plain.read
    assert floors.speeds(adapted).product_rate > 0


def test_benchmark_floors_leave_out_a_table_that_is_only_looked_up(
    llama: LanguageModel,
) -> None:
    weights = floors.sizes(llama)
    total = sum(p.numel() for p in llama.model.parameters())
    table = llama.model.get_input_embeddings().weight.numel()
    assert weights.head == table
    assert weights.inner == total - 2 * table
    assert weights.read == 4 * (total - table)


@pytest.mark.skipif(not onednn_has_int8(), reason="no 8-bit products")
def test_benchmark_floors_of_int8_read_fewer_bytes() -> None:
    lm = make_shaped("tiny", [], device=CPU, dtype=torch.float32, int8=True, seed=0)
    weights = floors.sizes(lm)
    table = lm.model.get_input_embeddings().weight.numel()
    layers = lm.model.model.layers
    others = sum(p.numel() for p in layers.parameters() if p.dim() == 1)
    others += sum(layer.mlp.down_proj.weight.numel() for layer in layers)
    others += lm.model.model.norm.weight.numel()
    assert weights.read == 4 * (table + others) + (weights.inner - others)
    assert floors.speeds(lm).product_rate > 0


def test_benchmark_floors_measure_positive_speeds(lm: LanguageModel) -> None:
    speed = floors.speeds(lm)
    weights = floors.sizes(lm)
    assert speed.bandwidth > 0
    assert speed.product_rate > 0
    assert speed.read_seconds == pytest.approx(weights.read / speed.bandwidth)


# Measuring and telling


def test_benchmark_measure_takes_the_median_of_the_rounds() -> None:
    times = iter([9.0, 9.0, 9.0, 1.0, 4.0, 3.0, 2.0, 2.0, 6.0])
    entry = Entry("x", "x", lambda text: next(times), None)
    (result,) = measure([entry], ["a", "b"], words=2, repeats=3, device=CPU)
    # warm-up 9, 9, 9; then a: 1, 3, 2 and b: 4, 2, 6
    assert result.latencies == [2.0, 4.0]
    assert result.latency == 3.0
    assert result.stream_seconds is None


def test_benchmark_measure_gives_the_results_so_far() -> None:
    kept: list[list[tuple[str, int, bool]]] = []

    def keep(results: list[Measurement]) -> None:
        kept.append(
            [(r.name, len(r.latencies), r.stream_seconds is not None) for r in results]
        )

    entries = [
        Entry("x", "x", lambda text: None, lambda texts: None),
        Entry("y", "y", lambda text: None, None),
    ]
    measure(entries, ["a", "b"], words=2, repeats=2, device=CPU, keep=keep)
    assert kept == [[("x", 2, True)], *[[("x", 2, True), ("y", 2, False)]] * 3]


def test_benchmark_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(10, 0, -1)]
    assert percentile(values, 0.9) == 9.0
    assert percentile(values, 1.0) == 10.0
    assert percentile([7.0], 0.9) == 7.0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_benchmark_memory_sees_a_peak_that_is_over() -> None:
    with peak_memory(CPU) as peak:
        # malloc never has a block of this size left over
        block = torch.ones(64 << 20, dtype=torch.uint8)
        del block
    assert peak.size is not None
    assert 60e6 < peak.size < 128e6


def test_benchmark_ratios_are_to_batch_and_struct() -> None:
    results = [
        Measurement("tree", "tree", [1.0], 0.5, 10),
        Measurement("batch", "batch", [4.0], 4.0, 10),
        Measurement("struct", "struct", [10.0], 8.0, 10),
        Measurement("multi (simulated)", "multi", [2.0], None, 10),
    ]
    found = ratios(results)
    assert found["tree"] == {
        "alone_batch": 4.0,
        "stream_batch": 8.0,
        "stream_alone_batch": 8.0,
        "alone_struct": 10.0,
        "stream_struct": 16.0,
        "stream_alone_struct": 20.0,
    }
    assert found["multi (simulated)"] == {"alone_batch": 2.0, "alone_struct": 5.0}


def test_benchmark_table_leaves_out_empty_columns() -> None:
    lines = table(["", "ms", "F1"], [["tree", "1.5", "-"], ["batch", "10", "-"]])
    assert lines.splitlines() == [
        "        ms",
        "-----  ---",
        "tree   1.5",
        "batch   10",
    ]


def test_benchmark_result_tells_times_of_the_floor() -> None:
    result = Measurement(
        "tree", "tree", [1.0, 3.0], 2.0, 10, floor=2.0, stream_floor=0.5
    )
    figures = result.to_json()
    assert figures["times_floor"] == 2.0
    assert figures["stream_times_floor"] == 4.0
    assert figures["words_a_second"] == 5.0
    assert math.isclose(figures["mean_ms"], 2000)
