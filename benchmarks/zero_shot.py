"""Measure an open model on corpora that it has not seen; see docs/reports/open.md.

python -m benchmarks.zero_shot MODEL --data ../corpora
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from iter_lightning.corpora.conll import read_conll
from iter_lightning.corpora.labeled import LabeledCorpus, read_labeled
from iter_lightning.corpora.spert import read_spert
from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric
from iter_lightning.model import IterModel
from iter_lightning.model.label_layers import LabelLinear
from iter_lightning.types import Example, Prediction, Relation, Schema

WORDINGS = ("name", "description", "paraphrase")
CORPORA = Path(__file__).with_name("zero_shot.yaml")


@dataclass(frozen=True)
class Subject:
    """A corpus to measure on: examples with the names of its types, and what a model reads for each."""

    name: str
    schema: Schema
    texts: dict[str, str]
    examples: list[Example]
    nested: bool


def subject(name: str, entry: Mapping[str, Any], data: Path, wording: str, split: str, limit: int | None) -> Subject:
    """Read a corpus of zero_shot.yaml."""
    if "folder" in entry:
        return _of_folder(name, read_labeled(data / entry["folder"]).named(), wording, split, limit)
    path = data / entry["dev" if split == "dev" and "dev" in entry else "file"]
    examples = read_spert(path) if ".json" in path.name else read_conll(path, level="sentence")
    number = WORDINGS.index(wording)
    texts: dict[str, str] = {}
    names: dict[str, str] = {}
    for group in ("entities", "relations"):
        for key, wordings in entry.get(group, {}).items():
            label = wordings[0] if wording != "paraphrase" else wordings[2]
            names[f"{group}/{key}"] = label
            texts[label] = f"{label}: {wordings[number]}" if wording == "description" else label
    schema = Schema(
        tuple(names[f"entities/{key}"] for key in entry["entities"]),
        tuple(names[f"relations/{key}"] for key in entry.get("relations", {})),
        tuple(names[f"relations/{key}"] for key in entry.get("symmetric", ())),
    )
    renamed = [_renamed(example, names) for example in examples[:limit]]
    return Subject(name, schema, texts, renamed, entry.get("nested", False))


def _of_folder(name: str, corpus: LabeledCorpus, wording: str, split: str, limit: int | None) -> Subject:
    texts = {
        key: f"{key}: {label.description}" if wording == "description" and label.description else key
        for key, label in corpus.labels.items()
    }
    return Subject(name, corpus.schema, texts, corpus.splits[split][:limit], nested=True)


def _renamed(example: Example, names: Mapping[str, str]) -> Example:
    new = {entity: replace(entity, type=names[f"entities/{entity.type}"]) for entity in example.entities}
    relations = (Relation(new[r.head], new[r.tail], names[f"relations/{r.type}"]) for r in example.relations)
    return replace(example, entities=tuple(new.values()), relations=tuple(relations))


def predictions(model: IterModel, given: Subject, link_threshold: float | None) -> list[Prediction]:
    """Bind the model to the types of a corpus and read its examples."""
    bound = model.bind(given.schema, given.texts, given.nested)
    plain = [replace(example, entities=(), relations=()) for example in given.examples]
    return bound.predict(plain, link_threshold=link_threshold)


def scores(given: Subject, found: Sequence[Prediction]) -> dict[str, float]:
    """Return precision, recall and F1 of NER, RE and RE+, in percent."""
    metric = ExtractionMetric(given.schema, EvaluationDefinition())
    metric.update(list(found), given.examples)
    values = {name: round(100 * float(value), 1) for name, value in metric.compute().items() if "macro" not in name}
    return values if given.schema.relation_types else {k: v for k, v in values.items() if k.startswith("ner")}


@torch.no_grad()
def relation_accuracy(model: IterModel, data: Path, withheld: Sequence[str], limit: int | None) -> dict[str, Any]:
    """Classify the marked pair of FewRel's sentences among relations that the model has not seen.

    The type with the highest probability counts, as in the zero-shot relation classification of the literature.
    """
    from iter_lightning.model.iter import ModelHeads

    corpus = read_labeled(data / "open/fewrel")
    keys = [key for key in withheld if key in corpus.schema.relation_types]
    names = {key: corpus.labels[key].name for key in keys}
    bound = model.bind(Schema(("entity",), tuple(names.values())))
    examples = [e for split in corpus.splits.values() for e in split if e.relations and e.relations[0].type in keys]
    right: dict[str, list[bool]] = {key: [] for key in keys}
    for example in examples[:limit]:
        relation = example.relations[0]
        pair = replace(example, entities=tuple(replace(e, type="entity") for e in (relation.head, relation.tail)),
                       relations=())  # fmt: skip
        if relation.head == relation.tail or len(set(pair.entities)) < 2:
            continue
        (encoded,) = bound.aligner().encode([pair])
        batch = bound.collate([(encoded, 0)])
        if len(batch.gold_spans_S3) < 2:
            continue
        order = [0, 1] if encoded.windows[0].spans[0] == _span(encoded, relation.head) else [1, 0]
        slots = batch.gold_spans_S3[order]
        logits = ModelHeads(bound, batch, bound.encode(batch)).link_logits(
            slots[:, 1], slots[:, 2], torch.tensor([0]), torch.tensor([1])
        )
        right[relation.type].append(keys[int(logits.argmax())] == relation.type)
    every = [value for values in right.values() for value in values]
    return {"types": len(keys), "sentences": len(every), "accuracy": round(100 * sum(every) / max(1, len(every)), 1),
            "by type": {names[k]: round(100 * sum(v) / len(v), 1) for k, v in right.items() if v}}  # fmt: skip


def _span(encoded: Any, entity: Any) -> tuple[int, int]:
    words = encoded.windows[0].word_of_subword
    return words.index(entity.start), len(words) - 1 - words[::-1].index(entity.end - 1)


def shift(model: IterModel, left: float, span: float) -> None:
    """Add constants to the logits of IsLeft and IsSpan of an open model."""
    for head, value in ((model.is_left, left), (model.is_span, span)):
        assert isinstance(head.w_out, LabelLinear)
        head.w_out.offset.bias.data += value


def main() -> None:
    """Print one JSON line for each corpus and wording."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zero_shot", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--corpora", nargs="+", help="default: all of zero_shot.yaml, and withheld relations")
    parser.add_argument("--wordings", nargs="+", choices=WORDINGS, default=["name"])
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--sentences", type=int, help="first sentences of each corpus")
    parser.add_argument("--link-threshold", type=float)
    parser.add_argument("--left-shift", type=float, default=0.0, help="added to the logits of IsLeft")
    parser.add_argument("--span-shift", type=float, default=0.0, help="added to the logits of IsSpan")
    options = parser.parse_args()
    model = IterModel.from_pretrained(options.model)
    shift(model, options.left_shift, options.span_shift)
    entries = yaml.safe_load(CORPORA.read_text(encoding="utf-8"))
    for name in options.corpora or [*entries, "withheld"]:
        if name == "withheld":
            recipe = yaml.safe_load((CORPORA.parents[1] / "experiments" / "open_minilm.yaml").read_text("utf-8"))
            withheld = recipe["data"]["init_args"]["withheld"]
            found = relation_accuracy(model, options.data, withheld, options.sentences)
            print(json.dumps({"corpus": name, **found}), flush=True)
            continue
        for wording in options.wordings:
            given = subject(name, entries[name], options.data, wording, options.split, options.sentences)
            result = scores(given, predictions(model, given, options.link_threshold))
            line = {"corpus": name, "wording": wording, "sentences": len(given.examples), **result}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
