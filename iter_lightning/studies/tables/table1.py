"""Tables 1 and 5: what the corpora hold and what the experiments are set to, beside what the paper prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iter_lightning.corpora import CATALOG, load_corpus
from iter_lightning.corpora.checks import check_corpus
from iter_lightning.errors import CorpusError
from iter_lightning.json_files import read_object
from iter_lightning.studies.runs.survey import corpus_obstacle, corpus_title
from iter_lightning.studies.tables.published import published
from iter_lightning.studies.tables.render import Grid, Report, write_report
from iter_lightning.training.extends import merged

SPLITS = ("train", "dev", "test")
GROUPS = {"encoder": "encoder_group", "heads": "head_group"}
"""The paper's two halves -> the model's options."""
SETTINGS = ("learning_rate", "schedule", "warmup_ratio", "weight_decay")


def write_table1(folder: Path, data_dir: Path) -> list[Path]:
    """Write `table1.md`, `.tex` and `.json`: sizes, omega and overlaps of each corpus that is at hand.

    Raises:
        CorpusError: a corpus is there but damaged.
    """
    columns = ("corpus", *SPLITS, "ω needed", "ω", "overlapping", "entities", "relations",
               "texts in two splits")  # fmt: skip
    rows, notes, data = [], [], {}
    for name, paper in published()["table1"].items():
        if obstacle := corpus_obstacle(name, data_dir, 0):
            sizes = [f"– ({paper[split]})" for split in SPLITS]
            rows.append((paper["title"], *sizes, "–", f"– ({paper['omega']})", f"– ({paper['overlapping']})", *"–––"))
            notes.append(f"{paper['title']} is empty: {obstacle}")
            continue
        found = _corpus(name, data_dir)
        data[name] = found
        rows.append((
            paper["title"], *(f"{found['sentences'].get(split, '–')} ({paper[split]})" for split in SPLITS),
            str(found["omega_needed"]), f"{CATALOG[name].omega} ({paper['omega']})",
            f"{found['overlapping_share']:.1f} % ({paper['overlapping']})", str(found["entities"]),
            str(found["relations"]),
            ", ".join(f"{pair} {count}" for pair, count in found["leakage"].items() if count) or "none",
        ))  # fmt: skip
    documents = " and ".join(corpus.title for corpus in CATALOG.values() if corpus.unit == "documents")
    intro = (
        "Ours, counted on the files `prepare` verifies; in brackets what the paper prints. Sizes are sentences, those "
        f"of {documents} documents; overlapping is the share of them in which entities overlap. ω needed is what the "
        "deepest entity takes (section 3.5), ω what the models use. ADE: fold 0, whose train and test are the whole "
        "corpus. What a corpus without a dev split selects on is the split protocol's matter. `inspect NAME` tells "
        "more."
    )
    report = Report("table1", "Table 1: corpora", "python -m iter_lightning reproduce table1", intro,
                    (Grid("", columns, tuple(rows)),), tuple(notes), {"corpora": data})  # fmt: skip
    return write_report(report, folder)


def _corpus(name: str, data_dir: Path) -> dict[str, Any]:
    try:
        splits = load_corpus(name, data_dir, fold=0 if name == "ade" else None)
    except CorpusError as error:
        raise CorpusError([f"table 1: {fault}" for fault in error.faults]) from error
    report = check_corpus(splits, CATALOG[name].schema)
    parts = list(report.splits.values())
    sentences = sum(part.sentences for part in parts)
    return {
        "sentences": {split: part.sentences for split, part in report.splits.items()},
        "omega_needed": report.omega,
        "overlapping_share": 100 * sum(part.overlapping_sentences for part in parts) / sentences,
        "entities": sum(sum(part.entities.values()) for part in parts),
        "relations": sum(sum(part.relations.values()) for part in parts),
        "leakage": dict(report.leakage),
    }


def write_table5(folder: Path, experiments: Path, runs_dir: Path) -> list[Path]:
    """Write `table5.md`, `.tex` and `.json`: the experiments' hyperparameters, and what sweeps found.

    Args:
        folder: of the reports.
        experiments: of the YAMLs.
        runs_dir: below it `sweeps/NAME/report.json` of finished sweeps.
    """
    kinds = [f"{half} {what}" for half in GROUPS for what in ("LR", "schedule", "warm-up", "decay")]
    columns = ("corpus", "source", *kinds, "batch", "activation")
    rows, differing, data = [], [], {}
    for corpus, paper in published()["table5"].items():
        ours = hyperparameters(merged(experiments / f"{corpus}.yaml"))
        data[corpus] = {"paper": paper, "ours": ours}
        rows.append((corpus_title(corpus), "paper", *_shown(paper)))
        rows.append((corpus_title(corpus), f"{corpus}.yaml", *_shown(ours)))
        differing += [f"{corpus_title(corpus)}: {line}" for line in _differences(paper, ours)]
    for path in sorted(runs_dir.glob("sweeps/*/report.json")):
        found = read_object(path, "remove it; `sweep` writes it again")
        data[f"sweep {path.parent.name}"] = found
        incumbent = path.parent / "incumbent.yaml"
        if incumbent.exists():
            rows.append((path.parent.name, "sweep", *_shown(hyperparameters(merged(incumbent)))))
    notes = differing or ["the experiments' settings are Table 5's"]
    intro = (
        "LR: peak learning rate of AdamW; warm-up in shares of all steps. Rows called `sweep` are what `python -m "
        "iter_lightning sweep` found on dev; each sweep has a report of its own."
    )
    report = Report("table5", "Table 5: hyperparameters", "python -m iter_lightning reproduce table5", intro,
                    (Grid("", columns, tuple(rows)),), tuple(notes), {"settings": data})  # fmt: skip
    return write_report(report, folder)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """What Table 5 lists, out of an experiment's configuration."""
    model = config.get("model", {})
    halves = {half: {key: _number(model[option][key]) for key in SETTINGS if key in model.get(option, {})}
              for half, option in GROUPS.items()}  # fmt: skip
    return {**halves, "batch_size": config.get("data", {}).get("init_args", {}).get("batch_size"),
            "activation": model.get("activation")}  # fmt: skip


def _shown(values: Mapping[str, Any]) -> list[str]:
    cells = []
    for half in GROUPS:
        found = values[half]
        cells += [f"{found.get('learning_rate', '–'):g}", str(found.get("schedule", "–")),
                  f"{100 * found['warmup_ratio']:g} %" if "warmup_ratio" in found else "–",
                  f"{found['weight_decay']:g}" if "weight_decay" in found else "–"]  # fmt: skip
    return [*cells, str(values.get("batch_size")), str(values.get("activation"))]


def _differences(paper: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    pairs = [(f"{half} {key}", paper[half].get(key), ours[half].get(key)) for half in GROUPS for key in SETTINGS]
    pairs += [(key, paper.get(key), ours.get(key)) for key in ("batch_size", "activation")]
    return [f"{name} is {mine}, the paper's is {theirs}" for name, theirs, mine in pairs
            if _plain(theirs) != _plain(mine)]  # fmt: skip


def _plain(value: Any) -> str:
    """`linear with warmup` is our `linear`, which has its warm-up's share beside it."""
    return str(value).lower().removesuffix(" with warmup")


def _number(value: Any) -> Any:
    """PyYAML reads 1e-4 as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
