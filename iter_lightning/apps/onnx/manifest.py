"""The manifest beside exported graphs: their origin, their digests, and their agreement with the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from iter_lightning.errors import EncoderError
from iter_lightning.model.config import IterConfig
from iter_lightning.model.stored import check_files, read_json

FOLDER = "onnx"
"""The folder of graphs and manifest, inside the model's folder."""
NAME = "manifest.json"
FORMAT = 1
Precision = Literal["fp32", "int8"]
GRAPHS = ("encoder", "is_left", "is_span", "link_operands", "is_link")
"""A model without relation types has only the first three."""
_FIXED = (
    "schema", "encoder", "omega", "type_decision", "inverse_links", "activation", "left_width", "pair_width", "heads"
)  # fmt: skip
"""Options that the graphs contain; all others may be changed after an export."""
_BEFORE = {"inverse_links": False, "heads": "fixed"}
"""Options of graphs whose manifest was written before the option existed."""


@dataclass(frozen=True)
class Parity:
    """The agreement of exported graphs with their model on the same sentences."""

    precision: str
    sentences: int
    entities: int
    """Entities found by the model; `onnx_entities` were found by the graphs, `shared_entities` by both."""
    onnx_entities: int
    shared_entities: int
    relations: int
    onnx_relations: int
    shared_relations: int
    score_difference: float
    """Largest difference between scores of entities and relations that both found."""
    bytes: int
    """Size of all graphs."""

    @property
    def exact(self) -> bool:
        """Whether both found the same entities and relations."""
        return (
            self.entities == self.onnx_entities == self.shared_entities
            and self.relations == self.onnx_relations == self.shared_relations
        )

    def __str__(self) -> str:
        return (
            f"{self.precision}, {self.bytes / 1e6:.1f} MB; on {self.sentences} sentences {self.shared_entities} of "
            f"{self.entities} entities found ({self.onnx_entities - self.shared_entities} others), "
            f"{self.shared_relations} of {self.relations} relations ({self.onnx_relations - self.shared_relations} "
            f"others); largest difference of scores {self.score_difference:.2g}"
        )


@dataclass(frozen=True)
class Manifest:
    """The manifest of one export."""

    precision: str
    opset: int
    model_sha256: str
    """Digest of the model.safetensors with the weights."""
    files: dict[str, str]
    """File name -> SHA-256."""
    config: dict[str, Any]
    """The options that the graphs contain."""
    versions: dict[str, str]
    """Versions of the packages that made the graphs."""
    parity: dict[str, Any] | None = None
    """The fields of `Parity`."""

    def write(self, folder: Path) -> None:
        """Write the manifest beside the graphs."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        (folder / NAME).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder of graphs.

        Raises:
            EncoderError: it is missing, cannot be read, or has another format.
        """
        path = folder / NAME
        if not path.is_file():
            raise EncoderError(f"no ONNX graphs in {folder.parent}: {path} is missing; export the model first")
        check_files(folder)
        values = read_json(path)
        known = {field.name for field in fields(cls)}
        if values.pop("format", None) != FORMAT or set(values) != known:
            raise EncoderError(f"{path}: not a manifest of format {FORMAT}; export the model again")
        found = cls(**values)
        if not isinstance(found.config, dict):
            raise EncoderError(f"{path}: config: expected an object, found {str(found.config)[:80]}")
        if not isinstance(found.files, dict) or not {f"{name}.onnx" for name in GRAPHS[:3]} <= set(found.files):
            raise EncoderError(f"{path}: files: expected the graphs and their SHA-256, found {str(found.files)[:80]}")
        return found

    def check(self, folder: Path, config: IterConfig) -> None:
        """Compare the manifest with the graphs, the weights and the configuration.

        Args:
            folder: `onnx/` inside the model's folder.
            config: the model's configuration.

        Raises:
            EncoderError: a file is missing or has changed, or the graphs belong to other weights or another
                configuration.
        """
        for name, digest in self.files.items():
            path = folder / Path(name).name
            if not path.is_file():
                raise EncoderError(f"{path} is missing; export the model again")
            if sha256(path) != digest:
                raise EncoderError(f"{path}: its SHA-256 differs from the manifest: it is damaged or of another export")
        weights = folder.parent / "model.safetensors"
        if weights.is_file() and sha256(weights) != self.model_sha256:
            raise EncoderError(
                f"{folder / NAME}: the graphs are of other weights than {weights}; export the model again"
            )
        now, then = fixed_options(config), {**_BEFORE, **self.config}
        if differing := [name for name in _FIXED if then.get(name) != now[name]]:
            raise EncoderError(
                f"{folder / NAME}: the graphs are of another configuration than {folder.parent / 'config.json'} "
                f"({', '.join(differing)}); export the model again"
            )


def fixed_options(config: IterConfig) -> dict[str, Any]:
    """Return the options that graphs contain, as JSON values."""
    values = config.to_dict()
    plain: dict[str, Any] = json.loads(json.dumps({name: values[name] for name in _FIXED}))
    return plain


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
