"""The errors a user can cause. The command line prints their message and exits with status 2."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, 80, 80, 80
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 12


class IterError(Exception):
    """Something the user can put right; the message says what was found, what was expected, and where."""


class CorpusError(IterError):
    """Faults of corpus files, all of them at once: one line a fault, at most `LIMIT` shown."""

    LIMIT = 20

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        lines = self.faults[: self.LIMIT]
        if len(self.faults) > self.LIMIT:
            lines.append(f"... and {len(self.faults) - self.LIMIT} more")
        super().__init__("\n".join(lines))


class EncoderError(IterError):
    """An encoder or tokenizer that cannot be loaded."""


class ConfigError(IterError):
    """A configuration that cannot work."""


class TextError(IterError):
    """A text that cannot be read by a model.

    Args:
        number: its place in the list or stream, from 0.
        reason: what is wrong with it, and where.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"text {number}: {reason}")
        self.number = number
        self.reason = reason

    def __reduce__(self) -> tuple[type[TextError], tuple[int, str]]:
        return TextError, (self.number, self.reason)


def shown(value: object) -> str:
    """A value for an error message: its `repr`, cut after a few items, levels and characters."""
    return _REPR.repr(value)
