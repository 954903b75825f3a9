"""What to measure in: a subject's own sentences, or made ones of a length with so many entities; prepared models."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

from iter_lightning.benchmark.calibration import Density, calibrate
from iter_lightning.benchmark.subjects import Subject, samples_of_length, variant
from iter_lightning.errors import ConfigError
from iter_lightning.model import IterModel
from iter_lightning.model.inference import InferenceOptions, prepare
from iter_lightning.model.kernels import describe
from iter_lightning.types import Example

Measurement = tuple[dict[str, Any], dict[str, Any]]
"""Settings, which name a figure within its section, and the values measured."""


@dataclass(frozen=True)
class Shape:
    """Made sentences: a corpus's words strung together and cut to a length."""

    subwords: int
    """Of a sentence, special tokens included."""
    entities: float
    """Of a sentence, on average; each has a left of its own, relations are in the corpus's proportion."""
    sentences: int
    """Of a pass."""
    omega: int | None = None
    """None is the model's."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What the command line asks for; every section takes of it what it needs.

    Raises:
        ConfigError: a number that is too small, or nothing to measure at.
    """

    passes: int = 5
    batch_sizes: tuple[int, ...] = (1, 8, 64)
    """Of `speed` and `stream`; the largest is that of `memory`."""
    token_budgets: tuple[int, ...] = ()
    """Padded subwords a batch, of `speed` and `stream`."""
    batch: int = 8
    """Sentences a batch in every other section."""
    precisions: tuple[str, ...] = ("fp32",)
    compile: bool = False
    packing: bool | None = None
    """None packs where the encoder's family allows it; False pads."""
    workers: int = 0
    """Processes that tokenise ahead of the model."""
    lengths: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048, 4096)
    entities: tuple[int, ...] = (2, 8, 32, 102, 200)
    subwords: int = 1024
    """Of a sentence in `entities`."""

    def __post_init__(self) -> None:
        for name, low in (("passes", 1), ("batch", 1), ("workers", 0), ("subwords", 8)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be at least {low}, found {getattr(self, name)}")
        for name, low in (("batch_sizes", 1), ("token_budgets", 1), ("lengths", 8), ("entities", 1)):
            if wrong := [value for value in getattr(self, name) if value < low]:
                raise ConfigError(f"{name} must be at least {low} each, found {', '.join(map(str, wrong))}")
        if not self.batch_sizes and not self.token_budgets:
            raise ConfigError("nothing to measure at: give batch_sizes or token_budgets")

    @property
    def options(self) -> list[InferenceOptions]:
        """One for each precision, slow ones too: how slow they are is what a benchmark tells."""
        return [
            InferenceOptions(precision, self.compile, self.packing, allow_slow=True) for precision in self.precisions
        ]


@dataclass(frozen=True)
class Setting:
    """A model as loaded, sentences for it, and what untrained heads are to find in them (None: they are trained)."""

    model: IterModel
    examples: list[Example]
    wanted: Density | None
    longest_batch: int | None = None
    """Padded subwords a batch, at most."""

    def prepare(
        self, options: InferenceOptions, batch_size: int, keep: bool = True
    ) -> tuple[IterModel, Density | None]:  # fmt: skip
        """The model for inference, its heads calibrated, and what they find.

        Args:
            options: precision, compilation, padding.
            batch_size: of calibrating.
            keep: leave the loaded model as it is, which takes a copy of its weights.
        """
        prepared = prepare(deepcopy(self.model) if keep else self.model, options)
        if self.wanted is None:
            return prepared, None
        return prepared, calibrate(prepared, self.examples, self.wanted, batch_size, self.longest_batch)


def own_setting(subject: Subject) -> Setting:
    """The subject's sentences, read by its model as it is."""
    wanted = None if subject.trained else Density.of(subject.examples)
    return Setting(subject.model, subject.examples, wanted)


def shaped_setting(subject: Subject, shape: Shape, longest_batch: int | None = None) -> Setting:
    """Made sentences, read by new heads on the subject's encoder; overlapping entities are allowed.

    Random heads find spans that overlap more than trained ones do, so that a flat model would drop most of them.
    """
    omega = shape.omega or subject.model.config.omega
    model = variant(subject.model, max(shape.subwords, 16), omega=omega, flat=False)
    examples = samples_of_length(model, subject.examples, shape.subwords, shape.sentences)
    return Setting(model, examples, Density.of(subject.examples).with_spans(shape.entities), longest_batch)


def kernels_of(options: InferenceOptions, model: IterModel) -> str:
    """The kernels that a model runs on under these options; see `kernels.describe`."""
    return describe(options.precision, next(model.parameters()).device, options.compile)


def options_of(options: InferenceOptions) -> dict[str, Any]:
    """Plain values, for JSON."""
    return {"precision": options.precision, "compile": options.compile, "packing": options.packing}


def batchings(plan: Plan) -> Iterator[tuple[int | None, int | None]]:
    """(sentences a batch, padded subwords a batch) of `speed` and `stream`."""
    yield from ((size, None) for size in plan.batch_sizes)
    yield from ((None, budget) for budget in plan.token_budgets)
