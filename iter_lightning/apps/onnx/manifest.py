"""What lies beside exported graphs: where they come from, what they are, and how near to the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from iter_lightning.errors import EncoderError
from iter_lightning.model.config import IterConfig
from iter_lightning.model.hub import check_files, read_json

FOLDER = "onnx"
"""Of graphs and manifest, inside the model's own."""
NAME = "manifest.json"
FORMAT = 1
PRECISIONS = ("fp32", "int8")
GRAPHS = ("encoder", "is_left", "is_span", "link_operands", "is_link")
"""Of a model without relation types the first three."""
_BAKED = ("schema", "encoder", "omega", "type_decision", "inverse_links", "activation", "left_width", "pair_width")
"""What of a configuration the graphs hold; the rest may be changed after an export."""
_BEFORE = {"inverse_links": False}
"""What graphs hold whose manifest was written before there was the option."""


@dataclass(frozen=True)
class Parity:
    """How far an export is from the model it was made of, over the same sentences.

    Differences are the largest between logits of the same positions, spans and pairs.
    """

    precision: str
    sentences: int
    left_difference: float
    span_difference: float
    link_difference: float
    score_difference: float
    """Between scores of entities and relations that both found."""
    entities: int
    """Found by the model; `onnx_entities` by its export, `shared_entities` by both."""
    onnx_entities: int
    shared_entities: int
    relations: int
    onnx_relations: int
    shared_relations: int
    bytes: int
    """Of all graphs."""

    @property
    def exact(self) -> bool:
        """Whether both found the same."""
        return (
            self.entities == self.onnx_entities == self.shared_entities
            and self.relations == self.onnx_relations == self.shared_relations
        )

    def __str__(self) -> str:
        return (
            f"{self.precision}, {self.bytes / 1e6:.1f} MB, {self.sentences} sentences: of {self.entities} entities "
            f"{self.shared_entities} found ({self.onnx_entities - self.shared_entities} others), of {self.relations} "
            f"relations {self.shared_relations} ({self.onnx_relations - self.shared_relations} others); largest "
            f"difference of logits: left {self.left_difference:.2g}, span {self.span_difference:.2g}, "
            f"link {self.link_difference:.2g}, of scores {self.score_difference:.2g}"
        )


@dataclass(frozen=True)
class Manifest:
    """Of one export."""

    precision: str
    opset: int
    model_sha256: str
    """Of the model.safetensors that holds the weights."""
    files: dict[str, str]
    """Name -> SHA-256."""
    config: dict[str, Any]
    """The part of the model's configuration that the graphs hold."""
    versions: dict[str, str]
    """Of what made them."""
    parity: dict[str, Any] | None = None
    """A `Parity`; None while it is being measured."""

    def write(self, folder: Path) -> None:
        """Beside the graphs."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        (folder / NAME).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder of graphs.

        Raises:
            EncoderError: it is missing, cannot be read, or is of another format.
        """
        path = folder / NAME
        if not path.is_file():
            raise EncoderError(f"no ONNX graphs in {folder.parent}: {path} is missing; export the model first")
        check_files(folder)
        values = read_json(path)
        known = {field.name for field in fields(cls)}
        if values.get("format") != FORMAT or not set(values) == {"format", *known}:
            raise EncoderError(f"{path}: not a manifest of format {FORMAT}; export the model again")
        found = cls(**{name: values[name] for name in known})
        if not isinstance(found.config, dict):
            raise EncoderError(f"{path}: config: expected an object, found {str(found.config)[:80]}")
        if not isinstance(found.files, dict) or not {f"{name}.onnx" for name in GRAPHS[:3]} <= set(found.files):
            raise EncoderError(f"{path}: files: expected the graphs and their SHA-256, found {str(found.files)[:80]}")
        return found

    def check(self, folder: Path, config: IterConfig) -> None:
        """Hold the files in `folder` (`onnx/` of a model's) to what is written here.

        Raises:
            EncoderError: a file that is missing or another; graphs of other weights or of another configuration.
        """
        for name, digest in self.files.items():
            path = folder / Path(name).name
            if not path.is_file():
                raise EncoderError(f"{path} is missing; export the model again")
            if sha256(path) != digest:
                raise EncoderError(
                    f"{path}: its SHA-256 is not the manifest's: the file is damaged, or not this export's"
                )
        weights = folder.parent / "model.safetensors"
        if weights.is_file() and sha256(weights) != self.model_sha256:
            raise EncoderError(
                f"{folder / NAME}: the graphs are of other weights than {weights}; export the model again"
            )
        now = baked(config)
        held = {**_BEFORE, **self.config}
        if differing := [name for name in _BAKED if held.get(name) != now[name]]:
            raise EncoderError(
                f"{folder / NAME}: the graphs are of another configuration than {folder.parent / 'config.json'} "
                f"({', '.join(differing)}); export the model again"
            )


def baked(config: IterConfig) -> dict[str, Any]:
    """The part of a configuration that graphs hold, as plain values."""
    values: Mapping[str, Any] = config.to_dict()
    plain: dict[str, Any] = json.loads(json.dumps({name: values[name] for name in _BAKED}))
    return plain


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
