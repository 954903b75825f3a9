"""Read checkpoints of the published ITER code (GitHub fleonce/ITER, hub ids `fleonce/iter-*`) as `IterModel`s.

Layout of these checkpoints: config.json contains the encoder's configuration under `transformer_config` and a bit field
`features`. Tensors are `model.*` (the encoder) and `is_l`, `lr_score`, `rr_score` (IsLeft, IsSpan, IsLink), each with
`gate` (our W_a), `wi` and `wo`, without biases. Differences from our layout are converted exactly:

- IsLink reads [tail; head]. For omega > 1 a span is the *sum* of its two ends, and W (l + r) = [W W] [l; r].
- For omega > 1 IsSpan has a last row "none", and the row with the best logit is the decision. Our "none" has the logit
  0, so that row is subtracted from the others.
- Negative samples from inverted link types are our `inverse_links`: a second set of rows in IsLink. In both codes, a
  link is found if either set finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iter_lightning.errors import ConfigError, EncoderError, IterError
from iter_lightning.model import encoder as encoders
from iter_lightning.model import loading, stored
from iter_lightning.model.base import IterBase
from iter_lightning.model.config import IterConfig
from iter_lightning.model.heads import ACTIVATIONS
from iter_lightning.model.stored import read_json, read_tensors
from iter_lightning.types import Schema

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=IterBase)
_NONE_TYPE, _NONE_LINK, _BATCH_MEAN, _NESTED, _NER_ONLY, _INVERSE_LINKS, _ENTITY_PAIRS = 5, 7, 8, 9, 11, 18, 20
"""Bits of `features` that change the computation; the others describe data and evaluation."""
_REFUSED = {0: "entities from an earlier layer", 1: "summed pairs", 6: "a T5 decoder", 12: "a T5 decoder"}
_REFUSED_LINKS = {4: "one link a pair", 15: "one link a pair"}
_NOT_THE_ENCODERS = {"max_length", "torch_dtype", "dtype", "architectures", "transformers_version"}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "spiece.model", "spm.model", "vocab.txt")
_LEFT_OUT = re.compile(r"model\.(pooler\.|decoder\.|shared\.weight$|(encoder\.)?embed_tokens\.weight$|.*position_ids$)")
"""Unused tensors of these encoders: poolers, decoders, second names of tied embeddings, position indices."""


def found_in(source: Path) -> bool:
    """Return whether a folder has a config.json of the published code; our own also has the `model_type` iter."""
    try:
        values = read_json(source / "config.json")
    except EncoderError:
        return False
    return values.get("model_type") == "iter" and "schema" not in values and "num_types" in values


def load(source: Path, model_class: type[_Model]) -> _Model:
    """Load a checkpoint of the published code, in `eval()` mode; nothing in the folder is executed.

    Args:
        source: a folder for which `found_in` is true.
        model_class: class of the model to build.

    Raises:
        EncoderError: a file is missing or unreadable, a key or a tensor does not match, or the checkpoint uses a
            variant of the published code that is not supported.
    """
    stored.check_files(source)
    published = read(source)
    fitted = published.fitted(loading.plan(source, published.config, model_class))
    model = loading.build(source, published.config, model_class)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(fitted[name])
    model.tokenizer = published.tokenizer()
    loading.try_out(source, model.eval())
    return model


@dataclass(frozen=True)
class Published:
    """A checkpoint: our configuration and the published tensors."""

    source: Path
    config: IterConfig
    features: frozenset[int]
    base: str
    """The name of the pretrained encoder; empty if the file does not contain it."""
    weights: Path
    tensors: dict[str, Tensor]

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer of the folder or, since most checkpoints are saved without, of the pretrained encoder.

        Raises:
            EncoderError: neither can be loaded.
        """
        if any((self.source / name).is_file() for name in _TOKENIZER_FILES):
            return encoders.load_tokenizer(str(self.source))
        if not self.base:
            raise EncoderError(f"{self.source} contains no tokenizer, and its config.json does not name the encoder")
        try:
            return encoders.load_tokenizer(self.base)
        except EncoderError as error:
            raise EncoderError(
                f"{self.source} contains no tokenizer, and that of its encoder {self.base} cannot be loaded; "
                f"save the tokenizer into the folder: {error}"
            ) from error

    def fitted(self, model: nn.Module) -> dict[str, Tensor]:
        """Convert the tensors to the parameters of a model with `config`.

        Raises:
            EncoderError: one is missing, unexpected or has another shape.
        """
        rest, own = dict(self.tensors), dict(model.named_parameters())
        fitted = self._heads(rest, {name: list(parameter.shape) for name, parameter in own.items()})
        for name, parameter in own.items():
            if name not in fitted:
                fitted[name] = self._take(rest, _encoder_names(name), list(parameter.shape))
        idle = () if self.config.schema.relation_types else ("rr_score.",)  # stored even if it was not trained
        unexpected = sorted(name for name in rest if not (_LEFT_OUT.match(name) or name.startswith(idle)))
        if unexpected:
            raise EncoderError(f"{self.weights}: unexpected {unexpected[:3]}, expected an encoder and three heads")
        return fitted

    def _heads(self, rest: dict[str, Tensor], shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
        """Convert the heads' tensors to ours, of the given shapes."""
        types, links = len(self.config.schema.entity_types), self.config.link_outputs
        sides = 1 if self.config.omega == 1 else 2
        fitted: dict[str, Tensor] = {}
        for ours, theirs, outputs, operands in (
            ("is_left", "is_l", 1, 1),
            ("is_span", "lr_score", types + (_NONE_TYPE in self.features), 1),
            ("is_link", "rr_score", links + (_NONE_LINK in self.features), sides),
        ):
            if f"{ours}.w_in.weight" not in shapes:
                continue  # no links
            inner, inputs = shapes[f"{ours}.w_in.weight"]
            shape = [inner // 2, inputs // operands]
            w_in = torch.cat([self._take(rest, [f"{theirs}.{part}.weight"], shape) for part in ("gate", "wi")])
            w_out = self._take(rest, [f"{theirs}.wo.weight"], [outputs, shape[0]])
            if ours == "is_link":
                tail, head = w_in.chunk(2, dim=1)
                w_in, w_out = torch.cat([head] * sides + [tail] * sides, dim=1), w_out[:links]
            elif ours == "is_span" and _NONE_TYPE in self.features:
                w_out = w_out[:-1] - w_out[-1:]
            fitted |= {f"{ours}.w_in.weight": w_in, f"{ours}.w_out.weight": w_out}
        return fitted

    def _take(self, rest: dict[str, Tensor], names: list[str], shape: list[int]) -> Tensor:
        """Remove the first of these tensors that exists from `rest`, and return it in float32."""
        name = next((name for name in names if name in rest), None)
        if name is None:
            raise EncoderError(f"{self.weights}: {names[0]}: no such tensor; expected one of shape {shape}")
        found = rest.pop(name)
        if list(found.shape) != shape:
            raise EncoderError(f"{self.weights}: {name}: found shape {list(found.shape)}, expected {shape}")
        if not found.is_floating_point() or found.layout != torch.strided:
            raise EncoderError(f"{self.weights}: {name}: found {found.dtype}, expected dense floating-point numbers")
        return found.float()


def read(source: Path) -> Published:
    """Read and check a checkpoint's files.

    Raises:
        EncoderError: see `load`.
    """
    path = source / "config.json"
    values = read_json(path)
    weights, tensors = read_tensors(source)
    widths = {
        f"{ours}_width": _width(weights, tensors, theirs) for ours, theirs in (("left", "is_l"), ("pair", "lr_score"))
    }
    try:
        features = _features(values)
        base = _base(values)
        encoder = _encoder(values, base)
        options = {**_options(values, features), "max_subwords": _window(values, encoder), **widths}
        config = IterConfig(schema=_schema(values, features), encoder=encoder, **options)
    except (IterError, ValueError, TypeError) as error:
        raise EncoderError(f"{path}: {error}") from error
    return Published(source, config, features, base, weights, tensors)


def _value(values: Mapping[str, Any], key: str, kind: type[_T], default: _T | None = None) -> _T:
    """Return the value of a key after checking its type."""
    value = values.get(key, default)
    if isinstance(value, int) and kind is float:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{key}: found {value!r}, expected {kind.__name__}")
    return value


def _features(values: Mapping[str, Any]) -> frozenset[int]:
    """Return the bits of `features` that are set; the file contains a number or a list of bits.

    Raises:
        ConfigError: a bit stands for a variant that is not supported.
    """
    given = values.get("features", 0)
    if isinstance(given, list):
        if not all(isinstance(bit, int) for bit in given):
            raise ConfigError(f"features: found {given}, expected numbers of bits")
        features = frozenset(given)
    else:
        number = _value(values, "features", int, 0)
        features = frozenset(bit for bit in range(number.bit_length()) if number >> bit & 1)
    for bit, what in {**_REFUSED, **({} if _NER_ONLY in features else _REFUSED_LINKS)}.items():
        if bit in features:
            raise ConfigError(f"features: found bit {bit} ({what}), which is not supported")
    if (_NESTED in features) != (_NONE_TYPE in features):
        raise ConfigError(f"features: found one of the bits {_NESTED} and {_NONE_TYPE}, expected both or neither")
    if {_NONE_LINK, _INVERSE_LINKS} <= features and _NER_ONLY not in features:  # the published code confuses the rows
        raise ConfigError(f"features: found the bits {_NONE_LINK} and {_INVERSE_LINKS}, expected at most one of them")
    for key, expected in (("use_gate", True), ("use_mlp", True), ("use_bias", False)):
        if _value(values, key, bool, expected) is not expected:
            raise ConfigError(f"{key}: found {not expected}, which is not supported; expected {expected}")
    return features


def _schema(values: Mapping[str, Any], features: frozenset[int]) -> Schema:
    """Read the types. Symmetric links are not recorded; the published code treats none as symmetric."""
    types: dict[str, tuple[str, ...]] = {"link_types": ()}
    for key, number, none in (("entity_types", "num_types", _NONE_TYPE), ("link_types", "num_links", _NONE_LINK)):
        if key == "link_types" and _NER_ONLY in features:
            continue
        types[key] = tuple(_value(values, key, list, []))
        expected = _value(values, number, int, 0) - (none in features)
        if len(types[key]) != expected:
            raise ConfigError(f"{key}: found {len(types[key])} names, expected {expected} by {number}; add them there")
    return Schema(types["entity_types"], types["link_types"])


def _options(values: Mapping[str, Any], features: frozenset[int]) -> dict[str, Any]:
    """Read all other options of the model."""
    activation = _value(values, "activation_fn", str, "gelu")
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation_fn: found {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
    omega = _value(values, "max_nest_depth", int, 1) if _NESTED in features else 1
    if omega == 1 and _NESTED in features:
        raise ConfigError("max_nest_depth: found 1, expected more with features bit 9")
    return {
        "omega": omega,
        "activation": activation,
        "dropout": _value(values, "dropout", float, 0.3),
        "link_threshold": _value(values, "threshold", float, 0.5),
        "respect_word_boundaries": False,
        "type_decision": "argmax" if _NESTED in features else "sum",
        "inverse_links": _INVERSE_LINKS in features and _NER_ONLY not in features,
        "loss_reduction": "batch_mean" if _BATCH_MEAN in features else "sum",
        "link_pairs": "entities" if _ENTITY_PAIRS in features else "positions",
    }


def _base(values: Mapping[str, Any]) -> str:
    """Return the name of the pretrained encoder, which may be a path on the authors' machine."""
    nested = _value(values, "transformer_config", dict, {})
    return str(nested.get("_name_or_path") or values.get("transformer_name") or "")


def _encoder(values: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return the encoder's configuration.

    The file contains values that differ from the family's defaults or, without a `model_type`, from the base encoder's.
    """
    nested = _value(values, "transformer_config", dict, {})
    own = {k: v for k, v in nested.items() if not k.startswith("_") and k not in _NOT_THE_ENCODERS}
    if "model_type" in own:
        return encoders.config_from_dict(own, "transformer_config.").to_dict()
    if not base:
        raise ConfigError("transformer_config: found neither model_type nor _name_or_path, expected one of them")
    return {**encoders.load_config(base).to_dict(), **own}


def _window(values: Mapping[str, Any], encoder: Mapping[str, Any]) -> int | None:
    """Return the longest input, limited by the encoder's positions."""
    longest = values.get("max_length", _value(values, "transformer_config", dict, {}).get("max_length"))
    if longest is None:
        return None
    if not isinstance(longest, int):
        raise ConfigError(f"max_length: found {longest!r:.80}, expected int")
    config = encoders.config_from_dict(dict(encoder))
    bounded = encoders.has_absolute_positions(config)
    return min(longest, encoders.position_limit(config)) if bounded else longest


def _encoder_names(ours: str) -> list[str]:
    """Return the names that an encoder tensor may have there; tied embeddings are stored under only one of them."""
    name = ours.removeprefix("encoder.")
    names = [f"model.{name}", f"model.encoder.{name}"]
    if name in {"shared.weight", "embed_tokens.weight", "encoder.embed_tokens.weight"}:
        names += ["model.shared.weight", "model.encoder.embed_tokens.weight", "model.embed_tokens.weight"]
    return names


def _width(weights: Path, tensors: Mapping[str, Tensor], head: str) -> int:
    """Return F, the inner width of a head."""
    name = f"{head}.wo.weight"
    if name not in tensors or tensors[name].dim() != 2:
        found = f"shape {list(tensors[name].shape)}" if name in tensors else "no such tensor"
        raise EncoderError(f"{weights}: {name}: found {found}, expected a matrix")
    return int(tensors[name].shape[1])
