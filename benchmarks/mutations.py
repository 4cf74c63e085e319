"""Random changes of valid inputs, for `benchmarks.fuzz`."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**400)),
    *(0.5, -3.0, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", " ", "x", "0", "false", "\0", "\ud800", "é", "e\u0301" * 50, "x" * 5000),
    *(
        "../../written",
        "/tmp/written",
        "{text}",
        "{0}",
        "{text:>99999999999}",
        "(a+)+$",
    ),
    *([], {}, [[]], [None], {"": None}, {"x": {"x": {"x": 1}}}, ["x"] * 500),
)
ODD_BYTES = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n", b"\t", b" ", b""),
    *(b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xcc\x81", b"\xf0\x9f\x98\x80", b"NaN"),
    *(b"[" * 3000, b'{"a":' * 3000, b"9" * 400, b"1e999", b"-1", b'"', b"'", b"\\"),
    *(b"{", b"}", b"[", b"]", b",", b":", b"|", b"B-", b"null", b"true", b"\\ud800"),
)


def mutated_json(value: Any, chance: random.Random) -> Any:
    """Change some parts of a JSON value, or all of it; the value itself stays."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = [*_places(value)]
        if not places or chance.random() < 0.02:
            return _odd_value(chance)
        inner, key = chance.choice(places)
        _change(inner, key, chance)
    return value


def mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.choice((0, 1, 1, 4, 50)))
        kind = chance.randrange(5)
        if kind == 0:
            changed[start:end] = chance.choice(ODD_BYTES)
        elif kind == 1:
            changed[start:end] = chance.randbytes(end - start)
        elif kind == 2:
            changed[start:start] = changed[start:end] * chance.choice((1, 2, 40))
        elif kind == 3:
            del changed[start:end]
        elif chance.random() < 0.2:
            del changed[start:]
    return bytes(changed)


def to_bytes(value: Any, chance: random.Random) -> bytes:
    """Write a JSON value, sometimes with broken bytes."""
    data = json.dumps(value).encode()
    return mutated_bytes(data, chance) if chance.random() < 0.2 else data


def _places(value: Any) -> list[tuple[Any, Any]]:
    """The parts of a JSON value: a list or an object, and the index or key in it."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            found += [(inner, key) for key in inner]
            waiting += inner.values()
        elif isinstance(inner, list):
            found += [(inner, index) for index in range(len(inner))]
            waiting += inner
    return found


def _change(inner: Any, key: Any, chance: random.Random) -> None:
    kind = chance.randrange(8)
    if kind == 0:
        del inner[key]
    elif kind == 1 and isinstance(inner, dict):
        inner[_odd_key(chance)] = inner.pop(key)
    elif kind == 2 and isinstance(inner, list):
        inner.insert(key, copy.deepcopy(chance.choice(inner)))
    elif kind == 3:
        inner[key] = chance.choice(([inner[key]], {"x": inner[key]}, str(inner[key])))
    elif kind == 4 and isinstance(inner[key], str):
        text = inner[key].encode("utf8", "surrogatepass")
        inner[key] = mutated_bytes(text, chance).decode("utf8", "surrogateescape")
    else:
        inner[key] = _odd_value(chance)


def _odd_value(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(ODD_VALUES))


def _odd_key(chance: random.Random) -> str:
    return chance.choice([value for value in ODD_VALUES if isinstance(value, str)])
