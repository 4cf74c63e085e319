"""The memory of the running command and its workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024  # in KiB, the unit of /proc
COMMAND = "command"


@dataclass(slots=True)
class Memory:
    """A process's resident memory in MiB.

    peak (float): The peak of the run.
    samples (list[tuple[float, float]]): Pairs of the share of finished shards and the
        memory at that time.
    """

    peak: float = 0
    samples: list[tuple[float, float]] = field(default_factory=list)

    def highest(self, first: float, last: float) -> float | None:
        """The highest sample in a part of the run; None if there is none.

        first, last (float): Shares of finished shards; `last` is excluded unless 1.
        """
        found = [
            m
            for share, m in self.samples
            if first <= share < last or share == last == 1
        ]
        return max(found, default=None)

    def facts(self) -> dict[str, float | list[float | None] | None]:
        """The peak, the peak of each quarter, and the growth.

        RETURNS (dict): "growth" is how much higher the last quarter of the run is than
            the first, as a share; the first tenth is left out as warm-up.
        """
        early, late = self.highest(0.1, 0.25), self.highest(0.75, 1)
        quarters = [self.highest(n / 4, (n + 1) / 4) for n in range(4)]
        return {
            "peak": round(self.peak),
            "quarters": [None if q is None else round(q) for q in quarters],
            "growth": late / early - 1 if early and late else None,
        }


def read_status(folder: Path) -> dict[str, str]:
    """The status of a process from /proc; empty if it has ended."""
    try:
        lines = (folder / "status").read_text("utf8").splitlines()
        command = (folder / "cmdline").read_bytes().decode()
    except OSError:
        return {}
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {**status, "command": command}


def workers_of(parent: int) -> Iterator[tuple[int, dict[str, str]]]:
    """The process ids and statuses of a command's workers."""
    for folder in Path("/proc").glob("[0-9]*"):
        status = read_status(folder)
        if status.get("PPid") == str(parent) and "spawn_main" in status["command"]:
            yield int(folder.name), status


def read_memory(parent: int, share: float, seen: dict[str, Memory]) -> None:
    """Sample the memory of a command and its workers.

    parent (int): The command's process id.
    share (float): Share of finished shards.
    seen (dict[str, Memory]): Name of a process -> its memory; updated.
    """
    processes = {COMMAND: read_status(Path(f"/proc/{parent}"))}
    for pid, status in workers_of(parent):
        processes[f"worker {pid}"] = status
    for name, status in processes.items():
        # processes that have ended have no memory
        if "VmRSS" in status:
            memory = seen.setdefault(name, Memory())
            memory.peak = int(status["VmHWM"].split()[0]) / MIB
            memory.samples.append((share, int(status["VmRSS"].split()[0]) / MIB))
