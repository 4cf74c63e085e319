"""Models that announce more than they have are refused before they are made."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import decoders
from trust_helpers import change, write_adapter, write_model

from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.tokenizer import check_tokenizer
from spacy_padellm.lm.loading import load_model, load_tokenizer
from spacy_padellm.lm.trust.announced import check_announced
from spacy_padellm.lm.trust.gguf_header import check_gguf
from spacy_padellm.lm.trust.growth import check_growth
from spacy_padellm.lm.trust.sizes import size_limits


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("original"))


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def refuses(folder: Path, error: str, found: str = "") -> bool:
    """Whether loading gives this error, with the words that it found."""
    begin = re.escape(error.split("{")[0].strip()) if error[0] != "{" else ""
    with pytest.raises(ValueError, match=f"{begin}.*{found}"):
        load_model(str(folder))
    return True


# Numbers in the settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 10**7),
        ("num_labels", 10**9),
        ("vocab_size", 10**12),
        ("hidden_size", 10**12),
        ("text_config", {"num_hidden_layers": 10**7}),
        ("attention_types", [[["global"], 10**9]]),
        ("no_such_field", 10**12),
    ],
)
def test_trust_number_that_no_model_has_is_refused(
    model: Path, field: str, value: Any
) -> None:
    change(model / "config.json", **{field: value})
    assert refuses(model, Errors.P770, r"config\.json has .* = 10+, more than any")


@pytest.mark.parametrize(
    ("field", "count"),
    [("id2label", 10_001), ("layer_types", 10_001), ("no_such_field", 50_001)],
)
def test_trust_settings_with_too_many_entries_are_refused(
    model: Path, field: str, count: int
) -> None:
    change(model / "config.json", **{field: {str(i): "x" for i in range(count)}})
    assert refuses(model, Errors.P771, f"{count} entries in '{field}'")


@pytest.mark.parametrize(
    "settings",
    [
        {"rope_theta": 10**9, "max_position_embeddings": 10_485_760},
        {"sliding_window": 2**31, "max_length": 10**20},
        {"tokens_seen": 2 * 10**12, "total_flos": 10**18},
        {"vocab_size": 300_000, "max_window_layers": 100, "num_labels": 2},
        {"vocab_size_per_layer_input": 262_144, "eos_token_id": [151_643, 151_645]},
        {"weight_block_size": [128, 128], "id2label": {"0": "A", "1": "B"}},
    ],
)
def test_trust_numbers_of_real_models_are_allowed(settings: dict[str, Any]) -> None:
    check_announced(settings, source="config.json")


# Settings against weights


@pytest.mark.parametrize(
    "settings",
    [
        {"num_hidden_layers": 1_000},
        {"vocab_size": 16_000_000},
        {"intermediate_size": 16_000_000},
        {"model_type": "gpt2", "max_position_embeddings": 10**7},
    ],
)
@pytest.mark.parametrize("kind", ["safetensors", "quantized", "bin"])
def test_trust_model_larger_than_its_weights_is_refused(
    model: Path, settings: dict[str, Any], kind: str
) -> None:
    weights = model / "model.safetensors"
    if kind == "quantized":
        weights.rename(model / "quantized.safetensors")
    elif kind == "bin":
        torch.save(load_file(weights), model / "pytorch_model.bin")
        weights.unlink()
    change(model / "config.json", **settings)
    assert refuses(model, Errors.P772)


def test_trust_dtype_stays_after_a_model_was_refused(model: Path) -> None:
    change(model / "config.json", vocab_size=16_000_000, torch_dtype="bfloat16")
    assert refuses(model, Errors.P772)
    assert torch.get_default_dtype() == torch.float32


def test_trust_packed_weights_may_be_many(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1000, dtype=torch.int32)}, tmp_path / "q.safetensors")
    plain = tmp_path / "plain"
    plain.mkdir()
    save_file({"x": torch.zeros(1000)}, plain / "model.safetensors")
    assert size_limits(tmp_path).values - size_limits(plain).values == 2 * 31 * 1000


def test_trust_weights_of_a_hub_model_may_be_very_many() -> None:
    assert size_limits("some-one/some-model").values > 4 * 10**12


# Adapters


def name_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """The settings of an adapter that is refused before its weights are read."""
    folder.mkdir()
    settings = {"peft_type": "LORA", **settings}
    change(
        folder / "adapter_config.json", base_model_name_or_path=str(base), **settings
    )
    return folder


@pytest.mark.parametrize("base", ["pissa", "corda"])
def test_trust_adapter_with_many_steps_is_refused(
    model: Path, tmp_path: Path, base: str
) -> None:
    method = f"{base}_niter_1000000000"
    adapter = name_adapter(tmp_path / "adapter", model, init_lora_weights=method)
    assert refuses(adapter, Errors.P776, f"init_lora_weights = '{method}'")


@pytest.mark.parametrize(
    "settings",
    [
        {"init_lora_weights": "loftq", "loftq_config": {"loftq_iter": 10**6}},
        {"r": 10**9},
        {"rank_pattern": {"q_proj": 10**9}},
    ],
)
def test_trust_adapter_with_a_large_number_is_refused(
    model: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = name_adapter(tmp_path / "adapter", model, **settings)
    assert refuses(adapter, Errors.P770, r"adapter_config\.json has .*0, more than any")


def test_trust_adapter_with_many_copies_of_layers_is_refused(
    model: Path, tmp_path: Path
) -> None:
    copies = [[0, 2]] * 1000
    adapter = name_adapter(tmp_path / "adapter", model, layer_replication=copies)
    assert refuses(adapter, Errors.P771, "1000 entries in 'layer_replication'")


@pytest.mark.parametrize("field", ["rank_pattern", "alpha_pattern"])
@pytest.mark.parametrize(("count", "length"), [(1001, 1), (300, 400)])
def test_trust_adapter_with_many_patterns_is_refused(
    model: Path, tmp_path: Path, field: str, count: int, length: int
) -> None:
    names = {f"{number:04}{'q' * length}": 4 for number in range(count)}
    adapter = name_adapter(tmp_path / "adapter", model, **{field: names})
    saying = f"{count} entries of {count * (4 + length)} characters in '{field}'"
    assert refuses(adapter, Errors.P1010, saying)


def test_trust_adapter_larger_than_its_weights_is_refused(
    model: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model, r=16_000_000)
    assert refuses(adapter, Errors.P772)


# Tokenizers


def change_tokenizer(folder: Path, **parts: Any) -> None:
    content = json.loads((folder / "tokenizer.json").read_text("utf8"))
    (folder / "tokenizer.json").write_text(json.dumps({**content, **parts}), "utf8")


def replace(pattern: Any, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def charsmap(longest: int) -> str:
    """A table of sentencepiece, with an empty trie."""
    table = struct.pack("<I", 4) + b"\0" * 4 + b"x" * longest + b"\0"
    return base64.b64encode(table).decode()


STEPS = {
    "replace": [replace({"String": "a"}, "a" * 200)] * 3,
    "regex": [replace({"Regex": "zq.*"}, "a" * 200)] * 3,
    "nothing": [replace({"Regex": "(?=a)"}, "a")] * 20,  # puts one before each "a"
    "prepend": [{"type": "Prepend", "prepend": "x" * 200}] * 3,
    "charsmap": [{"type": "Precompiled", "precompiled_charsmap": charsmap(100_000)}],
    "bytes": [{"type": "ByteLevel"}] * 20,
}


@pytest.mark.parametrize("kind", sorted(STEPS))
@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_trust_tokenizer_that_blows_texts_up_is_refused(
    model: Path, kind: str, load: Any
) -> None:
    # as it is before a library reads it
    normalizer = {"type": "Sequence", "normalizers": STEPS[kind]}
    nested = {"type": "Sequence", "normalizers": [normalizer]}
    change_tokenizer(model, normalizer=nested)
    with pytest.raises(
        ValueError, match=r"tokenizer\.json may turn one character into \d+"
    ):
        load(str(model))


def test_trust_tokenizer_that_cuts_words_in_many_steps_is_refused(model: Path) -> None:
    cuts = [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}] * 9
    change_tokenizer(
        model, pre_tokenizer={"type": "Sequence", "pretokenizers": cuts, "x": 1}
    )
    assert refuses(model, "The normalizer and the pre_tokenizer")


def test_trust_tokenizer_that_adds_many_tokens_is_refused(model: Path) -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [],
        "special_tokens": {
            "</s>": {"id": "</s>", "ids": [0] * 5000, "tokens": ["</s>"] * 5000}
        },
    }
    change_tokenizer(
        model, post_processor={"type": "Sequence", "processors": [template]}
    )
    assert refuses(model, "The post_processor in", "adds 5001 tokens")


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_trust_tokenizer_that_blows_decoded_tokens_up_is_refused(
    model: Path, load: Any
) -> None:
    steps = {"type": "Sequence", "decoders": STEPS["replace"]}
    change_tokenizer(model, decoder={"type": "Sequence", "decoders": [steps]})
    with pytest.raises(ValueError, match=r"The decoder in .*tokenizer\.json may turn"):
        load(str(model))


def test_trust_decoder_that_is_not_in_a_file_is_checked(model: Path) -> None:
    tokenizer = load_tokenizer(str(model))
    steps = [decoders.BPEDecoder(suffix="")] * 20  # each puts spaces between letters
    tokenizer.backend_tokenizer.decoder = decoders.Sequence(steps)
    with pytest.raises(ValueError, match="The decoder in"):
        check_tokenizer(tokenizer)


def test_trust_decoder_of_llama_is_allowed() -> None:
    steps = [
        replace({"String": "▁"}, " "),
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    decoder = {"type": "Sequence", "decoders": steps}
    check_growth({"decoder": decoder}, source="tokenizer.json")


def test_trust_tokenizer_that_adds_the_tokens_of_a_piece_many_times_is_refused(
    model: Path,
) -> None:
    text = {"Sequence": {"id": "A", "type_id": 0}}
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [text, *[end] * 500],
        "pair": [],
        "special_tokens": {
            "</s>": {"id": "</s>", "ids": [0] * 400, "tokens": ["</s>"] * 400}
        },
    }
    change_tokenizer(model, post_processor=template)
    assert refuses(model, "The post_processor in", "adds 200501 tokens")


def test_trust_steps_of_albert_are_allowed() -> None:
    normalizers = [
        replace({"String": "``"}, '"'),
        {"type": "NFKD"},
        {"type": "StripAccents"},
        {"type": "Lowercase"},
        {"type": "Precompiled", "precompiled_charsmap": charsmap(33)},
        replace({"Regex": " {2,}"}, " "),
    ]
    tokenizer = {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁"},
        "post_processor": None,
    }
    check_growth(tokenizer, source="tokenizer.json")


# GGUF files


def write_gguf(path: Path, *fields: bytes, count: int | None = None) -> Path:
    header = struct.pack(
        "<4sIQQ", b"GGUF", 3, 0, len(fields) if count is None else count
    )
    path.write_bytes(header + b"".join(fields))
    return path


def field(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + content


@pytest.mark.parametrize(
    "wrong",
    [
        array(0, 2**40),
        array(4, 10, b"\0" * 39),
        array(8, 2**40),
        array(9, 1, array(0, 1, b"\0")),
        array(0, 5_000_000, b"\0" * 5_000_000),
        array(99, 1),
    ],
)
def test_trust_gguf_with_a_wrong_array_is_refused(tmp_path: Path, wrong: bytes) -> None:
    pytest.importorskip("gguf")
    file = write_gguf(tmp_path / "m.gguf", field("general.x", 9, wrong))
    assert refuses(file, "The GGUF file")


def test_trust_gguf_with_too_many_keys_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", count=2**60)
    with pytest.raises(ValueError, match="announces more keys"):
        check_gguf(file)


def test_trust_gguf_with_too_many_layers_is_refused(tmp_path: Path) -> None:
    layers = field("llama.block_count", 4, struct.pack("<I", 10**7))
    file = write_gguf(tmp_path / "m.gguf", layers)
    with pytest.raises(ValueError, match=r"llama\.block_count = 10000000"):
        check_gguf(file)


def test_trust_gguf_header_is_read_to_its_end(tmp_path: Path) -> None:
    texts = [b"a", b"bcd"]
    strings = b"".join(struct.pack("<Q", len(t)) + t for t in texts)
    fields = [
        field("general.name", 8, strings[:9]),
        field("tokenizer.ggml.tokens", 9, array(8, 2, strings)),
        field("tokenizer.ggml.scores", 9, array(6, 2, b"\0" * 8)),
        field("llama.rope.freq_base", 6, struct.pack("<f", 1e9)),
        field("llama.block_count", 4, struct.pack("<I", 10**7)),
    ]
    check_gguf(write_gguf(tmp_path / "good.gguf", *fields[:-1]))
    with pytest.raises(ValueError, match="block_count"):
        check_gguf(write_gguf(tmp_path / "wrong.gguf", *fields))


@pytest.mark.parametrize("key", ["extra_ids", "offset", "any_other"])
def test_trust_tokenizer_with_too_many_tokens_of_its_own_is_refused(
    model: Path, key: str
) -> None:
    change(model / "tokenizer_config.json", tokenizer_class="ByT5Tokenizer")
    change(model / "tokenizer_config.json", **{key: 10**9})
    assert refuses(model, Errors.P770, f"{key} = 1000000000")


def test_trust_tokenizer_may_take_texts_of_any_length(model: Path) -> None:
    change(model / "tokenizer_config.json", model_max_length=10**30, extra_ids=125)
    assert load_model(str(model)).tokenizer is not None
