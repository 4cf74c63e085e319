"""Make a small model that begins with what a large one knows of words.

    python scripts/small_base.py training/smollm2-base training/small-base \
        --size 12000 --texts assets/en/books assets/en/ungdc

LARGE is a folder, or the name of a bundled model. The small model's tokens are those of
the large one that the texts use most. The embedding of each is what the large model's
layers make of it inside two short contexts, in fewer dimensions (principal components),
as model2vec does for sentence embeddings. The layers begin with random weights.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pretrain import read
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, Qwen3Config
from trim_vocabulary import State, choose_tokens, count_tokens, trim_state, wrap

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model

HIDDEN, INTERMEDIATE, LAYERS, HEADS = 256, 1024, 4, 4
CONTEXT = 1024  # tokens
CONTEXTS = ((".", "."), (" the", " said"))  # what stands around a token
DEPTHS = (0, 0.2, 0.4, 2 / 3, 1)  # of the layers that are read; 0 is the embeddings
BATCH = 512  # tokens that are read at once
# a word has the same token at the start of a text as inside; no digit has a space in it
FIRST_SPACE = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": " "},
        {
            "type": "Replace",
            "pattern": {"Regex": r"\A (?=[\p{Han}\d])"},
            "content": "",
        },
    ],
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("large")
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, required=True, help="tokens to keep")
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    large = load_model(options.large, dtype=torch.bfloat16)
    state: State = json.loads(large.tokenizer.backend_tokenizer.to_str())
    state["normalizer"] = FIRST_SPACE
    texts = [text for path in options.texts for text in read(path, random.Random(0))]
    used = count_tokens(Tokenizer.from_str(json.dumps(state)), texts)
    tokens = choose_tokens(state, used, options.size)
    tokenizer = wrap(trim_state(state, tokens))
    model = make_small(tokenizer)
    known = [state["model"]["vocab"][token] for token in tokens]
    table = model.get_input_embeddings().weight
    vectors = components(meanings(large, known), HIDDEN)
    table.data.copy_(vectors * (table.data.std() / vectors.std()))
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{size / 1e6:.1f} M parameters, {len(tokens)} tokens: {options.output}")


def make_small(tokenizer: Any) -> Any:
    """A small model with random weights."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HIDDEN // HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


@torch.inference_mode()
def meanings(large: LanguageModel, tokens: Sequence[int]) -> torch.Tensor:
    """What layers make of tokens: (tokens, contexts * layers * width).

    The token is second in its sequence: the first one attracts attention in any case.
    """
    count = large.model.config.num_hidden_layers
    layers = [round(depth * count) for depth in DEPTHS]
    rows = []
    for start in range(0, len(tokens), BATCH):
        ids = torch.tensor(tokens[start : start + BATCH])[:, None]
        states = []
        for left, right in CONTEXTS:
            before, after = (
                torch.tensor(large.tokenizer.encode(part)).expand(len(ids), -1)
                for part in (left, right)
            )
            output = large.model(
                torch.cat([before, ids, after], dim=1), output_hidden_states=True
            )
            place = before.shape[1]
            for layer in layers:
                state = output.hidden_states[layer][:, place].float()
                states.append(torch.nn.functional.normalize(state, dim=1))
        rows.append(torch.cat(states, dim=1))
    return torch.cat(rows)


def components(vectors: torch.Tensor, size: int) -> torch.Tensor:
    """The principal components of vectors, small ones enlarged: (rows, size)."""
    vectors = vectors - vectors.mean(dim=0)
    left, sizes, _ = torch.svd_lowrank(vectors, q=size, niter=6)
    return left * sizes.sqrt()


if __name__ == "__main__":
    main()
