"""Check the paths of all outputs, before a model is loaded or any file is created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.formats import formats
from iter_lightning.extraction.formats.support.target import cannot_be_written, check_target
from iter_lightning.extraction.parts import LOCK


@dataclass(frozen=True)
class Files:
    """Hold the paths of the files next to the first output."""

    parts: Path
    errors: Path
    manifest: Path

    @classmethod
    def beside(cls, output: Path) -> Files:
        """Derive the paths from an output."""
        return cls(*(output.with_name(f"{output.name}.{name}") for name in ("parts", "errors.jsonl", "manifest.json")))


def check_outputs(outputs: Sequence[tuple[Path, str]]) -> Files:
    """Check the paths of all outputs, and of the files next to the first one.

    Args:
        outputs: Path and format of each output.

    Raises:
        ConfigError: If an output has no file name, cannot be written, or is in the way of another one.
    """
    for path, kind in outputs:
        check_target(path, formats()[kind].folder)
    files = Files.beside(outputs[0][0])
    for path in (files.errors, files.manifest):
        check_target(path)
    with cannot_be_written(files.parts):
        if files.parts.exists() and not files.parts.is_dir():
            raise ConfigError(f"{files.parts} is a file, but is needed as the folder of parts; choose another output")
        if files.parts.is_dir() and any(files.parts.iterdir()) and not (files.parts / LOCK).is_file():
            raise ConfigError(f"{files.parts} is not a folder of parts, but would be removed; choose another output")
    paths = [*(path for path, _ in outputs), files.parts, files.errors, files.manifest]
    names = [path.resolve() for path in paths]
    for path, name in zip(paths, names, strict=True):
        if names.count(name) > 1:
            raise ConfigError(f"--output names {path} more than once")
        for other in paths:
            if other.resolve() in name.parents:
                raise ConfigError(f"{path} lies in {other}, which is another output; choose a path outside of it")
    return files


def check_apart(paths: Sequence[Path], inputs: Sequence[str], model: Path) -> None:
    """Reject outputs that lie in an input or in the model folder."""
    for given in inputs:
        if inside := _inside(paths, Path(given)):
            raise ConfigError(
                f"{inside} lies in the input {given} and would be read as input; choose a path outside of it"
            )
    if inside := _inside(paths, model):
        raise ConfigError(f"{inside} lies in the model folder {model}; choose a path outside of it")


def _inside(paths: Sequence[Path], place: Path) -> Path | None:
    place = place.resolve()
    return next((path for path in paths if place in (path.resolve(), *path.resolve().parents)), None)
