"""An exported model's folder: written beside its place and moved there when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from iter_lightning.apps.export.card import model_card
from iter_lightning.apps.export.facts import ModelFacts, read_manifest
from iter_lightning.apps.export.metadata import CardOptions
from iter_lightning.errors import ConfigError
from iter_lightning.files import finish_folder, hidden, write_atomically
from iter_lightning.model.hub import read_json
from iter_lightning.status import check_finished, run_folder

if TYPE_CHECKING:
    from iter_lightning.model.iter import IterModel

_WRITTEN = (
    "config.json", "model.safetensors", "README.md", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model", "onnx", ".gitattributes",
)  # fmt: skip
"""What an export may hold; a folder with anything else is somebody's, and stays."""


def export_model(
    source: str, target: Path, options: CardOptions, onnx: str | None = None, overwrite: bool = False,
    allow_unfinished: bool = False,
) -> str:  # fmt: skip
    """Write the folder that the Hugging Face hub takes: configuration, weights, tokenizer, model card, ONNX graphs.

    Args:
        source: run folder, model folder or hub id.
        target: the new folder; whole, or as it was before.
        options: what the card says besides what is recorded.
        onnx: precision of ONNX graphs, `fp32` or `int8`; None writes none.
        overwrite: replaces an earlier export.
        allow_unfinished: whether the run's training may be unfinished; the card says so.

    Returns:
        how the ONNX graphs compare with the model; empty where there are none.

    Raises:
        ConfigError: a target that is there already, or is the source; an unfinished run.
        EncoderError: no model in `source`, or one without a tokenizer.
    """
    from iter_lightning.model.iter import IterModel

    run = run_folder(source)
    model_source = str(run / "model") if run else source
    check_target(target, Path(model_source), overwrite)
    if run is not None:
        check_finished(run, read_manifest(run), allow_unfinished)
    model = _without_place(IterModel.from_pretrained(model_source))
    if model.tokenizer is None:
        raise ConfigError(f"{source}: this model has no tokenizer: it cannot read text, so there is nothing to publish")
    facts = ModelFacts.read(model, run)
    with whole_folder(target) as part:
        _save(model, part)
        parity = _export_onnx(model, part, onnx) if onnx else ""
        write_atomically(part / "README.md", model_card(facts, options, parity))
    return parity


def check_target(target: Path, source: Path, overwrite: bool) -> None:
    """Whether a folder may be written at `target`.

    Raises:
        ConfigError: something is there that must not be replaced.
    """
    if not (target.exists() or target.is_symlink()):
        return
    if target.is_symlink() or not target.is_dir():
        raise ConfigError(f"{target} is no folder: choose another place")
    if target.resolve() == source.resolve():
        raise ConfigError(f"{target} is the model to export: choose another place")
    names = sorted(path.name for path in target.iterdir())
    if not names:
        return
    if not overwrite:
        raise ConfigError(f"{target} is there already: choose another place, or --overwrite an earlier export")
    if strange := [name for name in names if not any(fnmatch(name, pattern) for pattern in _WRITTEN)]:
        raise ConfigError(f"{target} is not replaced: it holds {', '.join(strange[:5])}, which no export writes")
    if "README.md" not in names or read_json(target / "config.json").get("model_type") != "iter":
        raise ConfigError(
            f"{target} is not replaced: it is no earlier export (config.json of an ITER model, README.md)"
        )


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `target` when the block ends well, and is removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = hidden(target)
    part.mkdir()
    try:
        yield part
        finish_folder(part)
        _put(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put(part: Path, target: Path) -> None:
    if not target.exists():
        part.replace(target)
        return
    old = hidden(target)
    target.replace(old)
    try:
        part.replace(target)
    except BaseException:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _without_place(model: IterModel) -> IterModel:
    """The model without where its encoder lay on this machine."""
    name = str(model.config.encoder.get("_name_or_path") or "")
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or Path(name).exists():
        encoder = {key: value for key, value in model.config.encoder.items() if key != "_name_or_path"}
        model.config = replace(model.config, encoder=encoder)
    return model


def _save(model: IterModel, part: Path) -> None:
    try:
        model.save_pretrained(part)
    except SafetensorError as error:  # how it tells of a full disk
        raise ConfigError(f"{part.parent}: the weights cannot be written: {error}") from error


def _export_onnx(model: IterModel, part: Path, precision: str) -> str:
    try:
        from iter_lightning.apps.onnx.export import export_onnx
    except ImportError as error:
        raise ConfigError(
            f"--onnx needs onnx, onnxscript and onnxruntime (pip install 'iter-lightning[onnx]'): {error}"
        ) from error
    return str(export_onnx(model, part, precision=precision))
