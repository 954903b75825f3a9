"""The configuration of an ITER model: everything but the weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.model.conversion import TYPE_DECISIONS, DecodingRules
from iter_lightning.types import Schema

ACTIVATIONS = ("relu", "gelu", "tanh")
"""The search space of Appendix D; `heads.ACTIVATIONS` holds the functions."""
LOSS_REDUCTIONS = ("sum", "batch_mean")
LINK_PAIRS = ("entities", "positions")

_LANGUAGE = re.compile(r"[a-z]{2,3}")


def check_language(language: str | None) -> str | None:
    """Return a spaCy language code, or None.

    Raises:
        ConfigError: it is neither.
    """
    if language is not None and not (isinstance(language, str) and _LANGUAGE.fullmatch(language)):
        raise ConfigError(f"language: expected spaCy's code, such as en or de, or xx for several; found {language!r}")
    return language


@dataclass(frozen=True)
class IterConfig:
    """Everything but the weights; `to_dict` and `from_dict` round-trip through JSON.

    Raises:
        ConfigError: a value outside its range, told with the range.
    """

    schema: Schema
    """The entity and relation types."""
    encoder: dict[str, Any]
    """`to_dict()` of the encoder's Hugging Face configuration."""
    omega: int = 1
    """How many of the closest preceding lefts a right may pair with."""
    flat: bool = False
    """Entities never overlap: of overlapping candidates the most probable is kept."""
    activation: str = "relu"
    """relu, gelu or tanh, in all heads."""
    dropout: float = 0.3
    """Before the heads' output projections."""
    left_width: int | None = None
    """Inner width of IsLeft; None is the encoder's d_ff."""
    pair_width: int | None = None
    """Inner width of IsSpan and IsLink; None is twice the encoder's d_ff."""
    respect_word_boundaries: bool = True
    """Lefts only at first, rights only at last subwords of words."""
    type_decision: str = "argmax"
    """argmax, all or sum, see `DecodingRules`."""
    link_threshold: float = 0.5
    """Lambda of Eq. 6."""
    inverse_links: bool = False
    """IsLink scores each relation type in both readings, head to tail and tail to head; a link found by either is
    found."""
    self_links: bool = True
    """Whether a relation may link an entity to itself. `IterModule` sets it from the training data; the default is the
    rule of models that were saved without this key, and of published checkpoints."""
    language: str | None = None
    """spaCy's code for the language that texts are split into words by; None is not known, and read as English."""
    link_pairs: str = "entities"
    """Trained pairs: `entities` (of gold entities, Eq. 13) or `positions` (span candidates x gold entities)."""
    loss_reduction: str = "sum"
    """`sum` as printed, or `batch_mean`: divided by the batch size."""
    max_subwords: int | None = None
    """Longest window; None is the encoder's own limit (1024 for purely relative positions)."""
    window_overlap: int = 64
    """Subwords shared by consecutive windows of a longer text."""
    pair_memory_mb: int = 16
    """Bound on the inner layers a pair head holds at once; 32 times as much on a GPU where nothing is trained."""

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, dict):
            raise ConfigError(f"encoder: found {self.encoder!r:.80}, expected an object")
        object.__setattr__(self, "encoder", json.loads(json.dumps(self.encoder)))  # JSON has no integer keys
        for name, allowed in (
            ("type_decision", TYPE_DECISIONS), ("link_pairs", LINK_PAIRS), ("loss_reduction", LOSS_REDUCTIONS),
            ("activation", ACTIVATIONS),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} {getattr(self, name)!r:.80} is none of {', '.join(allowed)}")
        check_language(self.language)
        for name in ("flat", "inverse_links", "respect_word_boundaries", "self_links"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}: expected true or false, found {getattr(self, name)!r:.80}")
        for name, low, high in (
            ("omega", 1, 64), ("dropout", 0.0, 0.95), ("link_threshold", 0.0, 1.0), ("window_overlap", 0, 10**6),
            ("pair_memory_mb", 1, 10**6), ("left_width", 1, 10**6), ("pair_width", 1, 10**6),
            ("max_subwords", 8, 10**6),
        ):  # fmt: skip
            value = getattr(self, name)
            kinds = (int, float) if isinstance(low, float) else int
            optional = value is None and name in ("left_width", "pair_width", "max_subwords")
            number = isinstance(value, kinds) and not isinstance(value, bool)
            if not optional and not (number and low <= value <= high):
                raise ConfigError(f"{name} {str(value)[:80]} is outside [{low}, {high}]")

    @property
    def link_outputs(self) -> int:
        """The columns of IsLink's logits: R, or R and their inverse readings."""
        return len(self.schema.relation_types) * (2 if self.inverse_links else 1)

    def rules(self, link_threshold: float | None = None) -> DecodingRules:
        """Return the rules of decoding, with another lambda if `link_threshold` is given."""
        return DecodingRules(
            omega=self.omega, type_decision=self.type_decision,
            link_threshold=self.link_threshold if link_threshold is None else link_threshold,
            flat=self.flat, inverse_links=self.inverse_links, self_links=self.self_links,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"model_type": "iter", **values, "schema": self.schema.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> IterConfig:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: a key that is unknown or missing.
        """
        if not isinstance(values, dict):
            raise ConfigError(f"not an ITER configuration: {values!r:.80}")
        rest = {key: value for key, value in values.items() if key != "model_type"}
        known = {f.name for f in fields(cls)}
        if values.get("model_type") != "iter" or set(rest) - known or not {"schema", "encoder"} <= set(rest):
            raise ConfigError(
                f"not an ITER configuration: model_type {values.get('model_type')!r:.80}, "
                f"unknown keys {sorted(set(rest) - known)[:5]}, missing {sorted({'schema', 'encoder'} - set(rest))}"
            )
        try:
            schema = Schema.from_dict(rest["schema"])
        except ValueError as error:
            raise ConfigError(f"schema: {error}") from error
        return cls(**{**rest, "schema": schema})
