"""Report the content of a corpus (Table 1), its annotation problems, and the scores of a perfect model (`inspect`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iter_lightning.corpora import CATALOG
from iter_lightning.corpora.checks import (
    CorpusReport,
    SplitReport,
    check_corpus,
    has_self_links,
    omega_needed,
    word_level_recall,
)
from iter_lightning.corpora.corpus import Splits
from iter_lightning.corpora.synthetic import SCHEMA, SyntheticConfig, synthetic_splits
from iter_lightning.errors import ConfigError
from iter_lightning.features.alignment import Aligner
from iter_lightning.features.ceiling import EncodingReport, encoding_report
from iter_lightning.model.encoder import load_config, load_tokenizer, position_limit
from iter_lightning.types import Schema

ERASED_SHOWN = 10
"""Erased words per split that the report lists."""


def inspect_corpus(name: str, data_dir: Path, encoder: str, fold: int = 0) -> dict[str, Any]:
    """Measure a corpus and return plain values; `text` holds the report of `render`.

    Args:
        name: Key of the catalog, or `synthetic`.
        data_dir: Data folder, which contains the folder of the corpus.
        encoder: Encoder whose tokenizer and longest input are used: a folder, a hub id, or `package:NAME`.
        fold: Fold of a corpus for cross-validation, such as ADE.

    Raises:
        ConfigError: If the corpus is unknown.
        CorpusError: If its files are missing or damaged.
        EncoderError: If the tokenizer cannot be loaded.
    """
    title, schema, omega, unit, splits = _load(name, data_dir, fold)
    report = check_corpus(splits, schema)
    aligner = Aligner(
        load_tokenizer(encoder), schema, omega, position_limit(load_config(encoder)),
        self_links=has_self_links(splits["train"]),
    )  # fmt: skip
    encoded = {split: encoding_report(aligner.encode(examples)) for split, examples in splits.items()}
    word_recall = {split: word_level_recall(examples, omega) for split, examples in splits.items()}
    return {
        "corpus": title,
        "unit": unit,
        "omega": omega,
        "encoder": encoder,
        **report.to_dict(),
        "encoding": {split: found.to_dict() for split, found in encoded.items()},
        "word_level_recall": word_recall,
        "text": render(title, omega, encoder, report, encoded, word_recall, unit),
    }


def _load(name: str, data_dir: Path, fold: int) -> tuple[str, Schema, int, str, Splits]:
    """Return title, schema, omega, unit and splits."""
    if name == "synthetic":
        splits = synthetic_splits(SyntheticConfig())
        omega = max(omega_needed(e) for split in splits.values() for e in split)
        return "Synthetic", SCHEMA, omega, "sentences", splits
    if name not in CATALOG:
        raise ConfigError(f"unknown corpus {name!r}; expected one of {', '.join(CATALOG)}, synthetic")
    corpus = CATALOG[name]
    title = f"{corpus.title} fold {fold}" if corpus.folds else corpus.title
    return title, corpus.schema, corpus.omega, corpus.unit, corpus.load(data_dir, fold)


def render(
    title: str, omega: int, encoder: str, report: CorpusReport, encoded: Mapping[str, EncodingReport],
    words: Mapping[str, tuple[float, float]], unit: str = "sentences",
) -> str:  # fmt: skip
    """Render the report as text: a table with one column per split, followed by notes."""
    splits = report.splits
    rows: list[tuple[str, Sequence[object]]] = [
        (unit, [s.sentences for s in splits.values()]),
        ("words", [s.words for s in splits.values()]),
        *_by_type("entities", [s.entities for s in splits.values()]),
        *_by_type("relations", [s.relations for s in splits.values()]),
        ("omega needed", [max(s.omega_needed, default=0) for s in splits.values()]),
        ("  entities by omega", [_histogram(s) for s in splits.values()]),
        (f"overlapping, % of {unit}", [_percent(s.overlapping_sentences, s.sentences) for s in splits.values()]),
        ("overlapping pairs", [s.overlapping_pairs for s in splits.values()]),
        ("nested entities", [s.nested_entities for s in splits.values()]),
        ("nesting depth", [s.depth for s in splits.values()]),
        ("without entities", [s.without_entities for s in splits.values()]),
        (f"duplicate {unit}", [s.duplicates for s in splits.values()]),
        ("spans of several types", [s.several_types for s in splits.values()]),
        ("relations to itself", [s.self_relations for s in splits.values()]),
        ("subwords median / 95 % / max",
         [f"{e.subwords_median} / {e.subwords_p95} / {e.subwords_max}" for e in encoded.values()]),
        (f"{unit} in several windows", [e.windowed for e in encoded.values()]),
        ("oracle NER recall, words, %", [f"{100 * words[s][0]:.2f}" for s in splits]),
        ("oracle NER recall, encoded, %", [f"{100 * e.ner_recall:.2f}" for e in encoded.values()]),
        ("oracle RE+ recall, words, %", [f"{100 * words[s][1]:.2f}" for s in splits]),
        ("oracle RE+ recall, encoded, %", [f"{100 * e.re_plus_recall:.2f}" for e in encoded.values()]),
    ]  # fmt: skip
    name_width = max(len(name) for name, _ in rows)
    width = max(12, *(len(str(v)) for _, values in rows for v in values)) + 2
    lines = [f"{title} · omega {omega} · encoder {encoder}", ""]
    lines.append(" " * name_width + "".join(f"{split:>{width}}" for split in splits))
    lines += [f"{label:<{name_width}}" + "".join(f"{_number(v):>{width}}" for v in values) for label, values in rows]
    lines += [
        "",
        f"{unit[:-1]} texts shared: " + ", ".join(f"{pair} {count}" for pair, count in report.leakage.items()),
    ]
    for split, found in encoded.items():
        for example, word, place in found.erased[:ERASED_SHOWN]:
            lines.append(
                f"{split}: the tokenizer erases word {place} {word!r} of {unit[:-1]} {example}; "
                "it is read as the unknown token"
            )
        if len(found.erased) > ERASED_SHOWN:
            lines.append(f"{split}: and {len(found.erased) - ERASED_SHOWN} more")
        if found.clipped_words:
            lines.append(f"{split}: {found.clipped_words} words are longer than a window, so their middle is not read")
    return "\n".join(lines)


def _by_type(what: str, counts: Sequence[dict[str, int]]) -> list[tuple[str, Sequence[object]]]:
    return [
        (what, [sum(c.values()) for c in counts]),
        *((f"  {kind}", [c[kind] for c in counts]) for kind in counts[0]),
    ]


def _histogram(split: SplitReport) -> str:
    return " ".join(f"{omega}:{count}" for omega, count in split.omega_needed.items()) or "-"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write the report as JSON, without its text."""
    path.write_text(json.dumps({k: v for k, v in report.items() if k != "text"}, indent=2) + "\n", encoding="utf-8")
