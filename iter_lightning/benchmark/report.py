"""The report: targets, every table, and the commands and machines behind them, as Markdown and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from iter_lightning.benchmark.grids import Table, tables
from iter_lightning.benchmark.results import Entry
from iter_lightning.benchmark.targets import SYSTEMS, TARGETS
from iter_lightning.files import write_atomically

INTRO = (
    "What ITER costs over its encoder. The **floor** is the bare Hugging Face encoder's forward pass in float32 on the "
    "same sentences, sorted by length and padded, in batches of the same size; **x floor** is our time from words to "
    "predictions, tokenisation included, over the floor's. Passes of both alternate in one process, after one that is "
    "not counted. Random architectures read the WordPiece ids of MiniLM's tokenizer. Every pass is in "
    "[{name}.json]({name}.json); the number in the last column is that of the command and machine below.\n\n"
    "Sentences a second of finished runs beside the paper's Table 3, and over length beside its Figure 3: "
    "[table3](table3.md), [figure3](figure3.md) (`python -m iter_lightning reproduce table3 figure3`)."
)


def markdown(entries: Sequence[Entry], name: str) -> str:
    """The whole report.

    Args:
        entries: as `results.read_entries` gives them.
        name: of the JSON file beside it, without suffix.
    """
    runs = _Runs()
    parts = ["# Throughput and memory", INTRO.format(name=name), _targets(entries, runs)]
    for table in tables(entries):
        rows = [(*row, runs.number(entry)) for row, entry in zip(table.rows, table.entries, strict=True)]
        parts.append(f"## {table.title}\n\n{table.note}\n\n{_grid((*table.columns, 'run'), rows)}")
    parts.append("## Commands and machines\n\nFolders are told by their role: `data` holds the corpora, `runs` the "
                 f"finished runs.\n\n{runs.listed()}")  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def write_report(entries: Sequence[Entry], path: Path) -> None:
    """Write the Markdown; it appears whole or not at all."""
    write_atomically(path, markdown(entries, path.stem))


def show(entries: Sequence[Entry], console: Console) -> None:
    """The tables of these entries on a terminal."""
    for table in tables(entries):
        console.print(_rich(table))


class _Runs:
    """Numbers for (command, machine), in the order they are first asked for, and the kernels of each."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], int] = {}
        self.kernels: dict[int, list[str]] = {}

    def number(self, entry: Entry) -> str:
        number = self.known.setdefault((entry.command, _machine(entry.machine)), len(self.known) + 1)
        kernels, used = self.kernels.setdefault(number, []), entry.values.get("kernels")
        if used and used not in kernels:
            kernels.append(used)
        return str(number)

    def listed(self) -> str:
        return "\n".join(
            "  \n   ".join([f"{number}. `{command}`", where, *self.kernels[number]])
            for (command, where), number in self.known.items()
        )


def _machine(machine: dict[str, Any]) -> str:
    versions = machine["versions"]
    commit = f"commit {str(machine['commit'])[:7]}{'' if machine['commit_clean'] else '+'}"
    if not machine["commit"]:
        commit = f"iter-lightning {versions['iter-lightning']}"
    where = [
        machine["gpu"], f"{machine['cpu']} ({machine['cpu_capability']}), {machine['cores']} cores",
        f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}", f"{machine['memory_gib']} GiB",
        str(machine["system"]), f"Python {machine['python']}", f"torch {versions['torch']}",
        f"transformers {versions['transformers']}", commit,
    ]  # fmt: skip
    return ", ".join(part for part in where if part)


def _targets(entries: Sequence[Entry], runs: _Runs) -> str:
    rows = []
    for target in TARGETS:
        found = target.find(entries)
        others = (*target.others, *[""] * (len(SYSTEMS) - len(target.others)))
        labels = sorted({entry.subject["label"] for _, _, entry in found})
        numbers = sorted({runs.number(entry) for _, _, entry in found}, key=int)
        rows.append((
            target.what, *others, target.text(), target.measured(found) or "not measured", target.verdict(found),
            ", ".join(labels), ", ".join(numbers),
        ))  # fmt: skip
    columns = ("", *SYSTEMS, "target", "measured", "met", "model", "run")
    note = (
        "MiniLM (6 layers, 384 wide), CoNLL04's test split, on a CPU, unless said otherwise; medians. The other "
        "systems' numbers are not of these runs."
    )
    return f"## Targets\n\n{note}\n\n{_grid(columns, rows)}"


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title, caption=table.note or None, title_justify="left", caption_justify="left")
    for place, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if place < 2 else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown
