"""A model server on loopback: a small model behind OpenAI's `/v1/completions`.

It answers as vLLM does, or with the faults that it is told to show.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from spacy_padellm.lm.language_model import LanguageModel

# status, headers, and the bytes at once or piece by piece
Reply = tuple[int, dict[str, str], bytes | Iterable[bytes]]
# sees path and body, and gives what to answer instead
Fault = Callable[[str, dict[str, Any]], Reply | None]


def continue_prompts(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    stop: Sequence[int],
) -> list[tuple[list[int], list[float]]]:
    """Continue prompts greedily, without a cache; gives tokens with their scores."""
    rows = [list(prompt) for prompt in prompts]
    scores: list[list[float]] = [[] for _ in rows]
    going = list(range(len(rows)))
    for _ in range(max_tokens):
        # what stands after a row's end changes nothing before it
        width = max(len(rows[row]) for row in going)
        ids = torch.tensor(
            [rows[row] + [0] * (width - len(rows[row])) for row in going]
        )
        with torch.inference_mode():
            logits = lm.model(ids, use_cache=False).logits
        for row, row_logits in zip(list(going), logits, strict=True):
            score, token = row_logits[len(rows[row]) - 1].log_softmax(-1).max(-1)
            rows[row].append(int(token))
            scores[row].append(float(score))
            if int(token) in stop:
                going.remove(row)
        if not going:
            break
    return [
        (row[len(prompt) :], row_scores)
        for prompt, row, row_scores in zip(prompts, rows, scores, strict=True)
    ]


class SmallServer:
    """Serves a model until it is left; it can be killed and started again.

    style (str): How token ids are given: "token_ids", "strings" as older versions of
        vLLM have it, or "content" as llama.cpp's server has it.
    """

    def __init__(self, lm: LanguageModel, *, style: str = "token_ids") -> None:
        self.lm = lm
        self.style = style
        self.fault: Fault | None = None
        self.context = lm.context
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str | None] = []
        self.under_way = self.most_under_way = 0
        self._model_lock, self._count_lock = threading.Lock(), threading.Lock()
        self._port = 0
        self.start()

    def start(self) -> None:
        """Listen, on the same port as before."""
        address = ("127.0.0.1", self._port)
        self._http = _Http(address, _handler(self))
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.01,)).start()

    def kill(self) -> None:
        """Stop listening, and cut the connections that are open."""
        self._http.shutdown()
        for connection in list(self._http.open):
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()  # waits for what is under way

    def __enter__(self) -> SmallServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def completions(self) -> list[dict[str, Any]]:
        """The bodies of all requests for completions."""
        return [body for path, body in self.requests if path == "/v1/completions"]

    def count(self, step: int) -> None:
        """Note that a request comes (1) or is answered (-1)."""
        with self._count_lock:
            self.under_way += step
            self.most_under_way = max(self.most_under_way, self.under_way)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/models":
            model = {"id": "small", "max_model_len": self.context}
            return 200, {"data": [model]}
        if path == "/detokenize":
            return 200, {"prompt": self.lm.tokenizer.decode(body["tokens"])}
        if path != "/v1/completions":
            return 404, {"error": {"message": "no such path"}}
        stop = body["stop_token_ids"]
        with self._model_lock:
            answers = continue_prompts(
                self.lm, body["prompt"], body["max_tokens"], stop
            )
        choices = [
            self._choice(index, ids, scores, "stop" if ids[-1] in stop else "length")
            for index, (ids, scores) in enumerate(answers)
        ]
        return 200, {"choices": choices[::-1]}  # their order is not promised

    def _choice(
        self, index: int, ids: list[int], scores: list[float], reason: str
    ) -> dict[str, Any]:
        text = self.lm.tokenizer.decode(ids, skip_special_tokens=True)
        choice = {"index": index, "text": text, "finish_reason": reason}
        if self.style == "content":
            content = [
                {"id": token, "logprob": score}
                for token, score in zip(ids, scores, strict=True)
            ]
            return {**choice, "logprobs": {"content": content}}
        tokens = [f"token_id:{token}" for token in ids]
        if self.style == "token_ids":
            choice["token_ids"] = ids
        return {**choice, "logprobs": {"tokens": tokens, "token_logprobs": scores}}


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 256  # many connections come at once

    def __init__(self, *args: Any) -> None:
        self.open: set[Any] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


def _handler(server: SmallServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._reply(json.loads(self.rfile.read(length)))

        def _reply(self, body: dict[str, Any]) -> None:
            server.requests.append((self.path, body))
            server.keys.append(self.headers["Authorization"])
            server.count(1)
            reply = server.fault(self.path, body) if server.fault else None
            if reply is None:
                status, answer = server.answer(self.path, body)
                reply = status, {}, json.dumps(answer).encode()
            server.count(-1)
            status, headers, content = reply
            headers = {"Content-Type": "application/json", **headers}
            self.send_response(status)
            if isinstance(content, bytes):
                headers.setdefault("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            written = 0
            for piece in [content] if isinstance(content, bytes) else content:
                written += self.wfile.write(piece)
            if int(headers["Content-Length"]) > written:
                self.close_connection = True

        def log_message(self, *args: Any) -> None:
            """Keep test output clean."""

    return Handler
