"""Table 1: sizes, nesting and overlaps of the corpora, beside the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iter_lightning.corpora import CATALOG, load_corpus
from iter_lightning.corpora.checks import check_corpus
from iter_lightning.errors import CorpusError
from iter_lightning.studies.runs.obstacles import corpus_obstacle
from iter_lightning.studies.tables.published import published
from iter_lightning.studies.tables.render import DASH, Grid, Report, write_report

SPLITS = ("train", "dev", "test")


def write_table1(folder: Path, data_dir: Path, command: str) -> list[Path]:
    """Write `table1.md`, `.tex` and `.json`: sizes, omega and overlaps of each corpus that is available.

    Raises:
        CorpusError: A corpus is damaged.
    """
    rows, notes, data = [], [], {}
    for name, paper in published()["table1"].items():
        obstacle = corpus_obstacle(name, data_dir, 0)
        if obstacle:
            notes.append(f"{paper['title']} is empty: {obstacle}")
        else:
            data[name] = _corpus(name, data_dir)
        rows.append(_row(name, paper, data.get(name)))
    columns = ("corpus", *SPLITS, "ω needed", "ω", "overlapping", "entities", "relations", "texts in two splits")
    documents = " and ".join(corpus.title for corpus in CATALOG.values() if corpus.unit == "documents")
    intro = (
        "Counted on the files that `prepare` verifies; in brackets the paper's values. Sizes are sentences, for "
        f"{documents} documents; overlapping is the share of them in which entities overlap. ω needed is what the "
        "deepest entity requires (section 3.5), ω is what the models use. ADE: fold 0, whose train and test are the "
        "whole corpus. The split protocol decides on what a corpus without a dev split selects. `inspect NAME` "
        "reports more."
    )
    report = Report("table1", "Table 1: corpora", command, intro, (Grid("", columns, tuple(rows)),), tuple(notes),
                    {"corpora": data})  # fmt: skip
    return write_report(report, folder)


def _row(name: str, paper: dict[str, Any], found: dict[str, Any] | None) -> tuple[str, ...]:
    """A corpus's row; `found` is None if it is not available."""
    sizes = found["sentences"] if found else {}
    shown = [f"{sizes.get(split, DASH)} ({paper[split]})" for split in SPLITS]
    if found is None:
        return (paper["title"], *shown, DASH, f"{DASH} ({paper['omega']})", f"{DASH} ({paper['overlapping']})",
                DASH, DASH, DASH)  # fmt: skip
    leakage = ", ".join(f"{pair} {count}" for pair, count in found["leakage"].items() if count)
    return (
        paper["title"], *shown, str(found["omega_needed"]), f"{CATALOG[name].omega} ({paper['omega']})",
        f"{found['overlapping_share']:.1f} % ({paper['overlapping']})", str(found["entities"]),
        str(found["relations"]), leakage or "none",
    )  # fmt: skip


def _corpus(name: str, data_dir: Path) -> dict[str, Any]:
    try:
        splits = load_corpus(name, data_dir)
    except CorpusError as error:
        raise CorpusError([f"table 1: {fault}" for fault in error.faults]) from error
    report = check_corpus(splits, CATALOG[name].schema)
    parts = list(report.splits.values())
    return {
        "sentences": {split: part.sentences for split, part in report.splits.items()},
        "omega_needed": report.omega,
        "overlapping_share": 100 * sum(p.overlapping_sentences for p in parts) / sum(p.sentences for p in parts),
        "entities": sum(sum(part.entities.values()) for part in parts),
        "relations": sum(sum(part.relations.values()) for part in parts),
        "leakage": dict(report.leakage),
    }
