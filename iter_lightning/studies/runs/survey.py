"""The state of the runs that a plan asks for: finished, to be continued, new, or impossible here and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from iter_lightning.errors import ConfigError
from iter_lightning.studies.runs.obstacles import obstacle_of
from iter_lightning.studies.runs.plan import RunSpec
from iter_lightning.studies.runs.stored import StoredRun, load_runs
from iter_lightning.training.extends import lookup
from iter_lightning.training.run import RunFolder, differences, identity

State = Literal["done", "trained", "started", "new", "blocked"]
"""`done`: trained and tested; `trained`: not tested yet; `started`: to be continued; `blocked`: not possible here."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run that a plan asks for, and the state of its folder."""

    spec: RunSpec
    stored: StoredRun
    state: State
    reason: str = ""
    """Why it is blocked, and the remedy."""
    unfinished: bool = False
    """Tested before its training has finished; only if the caller allows it."""

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return self.stored.folder

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest."""
        return self.stored.manifest

    @property
    def usable(self) -> bool:
        """Whether the training has finished."""
        return self.state in ("done", "trained")

    @property
    def seconds(self) -> float | None:
        """Duration of the training over all attempts; None before it is finished."""
        return self.manifest.get("seconds")


class Survey:
    """All runs below a folder, each manifest read once, and the states of the runs that plans ask for.

    A run is found in its own folder, else in any other folder that holds a finished run of the same configuration,
    whatever it is called.

    Args:
        runs_dir: Holds the run folders GROUP/PART.
        data_dir: Holds the corpora.
    """

    def __init__(self, runs_dir: Path, data_dir: Path) -> None:
        self.runs_dir, self.data_dir = runs_dir, data_dir
        self._stored = {run.folder.path: run for run in load_runs(runs_dir, "*/*")}

    def reread(self, folder: Path) -> None:
        """Read the manifest of a run again, because it may have changed."""
        self._stored[folder] = StoredRun(RunFolder(folder))

    def runs(self, specs: Iterable[RunSpec], allow_unfinished: bool = False) -> list[Run]:
        """Return the runs of `specs` with their states, in their order.

        Args:
            specs: The runs wanted.
            allow_unfinished: Whether runs that were tested before their training finished count as `done`.
        """
        return [self._run(spec, allow_unfinished) for spec in specs]

    def _run(self, spec: RunSpec, allow_unfinished: bool) -> Run:
        path = self.runs_dir / spec.group / spec.part
        own = self._stored.get(path) or StoredRun(RunFolder(path))
        starts = self.runs(spec.init_from)
        try:
            if own.manifest and (wrong := mismatches(spec, own.manifest, starts)):
                raise ConfigError(
                    f"{path} holds a run of another configuration ({wrong[0]}); move it away, or restore the "
                    "configuration"
                )
        except ConfigError as error:
            return Run(spec, own, "blocked", str(error))
        found = own
        if not own.finished:
            others = (run for run in self._stored.values() if run.finished)
            found = next((run for run in others if not mismatches(spec, run.manifest, starts)), own)
        if found.finished:
            return Run(spec, found, "done" if found.folder.tested() else "trained")
        if obstacle := obstacle_of(spec.settings, self.data_dir):
            return Run(spec, own, "blocked", obstacle)
        if own.manifest and allow_unfinished and own.folder.tested(True):
            return Run(spec, own, "done", unfinished=True)
        return Run(spec, own, "started" if own.manifest else "new")


def mismatches(spec: RunSpec, manifest: Mapping[str, Any], starts: Sequence[Run] = ()) -> list[str]:
    """List where a manifest's run differs from what a spec asks for, a line a setting.

    Args:
        spec: Its whole configuration counts, defaults included.
        manifest: Manifest of a run, finished or not.
        starts: The runs that the spec may start from.
    """
    found = manifest.get("config") or {}
    if _marks(found) != _marks(spec.settings):  # cheap, and enough for most other runs
        return [f"{_marks(found)} there, {_marks(spec.settings)} wanted"]
    lines = list(differences(identity(found), identity(resolved(spec))))
    sha256 = (manifest.get("origin") or {}).get("init_sha256")
    if bool(spec.init_from) != bool(sha256):
        lines.append("model.init_from: " + ("not set there" if spec.init_from else "set there"))
    elif spec.init_from:
        known = {str(start.folder.model): weights_of(start.folder.model) for start in starts if start.usable}
        if known and sha256 not in known.values():
            lines.append(f"model.init_from: other weights there than those of {', '.join(known)}")
    return lines


@cache
def resolved(spec: RunSpec) -> dict[str, Any]:
    """Resolve the whole configuration of a spec, as `fit` does."""
    from iter_lightning.training.cli import parse_config

    return parse_config([*spec.arguments(), f"--experiment={spec.group}"])


@cache
def weights_of(model: Path) -> str | None:
    """Return the digest of an exported model's weights."""
    from iter_lightning.model.encoder import weights_digest

    return weights_digest(str(model))


def _marks(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Seed, encoder, data module and fold, in which most runs differ."""
    return (
        config.get("seed_everything"), lookup(config, "model.encoder"),
        str(lookup(config, "data.class_path")).rpartition(".")[2], lookup(config, "data.init_args.fold") or 0,
    )  # fmt: skip


def best_of(runs: Iterable[Run]) -> Run | None:
    """Return the finished run with the highest F1 on dev."""
    finished = [run for run in runs if run.usable]
    return max(finished, key=lambda run: lookup(run.manifest, "best.dev/f1") or 0.0, default=None)


def by_reason(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Group (name of a run, reason) pairs into one line a reason: `REASON: GROUP/seed1 ... seed5, ...`."""
    names: dict[str, dict[str, list[str]]] = {}
    for name, reason in pairs:
        group, _, part = name.partition("/")
        names.setdefault(reason, {}).setdefault(group, []).append(part)
    return [
        f"{reason}: " + ", ".join(f"{g}/{p[0]}" + (f" ... {p[-1]}" if len(p) > 1 else "") for g, p in groups.items())
        for reason, groups in names.items()
    ]
