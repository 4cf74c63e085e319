"""GGUF files: their weights, and how their tokenizers cut text."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import pytest
import spacy
import torch
from conftest import make_lm
from helpers import (
    LABELS,
    NAME,
    gold_examples,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    train,
)
from pretended_gpu import PretendedGPUs
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from spacy_padellm.lm import loading
from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.handle.location import locate
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model, load_tokenizer
from spacy_padellm.lm.vocabulary import fit_vocabulary
from spacy_padellm.prompt.token_strings import TokenStrings

COMPACT = {"@misc": "spacy-padellm.Prompt.v1", "preset": "compact"}
# how Llama 3 cuts text into words
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = "Angela Merkel, 1954: it's  in\n\nBerlin"


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a query or key projection in the order that llama.cpp rotates them."""
    halves = weight.view(heads, 2, -1, weight.shape[1])
    return halves.transpose(1, 2).reshape(weight.shape)


def write_gguf(
    lm: LanguageModel,
    file: Path,
    *,
    pre: str = "gpt-2",
    add_bos: bool | None = None,
    add_space: bool = True,
    without: str | None = None,
    shards: int | None = None,
) -> Path:
    """Write a Llama model as a GGUF file.

    pre (str): How its byte-level BPE cuts text into words; "" for sentencepiece.
    add_bos (bool | None): Whether it says that texts start with `<s>`; None if nothing.
    add_space (bool): Whether a tokenizer of sentencepiece adds a space before a text.
    without (str | None): A weight that is left out.
    shards (int | None): Of how many files it says that it is the first.
    """
    config: Any = lm.model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("small")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    # transformers 5 keeps it among the rotary embedding's parameters
    rope = getattr(config, "rope_parameters", None) or {"rope_theta": config.rope_theta}
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if pre:
        add_byte_level_bpe(writer, lm.tokenizer, pre)
    else:
        add_sentencepiece(writer)
        writer.add_add_space_prefix(add_space)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    if shards is not None:
        writer.add_uint16("split.count", shards)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in lm.model.named_parameters():
        if name == without:
            continue
        known = names.get_name(name, try_suffixes=(".weight",))
        for kind, count in heads.items():
            weight = interleaved(weight, count) if kind in name else weight
        writer.add_tensor(known, weight.detach().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def add_byte_level_bpe(writer: gguf.GGUFWriter, tokenizer: Any, pre: str) -> None:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["content"]: token["id"] for token in state["added_tokens"]}
    numbers = {**state["model"]["vocab"], **added}
    tokens = sorted(numbers, key=lambda token: numbers[token])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([control if t in added else normal for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in state["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)


def add_sentencepiece(writer: gguf.GGUFWriter) -> None:
    kinds = gguf.TokenType
    special = {"<unk>": kinds.UNKNOWN, "<s>": kinds.CONTROL, "</s>": kinds.CONTROL}
    words = [*"\u2581abcdefghijklmnopqrstuvwxyz0123456789", "bc", "ab", "\u2581ab"]
    words += [*"</>", "</", "</s"]  # that could merge to a special token
    tokens = {**special, **dict.fromkeys(words, kinds.NORMAL)}
    tokens["\n\n"] = tokens["  "] = kinds.USER_DEFINED
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(tokens))
    writer.add_token_types(list(tokens.values()))
    writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def llama_3() -> LanguageModel:
    """A model with a tokenizer as in the folder of Llama 3."""
    lm = make_lm("llama")
    state = json.loads(lm.tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    vocabulary["zqj"] = len(vocabulary)
    state["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens(["<s>"])
    start = ("<s>", tokenizer.token_to_id("<s>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[start]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    )
    fit_vocabulary(lm.model, wrapped)
    return LanguageModel(lm.model, wrapped)


def test_gguf_model_is_the_one_that_was_written(tmp_path: Path) -> None:
    lm = make_lm("llama")
    found = load_model(str(write_gguf(lm, tmp_path / "model.gguf")))
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    torch.testing.assert_close(found.model(ids).logits, lm.model(ids).logits)
    assert found.tokenizer(TEXT).input_ids == lm.tokenizer(TEXT).input_ids
    assert found.tokenizer.eos_token == lm.tokenizer.eos_token


def is_free(lock: Any) -> bool:
    """Whether this thread could take a lock."""
    taken: bool = lock.acquire(blocking=False)
    if taken:
        lock.release()
    return taken


@pytest.mark.parametrize(
    ("load", "reader"),
    [(load_model, "read_gguf"), (load_tokenizer, "read_gguf_tokenizer")],
)
def test_gguf_file_is_read_while_no_other_thread_loads(
    load: Any, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers changes torch's default dtype while it loads."""
    read = getattr(loading, reader)
    free = []

    def reading(*args: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            free.append(pool.submit(is_free, loading._loading_lock).result())
        return read(*args)

    monkeypatch.setattr(loading, reader, reading)
    load(str(write_gguf(make_lm("llama"), tmp_path / "model.gguf")))
    assert free == [False]


def test_gguf_tokenizer_keeps_all_characters(tmp_path: Path) -> None:
    for pre in ("gpt-2", "qwen2", "llama-bpe", "smollm"):
        file = write_gguf(make_lm("llama"), tmp_path / f"{pre}.gguf", pre=pre)
        tokenizer = load_tokenizer(str(file))
        assert tokenizer.decode(tokenizer(TEXT).input_ids) == TEXT


def test_gguf_tokenizer_splits_digits_as_its_model_did(tmp_path: Path) -> None:
    parts = {"smollm": ["1", "9", "5", "4"], "qwen2": ["1", "9", "5", "4"]}
    parts |= {"llama-bpe": ["195", "4"], "gpt-2": ["1954"]}
    for pre, expected in parts.items():
        file = write_gguf(make_lm("llama"), tmp_path / f"{pre}.gguf", pre=pre)
        backend = load_tokenizer(str(file)).backend_tokenizer
        words = backend.pre_tokenizer.pre_tokenize_str("1954")
        assert [word for word, _ in words] == expected


def test_gguf_tokenizer_gives_the_tokens_of_a_llama_3_folder(tmp_path: Path) -> None:
    lm = llama_3()
    file = write_gguf(lm, tmp_path / "model.gguf", pre="llama-bpe")
    found = load_tokenizer(str(file))
    for text in (TEXT, "zqj 12345 Zqj"):
        assert found(text).input_ids == lm.tokenizer(text).input_ids
    # "zqj" is a token that no merges lead to
    assert len(found("zqj", add_special_tokens=False).input_ids) == 1


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", ""])
@pytest.mark.parametrize("add_bos", [None, True, False])
def test_gguf_tokenizer_starts_texts_as_the_file_says(
    tmp_path: Path, pre: str, add_bos: bool | None
) -> None:
    file = write_gguf(llama_3(), tmp_path / "m.gguf", pre=pre, add_bos=add_bos)
    tokenizer = load_tokenizer(str(file))
    starts = pre != "gpt-2" if add_bos is None else add_bos
    start = TokenStrings(tokenizer).start()
    assert start == ([tokenizer.bos_token_id] if starts else [])
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert tokenizer("ab 1").input_ids[-1] != tokenizer.eos_token_id


def test_gguf_sentencepiece_tokenizer_cuts_words(tmp_path: Path) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf", pre="")
    tokenizer = load_tokenizer(str(file))
    ids = tokenizer("ab cd").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "\u2581ab", "\u2581", *"cd"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab cd"
    assert tokenizer.convert_ids_to_tokens(tokenizer("é").input_ids)[-1] == "<unk>"


def test_gguf_sentencepiece_tokenizer_merges_the_best_score_first(
    tmp_path: Path,
) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "m.gguf", pre="", add_space=False)
    tokenizer = load_tokenizer(str(file))
    (ids,) = TokenStrings(tokenizer).plain(["abc ab"])
    assert tokenizer.convert_ids_to_tokens(ids) == ["a", "bc", "\u2581ab"]


def test_gguf_sentencepiece_tokenizer_takes_typed_special_tokens_for_text(
    tmp_path: Path,
) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "m.gguf", pre="", add_space=False)
    tokenizer = load_tokenizer(str(file))
    (ids,) = TokenStrings(tokenizer).plain(["</s>"])
    assert tokenizer.convert_ids_to_tokens(ids) == ["</s", ">"]


def test_gguf_sentencepiece_tokenizer_keeps_tokens_of_the_user(tmp_path: Path) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "m.gguf", pre="", add_space=False)
    tokenizer = load_tokenizer(str(file))
    strings = TokenStrings(tokenizer)
    (ids,) = strings.plain(["a\n\nb  c"])
    assert tokenizer.convert_ids_to_tokens(ids) == ["a", "\n\n", "b", "  ", "c"]
    assert strings.decode(ids) == "a\n\nb  c"


def test_gguf_model_is_split_over_gpus(
    tmp_path: Path, gpus: PretendedGPUs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers 5 loads in threads, in which no GPUs are pretended
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    file = str(write_gguf(make_lm("llama"), tmp_path / "model.gguf"))
    lm, split = load_model(file), load_model(file, device_map="auto")
    assert len(split.shares) == 2
    for weight, other in zip(
        lm.model.parameters(), split.model.parameters(), strict=True
    ):
        assert torch.equal(weight, other.detach().cpu())


def test_gguf_unknown_tokenizer_is_an_error_that_names_the_remedy(
    tmp_path: Path,
) -> None:
    lm = make_lm("llama")
    file = write_gguf(lm, tmp_path / "model.gguf", pre="brand-new")
    with pytest.raises(ValueError, match=r"'brand-new'.* tokenizer\.json"):
        load_model(str(file))
    lm.tokenizer.save_pretrained(tmp_path)
    assert (
        load_model(str(file)).tokenizer(TEXT).input_ids == lm.tokenizer(TEXT).input_ids
    )


def test_gguf_files_beside_it_are_not_read(tmp_path: Path) -> None:
    lm = make_lm("llama")
    file = write_gguf(lm, tmp_path / "model.gguf")
    for name in ("config", "tokenizer_config", "adapter_config", "generation_config"):
        (tmp_path / f"{name}.json").write_text("{", "utf8")
    (tmp_path / "custom_generate").mkdir()
    code = 'raise SystemExit("this code ran")'
    (tmp_path / "custom_generate" / "generate.py").write_text(code, "utf8")
    assert (
        load_model(str(file)).tokenizer(TEXT).input_ids == lm.tokenizer(TEXT).input_ids
    )


def test_gguf_tokenizer_beside_it_goes_first_once_it_is_there(tmp_path: Path) -> None:
    lm = make_lm("llama")
    file = write_gguf(lm, tmp_path / "model.gguf")
    location = locate(str(file))
    tokenizer = Tokenizer.from_str(lm.tokenizer.backend_tokenizer.to_str())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_tokens(["<own>"])  # a few may be others
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert not location.is_unchanged()
    ids = load_tokenizer(str(file))(TEXT).input_ids
    assert ids == tokenizer.encode(TEXT).ids != lm.tokenizer(TEXT).input_ids


def test_gguf_tokenizer_of_another_model_beside_it_is_an_error(tmp_path: Path) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf")
    shutil.copy(BUNDLED["bundled-en-sm"] / "tokenizer.json", tmp_path)
    for load in (load_model, load_tokenizer):
        with pytest.raises(ValueError, match=r"beside .* is another model's: of its"):
            load(str(file))


def test_gguf_folder_of_such_a_name_is_a_model_folder(tmp_path: Path) -> None:
    shutil.copytree(model_folder(), tmp_path / "model.gguf")
    assert load_model(str(tmp_path / "model.gguf")).model.config.model_type == "qwen3"


@pytest.mark.parametrize("place", ["embed_tokens", "layers.1.mlp.up_proj", "norm"])
def test_gguf_missing_weight_is_an_error(tmp_path: Path, place: str) -> None:
    name = f"model.{place}.weight"
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf", without=name)
    with pytest.raises(ValueError, match=rf"lacks 1 of its weights, first {name}"):
        load_model(str(file))


def test_gguf_shard_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    lm = make_lm("llama")
    file = write_gguf(lm, tmp_path / "m-00001-of-00003.gguf", shards=3)
    with pytest.raises(ValueError, match=r"one of 3 files.* --merge"):
        load_model(str(file))
    assert load_tokenizer(str(file))(TEXT).input_ids == lm.tokenizer(TEXT).input_ids
    load_model(str(write_gguf(lm, tmp_path / "whole.gguf", shards=1)))


@pytest.mark.parametrize("key", ["model", "tokens", "merges"])
def test_gguf_without_a_tokenizer_is_an_error_that_names_the_remedy(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writer(gguf.GGUFWriter):
        def add_key_value(self, name: str, *value: Any, **more: Any) -> None:
            if name != f"tokenizer.ggml.{key}":
                super().add_key_value(name, *value, **more)

    monkeypatch.setattr(gguf, "GGUFWriter", Writer)
    file = write_gguf(make_lm("llama"), tmp_path / "small.gguf")
    with pytest.raises(ValueError, match=rf"no tokenizer \(.*{key} is missing\)\. C"):
        load_model(str(file))


def test_gguf_tokenizer_with_a_list_for_a_name_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_names(writer: gguf.GGUFWriter, name: str) -> None:
        writer.add_array("tokenizer.ggml.pre", [name, name])

    monkeypatch.setattr(gguf.GGUFWriter, "add_tokenizer_pre", add_names)
    file = write_gguf(make_lm("llama"), tmp_path / "small.gguf")
    with pytest.raises(ValueError, match=r"by the rule .*tokenizer\.json into"):
        load_model(str(file))


def test_gguf_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*model\.gguf\. Give the path"):
        load_model(str(tmp_path / "model.gguf"))


@pytest.mark.parametrize(
    ("begin", "error"),
    [
        (b"GGUF", "announces more keys, values or tensors than it holds"),
        (b"GGML", "Could not read the GGUF file .*download it again"),
    ],
)
def test_gguf_broken_file_is_an_error(tmp_path: Path, begin: bytes, error: str) -> None:
    (tmp_path / "model.gguf").write_bytes(begin + b"\xff" * 100)
    with pytest.raises(ValueError, match=error):
        load_model(str(tmp_path / "model.gguf"))


def test_gguf_cut_file_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf")
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"the GGUF file .*download it again"):
        load_model(str(file))


def test_gguf_file_in_a_folder_is_named(tmp_path: Path) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf")
    with pytest.raises(ValueError, match=f"give its path: {re.escape(str(file))}"):
        load_model(str(tmp_path))


def test_gguf_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf").rename(
        tmp_path / "MODEL.GGUF"
    )
    assert load_model(str(file)).model.config.vocab_size


def test_gguf_file_of_another_name_is_an_error_that_names_the_remedy(
    tmp_path: Path,
) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf").rename(
        tmp_path / "model.bin"
    )
    with pytest.raises(ValueError, match=r"is a file\. .*ends in \.gguf"):
        load_model(str(file))


def test_gguf_model_is_trained_saved_and_used_without_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    file = write_gguf(make_lm("llama"), folder / "model.gguf")
    nlp = make_nlp(model=named(file), labels=LABELS, prompt=COMPACT)
    nlp.initialize(lambda: gold_examples(nlp))
    losses = train(nlp, steps=3)
    assert losses[-1] < losses[0]
    nlp.to_disk(tmp_path / "trained")
    shutil.rmtree(folder)
    loaded = spacy.load(tmp_path / "trained")
    assert pipe_of(loaded).labels == pipe_of(nlp).labels
    loaded("Angela Merkel met Emmanuel Macron .")


def test_gguf_model_that_was_not_trained_is_saved_as_a_folder(tmp_path: Path) -> None:
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf")
    nlp = make_nlp(model=named(file), labels=LABELS, prompt=COMPACT)
    nlp.to_disk(tmp_path / "saved")
    assert (tmp_path / "saved" / NAME / "model" / "model.safetensors").is_file()


def test_gguf_model_can_be_quantized_again(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    file = write_gguf(make_lm("llama"), tmp_path / "model.gguf")
    lm = load_model(str(file), quantization={"load_in_4bit": True})
    layers = {type(module).__name__ for module in lm.model.modules()}
    assert "Linear4bit" in layers
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        assert lm.model(ids).logits.isfinite().all()
