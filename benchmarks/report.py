"""Figures as JSON, one entry each, and as tables of Markdown below the hand-written part of the report."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

from benchmarks.sections import STAGES
from iter_lightning.errors import ConfigError
from iter_lightning.io.atomic import write_atomically
from iter_lightning.training.manifest import describe

VERSION = 2
"""Layout of the JSON file."""
MARKER = "<!-- `python -m iter_lightning benchmark` writes everything below this line -->"


@dataclass(frozen=True)
class Entry:
    """One figure: what was measured, the values, the command and the machine."""

    section: str
    subject: dict[str, Any]
    settings: dict[str, Any]
    values: dict[str, Any]
    command: str
    machine: dict[str, Any]

    @property
    def key(self) -> str:
        """Return what a later measurement of the same thing on the same machine has in common with this one."""
        machine = [self.machine.get(name) for name in ("cpu", "cpu_capability", "gpu", "threads")]
        return json.dumps([self.section, self.subject, self.settings, machine], sort_keys=True)

    @property
    def run(self) -> str:
        """Return the command and, on a second line, the machine it ran on."""
        m, versions = self.machine, self.machine["versions"]
        parts = (m["gpu"], f"{m['cpu']} ({m['cpu_capability']}), {m['cores']} cores, {m['threads']} threads",
                 f"{m['memory_gib']} GiB, {m['system']}, Python {m['python']}, torch {versions['torch']}",
                 f"transformers {versions['transformers']}, commit {str(m['commit'])[:7]}")  # fmt: skip
        return f"`{self.command}`  \n   {', '.join(part for part in parts if part)}{'' if m['commit_clean'] else '+'}"


def machine(device: torch.device) -> dict[str, Any]:
    """Describe processor, threads, versions and commit, without names of hosts or folders."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8") if platform.system() == "Linux" else ""
    names = re.findall(r"model name\s*: (.*)", cpuinfo)
    found = describe(device.type)
    return {
        "cpu": (names or [platform.processor()])[0], "cores": psutil.cpu_count(), "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30), "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None, "system": platform.system(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **{key: found[key] for key in ("started", "python", "versions", "commit", "commit_clean")},
    }  # fmt: skip


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a file, or an empty list if it does not exist."""
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ConfigError(f"{path}: layout {content['version']!r}, expected {VERSION}: move the file away")
        return [Entry(**entry) for entry in content["entries"]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} was not written by this benchmark ({error!r}): move it away") from error


def add_entry(path: Path, entry: Entry) -> None:
    """Add an entry to the file, in place of one with the same key; each is a line."""
    entries = {other.key: other for other in read_entries(path)} | {entry.key: entry}
    lines = ",\n".join(json.dumps(asdict(other), ensure_ascii=False) for other in entries.values())
    write_atomically(path, f'{{"version": {VERSION}, "entries": [\n{lines}\n]}}\n')


def write_report(entries: Sequence[Entry], path: Path) -> None:
    """Write the tables below the marker of the report, and keep the text above it."""
    before = path.read_text(encoding="utf-8").split(MARKER)[0] if path.exists() else "# Throughput and memory\n\n"
    kernels: dict[str, dict[str, None]] = {entry.run: {} for entry in entries}
    for entry in entries:
        kernels[entry.run] |= {entry.values["kernels"]: None} if entry.values.get("kernels") else {}
    runs = ["  \n   ".join([f"{number}. {run}", *used]) for number, (run, used) in enumerate(kernels.items(), 1)]
    shown = tables(entries, {"run": lambda entry: str(list(kernels).index(entry.run) + 1)})
    write_atomically(path, "\n".join([f"{before}{MARKER}\n", shown, "\n## Commands and machines\n", *runs, ""]))


def tables(entries: Sequence[Entry], last: Columns | None = None) -> str:
    """Return a table of Markdown for every kind of figure there is, with more columns at the end if they are given."""
    found = []
    for section, title, columns in TABLES:
        shown = {**columns, **(last or {})}
        rows = [[cell(entry) for cell in shown.values()] for entry in entries if entry.section == section]
        if rows:
            lines = [f"| {' | '.join(line)} |" for line in [list(shown), ["---"] * len(shown), *rows]]
            found.append("\n".join([f"## {title}", "", *lines]))
    return "\n\n".join(found)


def _spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = (f"{f(values):,.{digits}f}" for f in (min, median, max))
    return f"{middle} ({low} – {high})"


def _rate(side: str, of: str = "sentences") -> Callable[[Entry], str]:
    def cell(entry: Entry) -> str:
        rates = [entry.values[of] / seconds for seconds in entry.values["seconds"][side]]
        return _spread(rates, 0 if median(rates) >= 100 else 1)

    return cell


def _milliseconds(side: str) -> Callable[[Entry], str]:
    return lambda e: _spread([1000 * s / e.values.get("sentences", 1) for s in e.values["seconds"][side]], 2)


def _ratio(entry: Entry) -> str:
    ours, floor = entry.values["seconds"]["ours"], entry.values["seconds"]["floor"]
    single = [a / b for a, b in zip(ours, floor, strict=False)]
    return f"{median(ours) / median(floor):.2f} ({min(single):.2f} – {max(single):.2f})"


def _batch(settings: dict[str, Any]) -> str:
    size, budget = settings.get("batch_size"), settings.get("token_budget")
    return f"{budget:,} subwords" if size is None and budget else str(size)


def _how(entry: Entry) -> str:
    padding = {None: "", True: ", packed", False: ", padded"}[entry.settings.get("packing")]
    return f"{entry.settings['precision']}{padding}{', compiled' if entry.settings.get('compile') else ''}"


def _model(entry: Entry) -> str:
    widths = [entry.subject["left_width"], entry.subject["pair_width"]]
    return str(entry.subject["label"]) + (f", η {' / '.join(str(w or 'paper') for w in widths)}" if any(widths) else "")


def _corpus(entry: Entry) -> str:
    fold = "" if entry.subject["fold"] is None else f" fold {entry.subject['fold']}"
    return f"{entry.subject['corpus']}{fold} {entry.subject['split']}, {entry.subject['sentences']:,}"


def _share(entry: Entry) -> str:
    share = entry.values["peak_share"]
    return f"{entry.values['flops_a_second'] / 1e12:,.3f} ({'–' if share is None else f'{100 * share:.0f} %'})"


def _mib(name: str) -> Callable[[Entry], str]:
    return lambda e: f"{memory[name]:,.0f}" if name in (memory := e.values.get("memory", e.values)) else "–"


def _setting(name: str, default: object = None) -> Callable[[Entry], str]:
    def cell(entry: Entry) -> str:
        value = entry.settings.get(name, default)
        return f"{value:g}" if isinstance(value, float) else "–" if value is None else str(value)

    return cell


def _f1(task: str) -> Callable[[Entry], str]:
    return lambda e: " / ".join(f"{e.values[side][task]:.2f}" for side in ("plain", "scores"))


def _flips(name: str) -> Callable[[Entry], str]:
    return lambda e: f"{e.values['flips'][name]} of {e.values[name]:,}"


Columns = dict[str, Callable[[Entry], str]]
_WHO: Columns = {"model": _model, "corpus, sentences": _corpus}
_HOW: Columns = {"batch": lambda e: _batch(e.settings), "precision": _how}
TABLES: tuple[tuple[str, str, Columns], ...] = (
    ("speed", "Speed, from words to predictions", {
        **_WHO, **_HOW, "sentences/s": _rate("ours"), "best floor, sentences/s": _rate("floor"),
        "its batch": lambda e: _batch(e.values["floor"]), "x floor": _ratio, "TFLOP/s (of peak)": _share,
        f"{' / '.join(STAGES)}, %": lambda e: " / ".join(f"{100 * e.values['shares'][stage]:.0f}" for stage in STAGES),
    }),
    ("lengths", "Sentences made of the corpus's words, all of one length", {
        "model": _model, "subwords": _setting("subwords"), "entities": _setting("entities"), "omega": _setting("omega"),
        **_HOW, "ms a sentence": _milliseconds("ours"), "best floor, ms": _milliseconds("floor"), "x floor": _ratio,
        "peak, MiB": _mib("peak"),
    }),
    ("stream", "Steady rate of an endless stream, from text to documents or from words to predictions", {
        **_WHO, "from": _setting("from"), **_HOW, "tokenizing processes": _setting("workers"),
        "sentences/s": _rate("ours"), "subwords/s": _rate("ours", "subwords"), "TFLOP/s (of peak)": _share,
    }),
    ("training", "A training step over the bare encoder's forward and backward", {
        **_WHO, **_HOW, "step, ms": _milliseconds("ours"), "bare encoder, ms": _milliseconds("floor"), "ratio": _ratio,
    }),
    ("memory", "Peak memory of a fresh process", {
        **_WHO, "work": _setting("what"), **_HOW, "freed buffers": _setting("heap", "returned"),
        "imports, MiB": _mib("imports"), "model loaded": _mib("loaded"), "peak": _mib("peak"), "on GPU": _mib("gpu"),
    }),
    ("agreement", "Agreement", {
        **_WHO, "precision": _how,
        "NER F1, plain / here": _f1("NER"), "RE+ F1, plain / here": _f1("RE+"),
        "entities unlike in padded float32": _flips("entities"), "relations": _flips("relations"),
    }),
)  # fmt: skip
