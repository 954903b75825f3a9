"""Check whether a run has finished, before its model is scored, compared, exported, or used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.json_files import MANIFEST, read_object

FINISHED = "finished"
"""Value of `status` in the manifest of a finished training run."""
UNFINISHED_KEY = "unfinished"
"""Key of an entry of results.json; true if its scores belong to a run that had not finished."""


def is_finished(manifest: Mapping[str, Any]) -> bool:
    """Return whether the run that a manifest describes has finished."""
    return manifest.get("status") == FINISHED


def check_finished(run: Path, manifest: Mapping[str, Any], allowed: bool) -> bool:
    """Reject a run that has not finished, unless the user allows it.

    Args:
        run: Run folder.
        manifest: Content of manifest.json. An empty manifest is a model without a run and passes.
        allowed: Whether `--allow-unfinished` was given.

    Returns:
        Whether the run is unfinished. Results made from it must be marked as such.

    Raises:
        ConfigError: If the run is unfinished and `allowed` is false.
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
    """Return the run folder of a path to a run or to its model, or None for a model outside of any run."""
    folder = Path(source)
    if (folder / "model" / "config.json").is_file():
        return folder
    parent = folder.absolute().parent
    return parent if folder.absolute().name == "model" and (parent / "manifest.json").is_file() else None


def unfinished_note(source: str | Path) -> str:
    """Return a warning if a model belongs to an unfinished run, or an empty string.

    Args:
        source: Run folder, model folder, or hub id.
    """
    run = run_folder(source)
    if run is None or not (run / "manifest.json").is_file():
        return ""
    try:
        manifest = read_object(run / "manifest.json", "it is not known whether the run has finished", MANIFEST)
    except ConfigError as error:
        return f"warning: {error}"
    if is_finished(manifest):
        return ""
    return f"warning: {run}: this run has not finished; its best model so far is used"
