"""Define the errors that users can cause. The command line prints their message and exits with status 2."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, 80, 80, 80
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 12


class IterError(Exception):
    """Report an error that the user can fix. Messages state the value, the place, and what was expected."""


class CorpusError(IterError):
    """Report all faults of corpus files at once.

    Args:
        faults: One line per fault. The message shows the first `LIMIT` of them.
    """

    LIMIT = 20

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        lines = self.faults[: self.LIMIT]
        if len(self.faults) > self.LIMIT:
            lines.append(f"... and {len(self.faults) - self.LIMIT} more")
        super().__init__("\n".join(lines))


class EncoderError(IterError):
    """Report that an encoder or tokenizer cannot be loaded."""


class ConfigError(IterError):
    """Report an invalid configuration."""


class TextError(IterError):
    """Report a text that no model can read.

    Args:
        number: Position of the text in its list or stream, from 0.
        reason: Description of the fault and its place in the text.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"text {number}: {reason}")
        self.number = number
        self.reason = reason

    def __reduce__(self) -> tuple[type[TextError], tuple[int, str]]:
        return TextError, (self.number, self.reason)


def shown(value: object) -> str:
    """Return the `repr` of a value for an error message, shortened to a few items, levels, and characters."""
    return _REPR.repr(value)
