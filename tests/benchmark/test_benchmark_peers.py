from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from spacy_padellm.benchmark import settings
from spacy_padellm.benchmark.peers.spacy_pipes import (
    make_peer,
    small_ner,
    transformer_ner,
)
from spacy_padellm.benchmark.peers.token_classifier import (
    PASS_TOKENS,
    TokenClassifier,
    in_passes,
)
from spacy_padellm.benchmark.peers.vllm_peer import measure_vllm, rounds
from spacy_padellm.benchmark.settings import parse
from spacy_padellm.benchmark.subjects.pipelines import score, search_mentions
from spacy_padellm.benchmark.subjects.shapes import make_shaped
from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import PRESETS, Prompt, make_prompt

LABELS = {"LOC": "location", "PER": "person"}
GOLD = [
    GoldText("Bo saw Al in New York .", {"PER": ["Bo", "Al"], "LOC": ["New York"]}),
    GoldText("Al met Al .", {"PER": ["Al", "Al"]}),
]

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 16, "vocab_size": 400}


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    texts = [gold.text for gold in GOLD]
    device = torch.device("cpu")
    return make_shaped("tiny", texts, device=device, dtype=torch.float32, seed=0)


@pytest.mark.parametrize(
    "templates",
    [
        *(PRESETS[preset] for preset in ("paper-en", "released-en", "compact")),
        make_prompt("paper-en", text="text:\n{text}\ntext:\n{text}\n"),
    ],
)
def test_benchmark_peers_send_vllm_the_sequences_of_the_batch_decoder(
    lm: LanguageModel, templates: Prompt
) -> None:
    prompt, gold = lm.tokens_of(templates), GOLD[0]
    read: list[tuple[int, int]] = []

    def note(module: object, args: tuple[torch.Tensor, ...]) -> None:
        read.append((args[0].shape[0], args[0].shape[1]))

    hook = lm.model.get_input_embeddings().register_forward_pre_hook(note)
    forced = ForcedOutputs(prompt, {gold.text: gold.mentions})
    decode(BatchDecoder(), lm, prompt, [gold.text], LABELS, forced=forced)
    hook.remove()
    counts, mentions = rounds(prompt, gold, LABELS)
    # the passes that read whole prompts, padded to the longest
    expected = [(len(r), max(len(ids) for ids, _ in r)) for r in (counts, mentions)]
    assert [shape for shape in read if shape[1] > 1] == expected
    assert [length for _, length in mentions] == [
        len(prompt.mention_answer(mention)) for mention in ("New York", "Bo", "Al")
    ]


def test_benchmark_peers_tell_why_vllm_did_not_run(lm: LanguageModel) -> None:
    prompt = lm.tokens_of(PRESETS["paper-en"])
    with pytest.raises(ValueError, match="No module named 'vllm'"):
        measure_vllm(
            sys.executable, lm, prompt, GOLD, LABELS, words=9, repeats=1, seed=0
        )


def test_benchmark_peers_search_repeated_mentions_in_turn() -> None:
    nlp = small_ner(GOLD, lang="en", steps=0, seed=0)
    doc = search_mentions(nlp, GOLD[1])
    assert [(ent.start, ent.text, ent.label_) for ent in doc.ents] == [
        (0, "Al", "PER"),
        (2, "Al", "PER"),
    ]


def test_benchmark_peers_train_spacys_ner() -> None:
    nlp = small_ner(GOLD, lang="en", steps=60, seed=0)
    docs = [search_mentions(nlp, gold) for gold in GOLD]
    assert score(nlp, docs)["ents_f"] == 1.0


def test_benchmark_peers_run_the_ner_of_a_pipeline(tmp_path: Path) -> None:
    nlp = small_ner(GOLD, lang="en", steps=1, seed=0)
    nlp.add_pipe("sentencizer", first=True)
    nlp.to_disk(tmp_path)
    command = ["gold.jsonl", "--forced", "--peers", f"ner,{tmp_path}"]
    assert parse(command, prog="benchmark").peers == ("ner", str(tmp_path))
    peer = make_peer(str(tmp_path), GOLD, lang="en", steps=0, seed=0)
    assert peer.pipe_names == ["tok2vec", "ner"]
    texts = [gold.text for gold in GOLD]
    found = [
        [doc.to_array("ENT_TYPE").tolist() for doc in n.pipe(texts)]
        for n in (nlp, peer)
    ]
    assert found[0] == found[1]


def test_benchmark_peers_make_a_transformer_without_a_hub() -> None:
    pytest.importorskip("spacy_transformers")
    nlp = transformer_ner(GOLD, lang="en", steps=1, seed=0, sizes=SIZES)
    docs = list(nlp.pipe([gold.text for gold in GOLD]))
    assert docs[0]._.trf_data.model_output.last_hidden_state.shape[-1] == 16


def test_benchmark_peers_transformer_needs_spacy_transformers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    command = ["gold.jsonl", "--forced"]
    assert parse(command, prog="benchmark").peers == ("ner",)
    with pytest.raises(ValueError, match="pip install spacy-transformers"):
        parse([*command, "--peers", "transformer"], prog="benchmark")


def test_benchmark_peers_classify_each_token_alone_as_in_a_batch() -> None:
    texts = [gold.text for gold in GOLD]
    classifier = TokenClassifier(
        texts,
        labels=2,
        device=torch.device("cpu"),
        dtype=torch.float32,
        seed=0,
        sizes=SIZES,
    )
    tags = list(classifier.pipe(texts))
    assert tags == [classifier(GOLD[1].text), classifier(GOLD[0].text)]  # by length
    encoded = classifier.tokenizer.encode(GOLD[0].text).ids
    assert len(tags[1]) == len(encoded)
    assert {tag for row in tags for tag in row} <= set(range(5))


def test_benchmark_peers_classify_in_passes_of_limited_size() -> None:
    rows = [[0] * length for length in range(1, 500)]
    passes = list(in_passes(rows))
    assert [row for rows in passes for row in rows] == rows
    assert all(len(batch) * len(batch[-1]) <= PASS_TOKENS for batch in passes)
    assert len(passes) < 12
