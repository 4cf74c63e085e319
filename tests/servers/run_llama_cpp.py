"""llama.cpp's own HTTP server, from a package that brings it built.

Usage: python run_llama_cpp.py MODEL.gguf --host HOST --port PORT
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    args = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.model_alias = {"ner"}
    params.hostnames = [args.host]
    params.port = args.port
    params.n_ctx = 4096
    params.n_parallel = 4
    # as exact as it gets
    flash = xllamacpp.llama_flash_attn_type
    params.flash_attn_type = flash.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
