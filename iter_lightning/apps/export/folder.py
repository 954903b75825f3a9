"""Writing of an exported model's folder."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from safetensors import SafetensorError

from iter_lightning.apps.export.card import CardOptions, model_card
from iter_lightning.apps.export.facts import ModelFacts, public_name, read_manifest
from iter_lightning.apps.onnx.export import check_packages, export_onnx
from iter_lightning.apps.onnx.manifest import Precision
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.labels import Labels
from iter_lightning.io.atomic import whole_folder
from iter_lightning.model.iter import IterModel
from iter_lightning.model.names import resolve_model
from iter_lightning.model.stored import read_json
from iter_lightning.status import check_finished, run_folder

_WRITTEN = (
    "config.json", "model.safetensors", "README.md", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model", "onnx", ".gitattributes",
)  # fmt: skip
"""The files of an export; a folder that contains any other file is never replaced."""


def export_model(
    source: str, target: Path, options: CardOptions, onnx: Precision | None = None, overwrite: bool = False,
    allow_unfinished: bool = False, labels: Labels | None = None, compact: bool = False,
) -> str:  # fmt: skip
    """Write a folder for the Hugging Face hub: configuration, weights, tokenizer, model card and ONNX graphs.

    Args:
        source: run folder, model folder or hub id.
        target: the folder to create. It appears when it is complete, or stays as it was.
        options: what the card states besides the records of the run.
        onnx: precision of the ONNX graphs, `fp32` or `int8`; None writes none.
        overwrite: whether to replace an earlier export.
        allow_unfinished: whether to accept a run that has not finished; the card says so.
        labels: types to which an open model is bound. None leaves it open; with graphs, it binds the model's default
            types.
        compact: whether to write weights in 8 bits, which take a quarter of the space.

    Returns:
        how the ONNX graphs compare with the model; empty without graphs.

    Raises:
        ConfigError: the target exists or is the source, the run has not finished, the model has no tokenizer, or there
            are labels for a model whose types are fixed.
        EncoderError: there is no model in `source`.
    """
    run = run_folder(source)
    folder = resolve_model(source)
    check_target(target, folder, overwrite)
    if onnx:
        check_packages()
    if run is not None:
        check_finished(run, read_manifest(run), allow_unfinished)
    model = IterModel.from_pretrained(folder)
    if model.tokenizer is None:
        raise ConfigError(f"{source}: this model has no tokenizer: it cannot read text, so there is nothing to publish")
    if labels is None and onnx and model.config.heads == "open":
        labels = Labels(model.config.schema)
    if labels is not None:
        model = model.bind(labels.schema, dict(labels.texts), labels.nested)
    facts = ModelFacts.read(model, run)
    if labels is not None:
        facts = replace(facts, results=())  # they were measured with other types
    encoder = model.config.encoder.items()  # without the path of its source on this machine
    own = {key: value for key, value in encoder if key != "_name_or_path" or public_name(str(value)) == value}
    model.config = replace(model.config, encoder=own)
    parity = ""
    with whole_folder(target) as part:
        try:
            model.save_pretrained(part, compact=compact)
        except SafetensorError as error:  # the disk is full
            raise ConfigError(f"{target.parent}: the weights cannot be written: {error}") from error
        if onnx:
            parity = str(export_onnx(part, onnx))
        (part / "README.md").write_text(model_card(facts, options, parity), encoding="utf-8")
    return parity


def check_target(target: Path, source: Path, overwrite: bool) -> None:
    """Check that an export may be written at `target`.

    Raises:
        ConfigError: something is there that must not be replaced.
    """
    if not (target.exists() or target.is_symlink()):
        return
    if target.is_symlink() or not target.is_dir():
        raise ConfigError(f"{target} is not a folder: choose another place")
    if target.resolve() == source.resolve():
        raise ConfigError(f"{target} is the model to export: choose another place")
    names = sorted(path.name for path in target.iterdir())
    if not names:
        return
    if not overwrite:
        raise ConfigError(f"{target} already exists: choose another place, or --overwrite an earlier export")
    if others := [name for name in names if not any(fnmatch(name, pattern) for pattern in _WRITTEN)]:
        raise ConfigError(f"{target} is not replaced: it contains {', '.join(others[:5])}, which no export writes")
    if "README.md" not in names or read_json(target / "config.json").get("model_type") != "iter":
        raise ConfigError(
            f"{target} is not replaced: it is not an earlier export (config.json of an ITER model, README.md)"
        )
