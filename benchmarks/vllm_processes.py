"""vLLM as a server and offline, with the same settings."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).with_name("vllm_offline.py")


class Process:
    """A process, and the processor time of it and its children."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def seconds(self) -> dict[str, float]:
        """Processor seconds of the process ("front") and its children ("engine")."""
        children: set[int] = set()
        last = {self.process.pid}
        known = map(int, filter(str.isdecimal, os.listdir("/proc")))
        parents = {pid: _parent(pid) for pid in known}
        while last:
            last = {pid for pid, parent in parents.items() if parent in last}
            children |= last
        return {
            "front": _seconds(self.process.pid),
            "engine": sum(map(_seconds, children)),
        }

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Server(Process):
    """vLLM's server on loopback."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        super().__init__(process)
        self.root = f"http://127.0.0.1:{port}"

    def wait(self) -> None:
        """Wait until the server answers.

        RAISES (RuntimeError): If the process ends first.
        """
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.root}/health").close()
                return
            except OSError:
                time.sleep(0.5)
        raise RuntimeError("vLLM's server did not start")

    def forget(self) -> None:
        """Empty the prefix cache."""
        url = f"{self.root}/reset_prefix_cache"
        urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()


class Offline(Process):
    """vLLM's `LLM.generate`, in a separate process."""

    def run(self) -> float:
        """Run once with an empty cache; returns the seconds.

        RAISES (RuntimeError): If the process ends first.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("run", file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError("vLLM ended")


@contextmanager
def serving(
    python: str, engine: Mapping[str, object], environment: Mapping[str, str]
) -> Iterator[Server]:
    """Run a server.

    python (str): The Python interpreter of vLLM's environment.
    engine (Mapping[str, object]): Arguments of the engine.
    environment (Mapping[str, str]): Environment variables to set.
    """
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [python, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--disable-uvicorn-access-log"]
    for name, value in engine.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    variables = {
        **os.environ,
        **environment,
        "VLLM_SERVER_DEV_MODE": "1",  # enables /reset_prefix_cache
    }
    server = Server(
        subprocess.Popen(command, env=variables, start_new_session=True, text=True),
        port,
    )
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@contextmanager
def offline(
    python: str,
    engine: Mapping[str, object],
    environment: Mapping[str, str],
    task: Path,
) -> Iterator[Offline]:
    """Run `LLM.generate` on the prompts of a file; see `serving`."""
    work = {**json.loads(task.read_text()), "engine": dict(engine)}
    task.write_text(json.dumps(work))
    process = subprocess.Popen(
        [python, str(SCRIPT), str(task)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    running = Offline(process)
    try:
        yield running
    finally:
        running.kill()


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def _seconds(pid: int) -> float:
    fields = _fields(pid)
    ticks = int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")
