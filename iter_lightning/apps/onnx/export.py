"""A trained model as ONNX graphs, held to the model before they appear."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import safetensors
import torch
from safetensors import SafetensorError

from iter_lightning.apps.onnx.manifest import FOLDER, PRECISIONS, Manifest, Parity, baked, sha256
from iter_lightning.apps.onnx.parity import built_in, measure
from iter_lightning.apps.onnx.tracing import TOLERANCE, opset_of, quantise, trace, verify_encoder
from iter_lightning.errors import ConfigError, EncoderError, IterError
from iter_lightning.model import hub
from iter_lightning.model.config import IterConfig
from iter_lightning.model.iter import IterModel


def export_onnx(
    model: IterModel, folder: str | Path, precision: str = "fp32", sentences: Sequence[Sequence[str]] | None = None
) -> Parity:
    """Write `folder/onnx/` for `Extractor.from_pretrained(folder, backend="onnx")`, and what it needs beside it.

    The graphs appear whole or not at all, in place of those of an earlier export. The model stays as it is.

    Args:
        model: trained, in float32; on any device.
        folder: the model's own, or a new one, which gets config.json and the tokenizer, too.
        precision: `fp32`, or `int8`: products and embeddings in 8 bits, whose agreement is for the caller to judge.
        sentences: words of each, on which export and model are compared; None takes some in English.

    Returns:
        how far the export is from the model; it is in `onnx/manifest.json`, too.

    Raises:
        ConfigError: an encoder that does not export, an export in float32 that finds anything else than the model, a
            folder of another model, a precision that is none, a package that is missing.
        EncoderError: a model without a tokenizer, a folder that cannot be read.
    """
    target = Path(folder)
    _check(model, precision)
    model.aligner()  # without a tokenizer nothing can be compared, or read later
    own = _is_of(model, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name, _ready(model):
        part = Path(name, "model")
        graphs = part / FOLDER
        graphs.mkdir(parents=True)
        digest = sha256(target / "model.safetensors") if own else _saved_digest(model, part)
        trace(model, graphs)
        verify_encoder(model, graphs)
        texts = [tuple(words) for words in sentences] if sentences is not None else built_in(model.max_subwords)
        parity = measure(model, graphs, "fp32", texts)
        _hold(parity)
        if precision == "int8":
            quantise(graphs)
            parity = measure(model, graphs, precision, texts)
        _manifest(model.config, graphs, digest, parity).write(graphs)
        _move(part, target, Path(name, "before"))
    return parity


def _check(model: IterModel, precision: str) -> None:
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise ConfigError(f"exporting to ONNX needs {', '.join(missing)} (pip install 'iter-lightning[onnx]')")
    if model.prepared:
        raise ConfigError("a model prepared for inference cannot be exported: load it anew")
    types = {str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}
    if types != {"float32"}:
        raise ConfigError(f"the export starts from a model in float32, found {', '.join(sorted(types))}")


def _is_of(model: IterModel, folder: Path) -> bool:
    """Whether the folder holds the model's weights already; False where it holds none.

    Raises:
        ConfigError: it holds another model.
        EncoderError: its files cannot be read.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file, expected a folder")
    config, weights = folder / "config.json", folder / "model.safetensors"
    if config.is_file():
        try:
            there = IterConfig.from_dict(hub.read_json(config))
        except (IterError, ValueError, TypeError) as error:
            raise ConfigError(f"{config}: {error}; export into the model's own folder or into a new one") from error
        if there != model.config:
            raise ConfigError(f"{config} is of another model; export into the model's own folder or into a new one")
    if not weights.is_file():
        return False
    state = model.state_dict()
    try:
        with safetensors.safe_open(weights, framework="pt") as file:
            same = set(file.keys()) <= set(state) and all(
                torch.equal(file.get_tensor(name), state[name].cpu())
                for name in file.keys()  # noqa: SIM118
            )
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"{weights}: {error}") from error
    if not same:
        raise ConfigError(f"{weights} holds other weights than the model: save it there first, or take a new folder")
    return True


def _saved_digest(model: IterModel, part: Path) -> str:
    """Save the model for the digest of its weights; configuration and tokenizer stay."""
    model.save_pretrained(part)
    digest = sha256(part / "model.safetensors")
    (part / "model.safetensors").unlink()
    return digest


@contextlib.contextmanager
def _ready(model: IterModel) -> Iterator[None]:
    """The model on the CPU, in `eval()` mode; afterwards as before."""
    device, training = next(model.parameters()).device, model.training
    model.eval().to("cpu")
    try:
        yield
    finally:
        model.train(training).to(device)


def _hold(parity: Parity) -> None:
    """Refuse an export in float32 that is not the model.

    Raises:
        ConfigError: other entities or relations, or a difference past `TOLERANCE`.
    """
    if not (parity.exact and parity.score_difference <= TOLERANCE):
        raise ConfigError(f"the export does not find what the model finds, nothing was written: {parity}")


def _manifest(config: IterConfig, graphs: Path, digest: str, parity: Parity) -> Manifest:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "onnx", "onnxruntime")}
    files = {path.name: sha256(path) for path in sorted(graphs.iterdir())}
    opset = opset_of(graphs / "encoder.onnx")
    return Manifest(parity.precision, opset, digest, files, baked(config), versions, asdict(parity))


def _move(part: Path, target: Path, before: Path) -> None:
    """What was made to where it belongs; the graphs last, and those of an earlier export back if that fails."""
    if not target.exists():
        part.rename(target)
        return
    for path in sorted(part.iterdir()):  # of a folder without them
        if path.name != FOLDER and not (target / path.name).exists():
            path.replace(target / path.name)
    old = target / FOLDER
    if old.exists():
        old.rename(before)
    try:
        (part / FOLDER).rename(old)
    except OSError:
        if before.exists():
            before.rename(old)
        raise
    shutil.rmtree(before, ignore_errors=True)
