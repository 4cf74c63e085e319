"""Whether damaged and hostile input is read or reported, and never more than that.

Valid inputs are changed at random and given to the readers of `padellm.json`, of the
bytes of a component, of the answers of model servers, and of corpora. A reader may
return, or raise one of the package's own errors. Failures are all other errors, inputs
that take long, files that are written elsewhere, connections, processes and pickles.

    python -m benchmarks.fuzz --inputs 100000 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from wasabi import msg

from benchmarks.fuzz_targets import TARGETS
from spacy_padellm.errors import Errors, Warnings

SECONDS = 5  # of the processor that one input may take
LONGEST_MESSAGE = 20_000  # characters
SHOWN, SHOWN_CHARACTERS = 5, 3000  # failures of a target

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# audit event -> which of its arguments are paths that are changed
_CHANGES = {
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.chmod": (0,),
}
_FORBIDDEN = ("socket.connect", "subprocess.Popen", "os.system", "pickle.find_class")


@dataclass(slots=True)
class Watch:
    """Notes what the process does outside of its folder, while it is on.

    folder (str): The start of the paths of files that may be written.
    found (list[str]): What was done.
    """

    folder: str = ""
    on: bool = False
    found: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See `sys.addaudithook`."""
        if not self.on:
            return
        if event in _FORBIDDEN:
            self.found.append(f"{event} {arguments!r}"[:300])
        elif event == "open" and arguments[2] & _WRITES:
            self._note(event, arguments[0])
        elif event in _CHANGES and arguments[-1] == -1:
            # not relative to an open folder, as when a tree of folders is deleted
            for place in _CHANGES[event]:
                self._note(event, arguments[place])

    def _note(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        place = os.path.abspath(os.fsdecode(path))
        if not place.startswith(self.folder) and place != os.devnull:
            self.found.append(f"{event} {place}")


_watch = Watch()
sys.addaudithook(_watch)  # it cannot be removed


@dataclass(slots=True)
class Outcomes:
    """What became of the inputs of one target.

    read, reported (int): How many were read, and how many were an error of ours.
    failures (list[str]): What else happened, at most `SHOWN` of them in full.
    """

    read: int = 0
    reported: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    def fail(self, words: str) -> None:
        self.failed += 1
        if len(self.failures) < SHOWN:
            self.failures.append(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TARGETS, help="one target alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = [options.only] if options.only else list(TARGETS)
    total = sum(TARGETS[name].share for name in names)
    counts = {n: round(options.inputs * TARGETS[n].share / total) for n in names}
    outcomes_of = run(counts, seed=options.seed)
    rows = [
        (n, counts[n], t.read, t.reported, t.failed) for n, t in outcomes_of.items()
    ]
    header = ("target", "inputs", "read", "reported", "failed")
    msg.table(rows, header=header)
    for name, outcomes in outcomes_of.items():
        for failure in outcomes.failures:
            msg.fail(name, failure)
    if options.json:
        figures = [dict(zip(header, row, strict=True)) for row in rows]
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf8")
    if any(outcomes.failed for outcomes in outcomes_of.values()):
        raise SystemExit(1)


def run(counts: Mapping[str, int], *, seed: int) -> dict[str, Outcomes]:
    """Try inputs.

    counts (Mapping[str, int]): Target -> number of inputs.
    seed (int): Chooses them.
    RETURNS (dict[str, Outcomes]): Target -> what became of them.
    """
    outcomes_of = {}
    with _own_folder() as folder:
        _watch.folder = str(folder) + os.sep
        for name, count in counts.items():
            chance = random.Random(f"{seed} {name}")
            attempt = TARGETS[name].make(folder, chance)
            outcomes_of[name] = Outcomes()
            for number in range(count):
                _try(attempt, number, outcomes_of[name])
    return outcomes_of


def _try(attempt: Callable[[], None], number: int, outcomes: Outcomes) -> None:
    """Try one input."""
    _watch.found.clear()
    try:
        with _limited_time():
            _watch.on = True
            try:
                attempt()
            finally:
                _watch.on = False
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        if is_told(error):
            outcomes.reported += 1
        else:
            lines = "".join(traceback.format_exception(error, limit=-8))
            outcomes.fail(f"input {number}: {lines[-SHOWN_CHARACTERS:]}")
    else:
        outcomes.read += 1
    if _watch.found:
        outcomes.fail(f"input {number}: {_watch.found[:3]}")


def is_told(error: BaseException) -> bool:
    """Whether an error has one of the package's own messages."""
    words = str(error)
    known = isinstance(error, ConnectionError | ValueError)
    return (
        known
        and len(words) <= LONGEST_MESSAGE
        and any(piece in words for piece in _PIECES)
    )


def _longest_piece(template: str) -> str:
    """The longest part of a message without fields."""
    return max((text for text, *_ in Formatter().parse(template)), key=len)


_PIECES = [
    _longest_piece(template)
    for messages in (Errors, Warnings)
    for name, template in vars(messages).items()
    if not name.startswith("_")
]


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for all files, temporary ones too; the working directory is another."""
    temporary, directory = tempfile.tempdir, os.getcwd()
    outer = Path(tempfile.mkdtemp()).resolve()
    folder = outer / "inside"
    (folder / "temporary").mkdir(parents=True)
    (outer / "elsewhere").mkdir()
    os.chdir(outer / "elsewhere")
    tempfile.tempdir = str(folder / "temporary")
    try:
        yield folder
    finally:
        tempfile.tempdir = temporary
        os.chdir(directory)
        shutil.rmtree(outer)


@contextmanager
def _limited_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"it took longer than {SECONDS} seconds")

    # of processor time, as the machine may be busy
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


if __name__ == "__main__":
    main()
