"""The journal of a sweep, `trials.jsonl`: one event a line, written to disk before anything depends on it.

{"event": "sweep", ...}                                            the sweep's definition, once
{"event": "asked", "number": 2, "values": {...}, "budget": 1.0}    a trial is about to start
{"event": "told", "number": 2, "status": "finished", "dev_f1": 0.5, "cost": 0.5, "seconds": 9.1, "folder": ...}

Trial 1 is the unchanged experiment and has no values.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.studies.sweeps.search import Proposal


@dataclass
class Trial:
    """One training of a sweep."""

    number: int
    """Counted from 1."""
    proposal: Proposal
    """Its values; none for trial 1."""
    status: str = "running"
    """`running` (also after a kill), `finished` or `crashed`."""
    f1: float | None = None
    """The best dev F1 of its epochs, in [0, 1]; None if it crashed."""
    seconds: float = 0.0
    reason: str = ""
    """The last lines of a crashed trial's log."""

    @property
    def cost(self) -> float:
        """The cost reported to SMAC: 1 - F1, and 1 for a crash."""
        return 1.0 if self.f1 is None else 1.0 - self.f1

    @property
    def epochs(self) -> int | None:
        """The budget as whole epochs; None for the experiment's own number of epochs."""
        return None if self.proposal.budget is None else max(1, round(self.proposal.budget))

    @property
    def folder(self) -> str:
        """The run folder, relative to the sweep's folder."""
        return f"trials/{self.number:04d}"


@dataclass
class Journal:
    """The events of a sweep.

    Raises:
        ConfigError: A damaged line. The last line may have been cut by a kill; it is dropped.
    """

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    """Definition of the sweep; empty before the first start."""
    trials: list[Trial] = field(default_factory=list)
    """All trials in the order of their numbers."""

    def __post_init__(self) -> None:
        raw = self.path.read_bytes() if self.path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
                raise ConfigError(
                    f"{self.path}: line {number} is damaged ({error}); move the folder away to start again"
                ) from error

    def start(self, header: dict[str, Any]) -> None:
        """Record the definition of the sweep."""
        self._add({"event": "sweep", **header})

    def ask(self, proposal: Proposal) -> Trial:
        """Record a new trial."""
        number = len(self.trials) + 1
        self._add({"event": "asked", "number": number, "values": proposal.values, "budget": proposal.budget})
        return self.trials[-1]

    def tell(self, number: int, f1: float | None, seconds: float, reason: str = "") -> Trial:
        """Record how a trial ended; it crashed if there is no F1."""
        trial = self.trials[number - 1]
        self._add({
            "event": "told", "number": number, "status": "crashed" if f1 is None else "finished", "dev_f1": f1,
            "cost": 1.0 if f1 is None else 1.0 - f1, "seconds": seconds, "folder": trial.folder, "reason": reason,
        })  # fmt: skip
        return trial

    def _add(self, event: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "sweep":
            self.header = {key: value for key, value in event.items() if key != "event"}
        elif event["event"] == "asked":
            self.trials.append(Trial(event["number"], Proposal(event["values"], event["budget"])))
        else:
            trial = self.trials[event["number"] - 1]
            trial.status, trial.f1 = event["status"], event["dev_f1"]
            trial.seconds, trial.reason = event["seconds"], event["reason"]
