"""Count what a format cannot represent, and report it at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable


class Losses:
    """Counts of what a format cannot represent, by reason.

    Args:
        format: the name of the format, with which notes begin.

    Example:
        >>> losses = Losses("conll")
        >>> losses.add("holds no relations", 1204)
        >>> losses.notes()
        ['conll holds no relations: 1,204 left out']
    """

    def __init__(self, format: str) -> None:
        self.format = format
        self._counts: Counter[tuple[str, str]] = Counter()
        self._names: list[SafeNames] = []
        self._notes: list[str] = []

    def add(self, why: str, number: int = 1, what: str = "left out") -> None:
        """Count `number` cases of `why`; `what` says what was done about them."""
        if number:
            self._counts[why, what] += number

    def note(self, text: str) -> None:
        """Report a sentence of the format's own."""
        self._notes.append(text)

    def safe_names(self, forbidden: str, names: Iterable[str] = ()) -> SafeNames:
        """Return names of types in the characters that the format allows; changed ones are reported."""
        self._names.append(SafeNames(forbidden, names))
        return self._names[-1]

    def notes(self) -> list[str]:
        """Return a line per reason, in the order in which reasons first occurred."""
        counts = [f"{self.format} {why}: {count:,} {what}" for (why, what), count in self._counts.items()]
        changed = [", ".join(names.changed()) for names in self._names if names.changed()]
        return [*counts, *(f"{self.format} cannot spell all types: {names}" for names in changed), *self._notes]


class SafeNames:
    """Maps names to names without forbidden characters, so that different names stay different.

    Args:
        forbidden: pattern of the characters that become `_`.
        names: names known from the start; those that need no change keep their spelling.
    """

    def __init__(self, forbidden: str, names: Iterable[str] = ()) -> None:
        self._forbidden = re.compile(forbidden)
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        names = tuple(names)
        for name in sorted(names, key=lambda name: self._safe(name) != name):
            self(name)
        self._names = {name: self._names[name] for name in names}

    def __call__(self, name: str) -> str:
        """Return the safe spelling of a name."""
        if name not in self._names:
            safe, number = self._safe(name), 1
            while safe in self._taken:
                number += 1
                safe = f"{self._safe(name)}_{number}"
            self._names[name] = safe
            self._taken.add(safe)
        return self._names[name]

    def items(self) -> Iterable[tuple[str, str]]:
        """Return each name so far with its safe spelling."""
        return self._names.items()

    def changed(self) -> list[str]:
        """Describe the names that are spelled differently."""
        return [f"{name!r} is {safe}" for name, safe in self._names.items() if safe != name]

    def _safe(self, name: str) -> str:
        return self._forbidden.sub("_", name) or "_"
