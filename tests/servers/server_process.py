"""Real model servers as processes on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

START = 900  # seconds that a server may take to start


class Server:
    """A server process that can be killed and started again."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = unused.getsockname()[1]
        self._command = [*command, "--host", "127.0.0.1", "--port", str(self.port)]
        self._environment = {**os.environ, **environment}
        self._log = log

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + START
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.root}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        self.kill()
        pytest.fail(f"the server did not start:\n{self._log.read_text()[-4000:]}")

    def kill(self) -> None:
        """Kill it with all its processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.root}{path}", timeout=60) as response:
            return str(response.read(), "utf8")


def running(server: Server) -> Iterator[Server]:
    server.start()
    server.wait()
    try:
        yield server
    finally:
        server.kill()
