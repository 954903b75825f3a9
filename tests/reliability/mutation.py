"""Random damage to valid files, from a seed."""

from __future__ import annotations

import json
import random
from typing import Any

BIG = "@5000 digits@"
"""Stands for an integer of 5,000 digits, which `dumped` writes."""
DEEP = "@100,000 levels@"
"""Stands for a list of 100,000 levels."""


def nested(depth: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


JUNK: tuple[Any, ...] = (
    None, True, False, -1, 0, 3, 10**30, -(10**18), 1.5, 1e308, float("nan"), "", " ", "Ada", "\ud800", "a\udcffb",
    "\0", "\u202e\u0301", "x" * 2000, [], [[]], {}, {"start": 0}, [None], ["a", 1], BIG, DEEP, nested(50), nested(400),
)  # fmt: skip
BYTES = (
    b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n", b"\t", b'"', b"\\",
    b"[" * 3000, b"{", b"1" * 5000, b",", b"\xf0\x9f\x98\x80", b"-DOCSTART-", b"<", b"&", b"]]>",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037", "latin-1", "utf-8-sig")


def dumped(value: Any) -> str:
    """JSON, with what `BIG` and `DEEP` stand for."""
    text = json.dumps(value).replace(f'"{BIG}"', "9" * 5000)
    return text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000)


def damaged_value(rng: random.Random, value: Any) -> Any:
    """The value with one to three of its parts replaced, removed, repeated or renamed."""
    for _ in range(rng.randint(1, 3)):
        value = _damage(rng, value)
    return value


def _damage(rng: random.Random, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return rng.choice(JUNK)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    action = rng.random()
    if action < 0.1:
        del copy[key]
    elif action < 0.2 and isinstance(copy, list):
        copy.insert(key, copy[rng.randrange(len(copy))])
    elif action < 0.2 and isinstance(copy, dict):
        copy[rng.choice(("", "\ud800", "end", "text", key + " "))] = copy.pop(key)
    else:
        copy[key] = _damage(rng, copy[key])
    return copy


def damaged_bytes(rng: random.Random, data: bytes) -> bytes:
    """The bytes with a flip, a cut, an insertion, a repetition, a swap or another encoding."""
    action = rng.randrange(7)
    if action == 0:
        return data[: rng.randrange(len(data) + 1)]
    if action == 1:
        return data[rng.randrange(len(data) + 1) :]
    if action == 2:
        try:
            return data.decode().encode(rng.choice(ENCODINGS), "replace")
        except UnicodeDecodeError:
            return data[::-1]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(changed) + 1)
        if action == 3:
            changed[place : place + 1] = bytes([rng.randrange(256)])
        elif action == 4:
            changed[place:place] = rng.choice(BYTES)
        elif action == 5:
            changed[place:place] = changed[place : place + rng.randrange(40)]
        else:
            del changed[place : place + rng.randrange(1, 20)]
    return bytes(changed)
