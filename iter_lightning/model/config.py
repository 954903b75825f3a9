"""The configuration of an ITER model: everything except the weights. Free of torch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from iter_lightning.errors import ConfigError
from iter_lightning.types import Schema

Activation = Literal["relu", "gelu", "tanh"]
"""The search space of Appendix D; `heads.ACTIVATIONS` holds the functions."""
TypeDecision = Literal["argmax", "all", "sum"]
LinkPairs = Literal["entities", "positions"]
LossReduction = Literal["sum", "batch_mean"]
HeadKind = Literal["fixed", "bound", "open"]

_LANGUAGE = re.compile(r"[a-z]{2,3}")


def check_language(language: str | None) -> str | None:
    """Return a spaCy language code unchanged, or None.

    Raises:
        ConfigError: `language` is neither.
    """
    if language is not None and not (isinstance(language, str) and _LANGUAGE.fullmatch(language)):
        raise ConfigError(f"language: expected a spaCy code such as en or de, or xx for several; found {language!r}")
    return language


@dataclass(frozen=True)
class IterConfig:
    """Everything that defines a model except its weights.

    This is the only declaration of the model's options. The command line, YAML files, saved models, and the ONNX
    backend all use it.

    Args:
        schema: entity and relation types.
        encoder: `to_dict()` of the encoder's Hugging Face configuration.
        omega: number of closest preceding left brackets that a right bracket may pair with; 1 means flat.
        flat: entities never overlap: of overlapping spans only the most probable is kept.
        activation: activation of the heads: relu, gelu or tanh.
        dropout: dropout probability before the output projections of the heads.
        left_width: inner width of IsLeft; null is the encoder's feed-forward width d_ff.
        pair_width: inner width of IsSpan and IsLink; null is 2 * d_ff.
        respect_word_boundaries: allow left brackets only at the first and right brackets only at the last subword of a
            word.
        type_decision: how IsSpan's logits become types: `argmax` is the best type if its logit is positive; `all` is
            every type with a positive logit (Eq. 5 as printed); `sum` is the best type if the log-sum-exp over all
            types is positive (the published code for omega 1).
        link_threshold: lambda of Eq. 6: a relation is found if its probability is greater.
        inverse_links: score each relation type in both directions, from head to tail and from tail to head; the larger
            probability counts.
        self_links: allow a relation between an entity and itself, or another entity of the same words. Training sets
            it from the training data; true is the rule of published checkpoints and of models that were saved without
            this option.
        language: spaCy code of the language whose rules split raw text into words; null is unknown and read as English.
        link_pairs: pairs that IsLink is trained on: `entities` are pairs of gold entities (Eq. 13), `positions` are
            pairs of a span candidate and a gold entity.
        loss_reduction: `sum` over all windows of an optimizer step, as printed in the paper, or `batch_mean`. With
            gradient accumulation, `sum` adds up all batches of a step, and `batch_mean` averages the means of the
            batches. With DDP the ranks are averaged in both cases.
        max_subwords: longest window in subwords; null is the encoder's limit.
        window_overlap: subwords that neighboring windows of a long text share.
        heads: `fixed` are the heads of the paper. `open` generates the output layers from the text of the labels, so
            that types are chosen at call time (see `IterModel.bind`). `bound` are the heads of an open model with
            chosen types. In both, IsLeft scores each entity type and takes the maximum, and outputs have biases.
        predicted_lefts: in training, pair rights also with the false left brackets that IsLeft predicts, so that
            IsSpan learns to reject them.
        pair_memory_mb: upper limit in MiB for the inner layers that a pair head keeps at once. Larger batches of pairs
            are computed in chunks, and computed again in the backward pass. Without gradients a GPU may use 32 times
            as much.

    Raises:
        ConfigError: a value is outside its range; the message names the range.

    Example:
        >>> schema = Schema(("Per", "Org"), ("WorksFor",))
        >>> IterConfig(schema, encoder={}, omega=2).link_outputs
        1
    """

    schema: Schema
    encoder: dict[str, Any]
    omega: int = 1
    flat: bool = False
    activation: Activation = "relu"
    dropout: float = 0.3
    left_width: int | None = None
    pair_width: int | None = None
    respect_word_boundaries: bool = True
    type_decision: TypeDecision = "argmax"
    link_threshold: float = 0.5
    inverse_links: bool = False
    self_links: bool = True
    language: str | None = None
    link_pairs: LinkPairs = "entities"
    loss_reduction: LossReduction = "sum"
    max_subwords: int | None = None
    window_overlap: int = 64
    pair_memory_mb: int = 16
    heads: HeadKind = "fixed"
    predicted_lefts: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, dict):
            raise ConfigError(f"encoder: found {self.encoder!r:.80}, expected an object")
        object.__setattr__(self, "encoder", json.loads(json.dumps(self.encoder)))  # JSON has no integer keys
        for name, literal in (
            ("type_decision", TypeDecision), ("link_pairs", LinkPairs), ("loss_reduction", LossReduction),
            ("activation", Activation), ("heads", HeadKind),
        ):  # fmt: skip
            if getattr(self, name) not in get_args(literal):
                expected = ", ".join(get_args(literal))
                raise ConfigError(f"{name}: expected one of {expected}, found {getattr(self, name)!r:.80}")
        check_language(self.language)
        for name in ("flat", "inverse_links", "respect_word_boundaries", "self_links", "predicted_lefts"):
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

        if self.predicted_lefts and self.link_pairs == "positions":
            raise ConfigError("predicted_lefts: cannot be combined with link_pairs positions")
        if self.heads != "fixed" and self.inverse_links:
            raise ConfigError(f"inverse_links: {self.heads} heads read a label in one direction only")

    @property
    def link_outputs(self) -> int:
        """Number of columns of IsLink's logits: R, or 2R with inverse links."""
        return len(self.schema.relation_types) * (2 if self.inverse_links else 1)

    @property
    def left_outputs(self) -> int:
        """Number of columns of IsLeft's logits: 1, or the number of entity types with bound and open heads."""
        return 1 if self.heads == "fixed" else len(self.schema.entity_types)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"model_type": "iter", **values, "schema": self.schema.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> IterConfig:
        """Build a configuration from what `to_dict` returned.

        Raises:
            ConfigError: a key is unknown or missing, or a value is outside its range.
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
