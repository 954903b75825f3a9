"""What a format cannot hold: counted, told at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable


class Losses:
    """Counts by reason, told as `conll holds no relations: 1,204 left out`, in the order they first came up."""

    def __init__(self, format: str) -> None:
        self.format = format
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, why: str, number: int = 1, what: str = "left out") -> None:
        """Count `number` cases of `why`; `what` is what was done about them."""
        if number:
            self._counts[why, what] += number

    def notes(self) -> list[str]:
        """One line a reason."""
        return [f"{self.format} {why}: {count:,} {what}" for (why, what), count in self._counts.items()]


class SafeNames:
    """Names in the characters a format allows, different where they were different.

    Args:
        format: whose rule it is.
        forbidden: a pattern of what becomes `_`.
        names: those known before; the ones that need no change keep their spelling.
    """

    def __init__(self, format: str, forbidden: str, names: Iterable[str]) -> None:
        self.format = format
        self._forbidden = re.compile(forbidden)
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        names = tuple(names)
        for name in sorted(names, key=lambda name: self._safe(name) != name):
            self(name)
        self._names = {name: self._names[name] for name in names}

    def __call__(self, name: str) -> str:
        """The name as it is written."""
        if name not in self._names:
            safe, number = self._safe(name), 1
            while safe in self._taken:
                number += 1
                safe = f"{self._safe(name)}_{number}"
            self._names[name] = safe
            self._taken.add(safe)
        return self._names[name]

    def items(self) -> Iterable[tuple[str, str]]:
        """Each name so far and what is written for it, in the order they were given."""
        return self._names.items()

    def notes(self) -> list[str]:
        """The names that are written otherwise."""
        changed = [f"{name!r} is {safe}" for name, safe in self._names.items() if safe != name]
        return [f"{self.format} cannot spell all types: {', '.join(changed)}"] if changed else []

    def _safe(self, name: str) -> str:
        return self._forbidden.sub("_", name) or "_"
