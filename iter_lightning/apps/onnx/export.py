"""Export of a model to ONNX graphs, which are compared with the model before they appear."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from iter_lightning.apps.onnx import tracing
from iter_lightning.apps.onnx.backend import OnnxBackend
from iter_lightning.apps.onnx.graphs import Graphs
from iter_lightning.apps.onnx.manifest import FOLDER, Manifest, Parity, Precision, fixed_options, sha256
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.io.atomic import whole_folder
from iter_lightning.model import pretrained
from iter_lightning.model.iter import IterModel
from iter_lightning.types import Entity, Example, Prediction, Relation

_TOKENS = 2048
"""Subwords per batch of the comparison."""
SENTENCES = tuple(
    tuple(sentence.split())
    for sentence in (
        "Yes .",
        "Maria Oliveira moved from Porto to Rotterdam in 1987 and joined the harbour police .",
        "The surgeon at St. Brigid 's Hospital , Dr. Amara Okafor , was born in Enugu , Nigeria .",
        "Severe dizziness followed the second dose of lithium carbonate in two of the nine patients .",
        "A graph neural network is trained on sentence pairs to improve paraphrase detection .",
        '" We have no plans to leave Turin , " said Paolo Ricci , who runs the Fabbrica Nuova works .',
        "The suspect , Viktor Hansen , shot Judge Eleanor Pratt outside the courthouse in Duluth , Minnesota .",
        "Expression of the c-fos gene in human T cells requires binding of NF-kappa B to its promoter .",
        "Quito , capital of Ecuador , lies at 2,850 metres ; La Paz , in Bolivia , lies higher still .",
        "Lindqvist & Sons AB of Malmö bought 40 % of Helvetia Tools from the Zürich bank UKB last March .",
    )
)
"""The default sentences for the comparison: news, medicine, abstracts."""


def export_onnx(
    folder: str | Path, precision: Precision = "fp32", sentences: Sequence[Sequence[str]] | None = None
) -> Parity:
    """Write `onnx/` into the folder of a model, for `Extractor.from_pretrained(folder, backend="onnx")`.

    The graphs replace those of an earlier export when they are complete.

    Args:
        folder: a folder written by `IterModel.save_pretrained`.
        precision: `fp32`, or `int8`: matrix products and embeddings in 8 bits, whose agreement the caller must judge.
        sentences: the words of sentences on which graphs and model are compared; None takes some in English.

    Returns:
        the agreement of graphs and model, which is also stored in `onnx/manifest.json`.

    Raises:
        ConfigError: the precision is unknown, a package is missing, the model is open, the encoder cannot be exported,
            or graphs in float32 find anything else than the model.
        EncoderError: the folder has no model or no tokenizer, or cannot be read.

    Example:
        >>> export_onnx("exported/mine", "int8")  # doctest: +SKIP
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision: expected one of {', '.join(get_args(Precision))}, found {precision!r}")
    check_packages()
    source = Path(folder)
    config = pretrained.read_config(source)
    if config.heads == "open":
        raise ConfigError(f"{source}: the types of graphs are fixed; bind the model to labels first (IterModel.bind)")
    model = IterModel.from_pretrained(source)
    examples = [Example(tuple(words)) for words in sentences or _built_in(model)]
    with whole_folder(source / FOLDER) as graphs:
        tracing.trace(IterModel.from_pretrained(source), graphs)  # tracing changes its model
        tracing.verify(model, graphs)
        parity = compare(model, graphs, "fp32", examples)
        if not (parity.exact and parity.score_difference <= tracing.TOLERANCE):
            raise ConfigError(f"the graphs do not find what the model finds; nothing was written: {parity}")
        if precision == "int8":
            tracing.quantize(graphs)
            parity = compare(model, graphs, precision, examples)
        versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "onnx", "onnxruntime")}
        files = {path.name: sha256(path) for path in sorted(graphs.iterdir())}
        opset, digest = tracing.opset_of(graphs / "encoder.onnx"), sha256(source / "model.safetensors")
        Manifest(precision, opset, digest, files, fixed_options(config), versions, asdict(parity)).write(graphs)
    return parity


def check_packages() -> None:
    """Check that the packages for an export are installed.

    Raises:
        ConfigError: one is missing.
    """
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise ConfigError(f"the export to ONNX requires {', '.join(missing)} (pip install 'iter-lightning[onnx]')")


def _built_in(model: IterModel) -> list[tuple[str, ...]]:
    """Return `SENTENCES`, and all of them as one text that takes several windows, unless windows are very long."""
    together = tuple(word for sentence in SENTENCES for word in sentence)
    return [*SENTENCES, together * (1 + min(model.max_subwords, 512) // len(together))]


def compare(model: IterModel, folder: Path, precision: Precision, examples: Sequence[Example]) -> Parity:
    """Compare what a model and its graphs find in examples."""
    backend = OnnxBackend(model.config, Graphs.load(folder, model.config), model.aligner(), model.pad_id)
    expected = TorchBackend(model).predict(examples, backend.link_threshold, _TOKENS)
    pairs = list(zip(expected, backend.predict(examples, backend.link_threshold, _TOKENS), strict=True))
    scores = [(_scores(a), _scores(b)) for a, b in pairs]
    differences = [abs(a[found] - b[found]) for a, b in scores for found in a.keys() & b.keys()]
    return Parity(
        precision, len(examples), *_counts([(a.entities, b.entities) for a, b in pairs]),
        *_counts([(a.relations, b.relations) for a, b in pairs]), max(differences, default=0.0),
        sum(path.stat().st_size for path in folder.iterdir()),
    )  # fmt: skip


def _counts(found: list[tuple[Sequence[Entity | Relation], Sequence[Entity | Relation]]]) -> tuple[int, int, int]:
    """Count what the model found, what the graphs found, and what both found."""
    return sum(len(a) for a, _ in found), sum(len(b) for _, b in found), sum(len({*a} & {*b}) for a, b in found)


def _scores(prediction: Prediction) -> dict[Entity | Relation, float]:
    named: tuple[Entity | Relation, ...] = (*prediction.entities, *prediction.relations)
    return dict(zip(named, (*prediction.entity_scores, *prediction.relation_scores), strict=True))
