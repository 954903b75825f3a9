"""The errors a user can cause. The command line prints their message and exits with status 2."""

from __future__ import annotations

from collections.abc import Sequence


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
