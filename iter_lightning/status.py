"""Whether a run has finished: the one check for everything that scores, compares, exports or uses its model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError

FINISHED = "finished"
"""`status` of the manifest of a training that ran to its end."""
UNFINISHED_KEY = "unfinished"
"""Key, with the value true, of an entry of results.json whose scores are those of a run that had not finished."""


def is_finished(manifest: Mapping[str, Any]) -> bool:
    """Whether the training that a manifest describes ran to its end."""
    return manifest.get("status") == FINISHED


def check_finished(run: Path, manifest: Mapping[str, Any], allowed: bool) -> bool:
    """Refuse a run that has not finished, unless its user allows it.

    Args:
        run: its folder.
        manifest: what manifest.json holds. A folder without one is a model, not a run, and passes.
        allowed: whether `--allow-unfinished` was given.

    Returns:
        whether the run is unfinished: whatever is made of it must say so.

    Raises:
        ConfigError: it is unfinished, and `allowed` is false.
    """
    if not manifest or is_finished(manifest):
        return False
    if not allowed:
        raise ConfigError(
            f"{run}: this run has not finished; resume it with the same `fit` command, or give --allow-unfinished to "
            "use its best model so far"
        )
    return True


def run_folder(source: str | Path) -> Path | None:
    """The run that a run folder, or the model in one, belongs to; None for a model that belongs to no run."""
    folder = Path(source)
    if (folder / "model" / "config.json").is_file():
        return folder
    parent = folder.absolute().parent
    return parent if folder.absolute().name == "model" and (parent / "manifest.json").is_file() else None


def unfinished_note(source: str | Path) -> str:
    """A warning for users of the model of an unfinished run; empty for any other model.

    Args:
        source: run folder, model folder or hub id.
    """
    run = run_folder(source)
    if run is None or not (run / "manifest.json").is_file():
        return ""
    try:
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"warning: {run / 'manifest.json'} cannot be read: whether this run has finished is not known"
    if isinstance(manifest, dict) and is_finished(manifest):
        return ""
    return f"warning: {run}: this run has not finished; its best model so far is used"
