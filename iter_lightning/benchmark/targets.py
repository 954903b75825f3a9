"""The targets that the project set itself, other systems' numbers beside, and what of them is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from iter_lightning.benchmark.grids import way
from iter_lightning.benchmark.results import Entry

SYSTEMS = ("published ITER", "SpERT", "GLiNER-relex", "ASP", "PL-Marker")
CONLL04_TEST = 288
"""Sentences; fewer are no figure for a target."""
Found = list[tuple[float, str, Entry]]
"""Values with what is to be said of each."""


@dataclass(frozen=True)
class Target:
    """A bound on what is measured."""

    what: str
    others: tuple[str, ...]
    """Of `SYSTEMS`; empty where nothing is known."""
    bound: float | str
    """A number, or in words what no number is set for."""
    find: Callable[[Sequence[Entry]], Found]
    at_most: bool = True
    every: bool = True
    """All values found must keep the bound; else one."""
    unit: str = ""
    digits: int = 2

    def text(self) -> str:
        """`≤ 1.30`."""
        if isinstance(self.bound, str):
            return self.bound
        return f"{'≤' if self.at_most else '≥'} {self.bound:,.{self.digits}f}{self.unit}"

    def met(self, found: Found) -> bool | None:
        """None where nothing is measured, or no number is set."""
        if isinstance(self.bound, str):
            return None
        kept = [value <= self.bound if self.at_most else value >= self.bound for value, _, _ in found]
        return (all(kept) if self.every else any(kept)) if kept else None

    def verdict(self, found: Found) -> str:
        """yes, no or –; where one value is enough and others do not keep the bound, which do."""
        met = self.met(found)
        if not met:
            return "–" if met is None else "no"
        keeping = [said for value, said, entry in found if self.met([(value, said, entry)])]
        return "yes" if len(keeping) == len(found) else f"yes, {' and '.join(keeping)}"

    def measured(self, found: Found) -> str:
        """The values with their settings."""
        return " / ".join(f"{v:,.{self.digits}f}{self.unit}{f' ({said})' if said else ''}" for v, said, _ in found)


def _minilm(entries: Iterable[Entry], section: str) -> list[Entry]:
    """Of MiniLM on CoNLL04's test split on a CPU; trained heads before untrained ones, random encoders last."""
    found = [
        e for e in entries
        if e.section == section and e.subject["encoder"] == "bert 6 x 384" and e.subject["corpus"] == "conll04"
        and e.machine["device"] == "cpu" and (e.subject["split"], e.subject["sentences"]) == ("test", CONLL04_TEST)
    ]  # fmt: skip
    return sorted(found, key=lambda e: ("model", "encoder", "architecture").index(e.subject["kind"]))


def _plain(entry: Entry) -> bool:
    """float32, padding as the encoder's family allows, not compiled, all sentences."""
    settings = entry.settings
    return (settings["precision"], settings["packing"], settings["compile"]) == ("fp32", None, False)


def _at_batches(entries: Sequence[Entry], width: int | None) -> Found:
    chosen = [e for e in _minilm(entries, "speed")
              if _plain(e) and (e.subject["left_width"], e.subject["pair_width"]) == (width, width)]  # fmt: skip
    firsts = (next((e for e in chosen if e.settings["batch_size"] == size), None) for size in (8, 64))
    return [(e.values["ratio"], f"batch {e.settings['batch_size']}", e) for e in firsts if e]


def _best_reduced(entries: Sequence[Entry]) -> Found:
    chosen = [
        e for e in _minilm(entries, "speed")
        if e.settings["precision"] in ("bf16", "int8") and e.settings["batch_size"] != 1
        and e.subject["left_width"] is None and e.subject["pair_width"] is None
    ]  # fmt: skip
    found = []
    for precision in ("bf16", "int8"):
        best = min((e for e in chosen if e.settings["precision"] == precision),
                   key=lambda e: float(e.values["ratio"]), default=None)  # fmt: skip
        if best is not None:
            size = best.settings["batch_size"] or f"of {best.settings['token_budget']} subwords"
            found.append((best.values["ratio"], f"{way(best.settings)}, batch {size}", best))
    return found


def _shaped(section: str, **settings: object) -> Callable[[Sequence[Entry]], Found]:
    def find(entries: Sequence[Entry]) -> Found:
        chosen = (e for e in _minilm(entries, section) if _plain(e) and settings.items() <= e.settings.items())
        return [(e.values["ratio"], "", e) for e in list(chosen)[:1]]

    return find


def _peak(entries: Sequence[Entry]) -> Found:
    chosen = [e for e in _minilm(entries, "memory") if _plain(e) and e.settings["batch_size"] == 64
              and e.subject["left_width"] is None and e.subject["pair_width"] is None]  # fmt: skip
    heaps = {e.settings["heap"]: e for e in reversed(chosen)}
    return [(e.values["peak"], f"freed buffers {heap}", e) for heap, e in sorted(heaps.items())]


def _step(entries: Sequence[Entry]) -> Found:
    chosen = [e for e in _minilm(entries, "training") if e.settings["what"] == "time"
              and (e.settings["precision"], e.settings["batch_size"]) == ("fp32", 8)]  # fmt: skip
    ways = {way(e.settings): e for e in reversed(chosen)}
    return [(e.values["ratio"], said, e) for said, e in sorted(ways.items())]


def _pairs_memory(entries: Sequence[Entry]) -> Found:
    by_count = {e.settings["entities"]: e for e in reversed([e for e in _minilm(entries, "entities") if _plain(e)])}
    if not {2, 200} <= set(by_count):
        return []
    grown = by_count[200].values["memory"]["peak"] - by_count[2].values["memory"]["peak"]
    return [(grown, "from 2 to 200 entities", by_count[200])]


def _linear(entries: Sequence[Entry]) -> Found:
    chosen = [e for e in _minilm(entries, "lengths") if _plain(e) and e.values["microseconds_a_subword"]]
    lengths = {e.settings["subwords"]: e for e in reversed(chosen)}
    if len(lengths) < 2:
        return []
    costs = {length: e.values["microseconds_a_subword"] for length, e in sorted(lengths.items())}
    longest = max(costs)
    said = ", ".join(f"{length}: {cost:.0f}" for length, cost in costs.items())
    return [(costs[longest] / min(costs.values()), f"µs a subword at {said}", lengths[longest])]


def _gpu(name: str, value: str) -> Callable[[Sequence[Entry]], Found]:
    def find(entries: Sequence[Entry]) -> Found:
        chosen = [
            e for e in entries
            if e.section in ("speed", "stream") and e.subject["label"].startswith(name)
            and e.settings["precision"] == "bf16" and e.machine["device"] == "cuda" and e.subject["corpus"] == "conll04"
        ]  # fmt: skip
        values = {
            "rate": lambda e: e.values["sentences"] / median(e.values["seconds"]["ours"]),
            "peak": lambda e: 100 * e.values["peak_share"],
        }
        best = max(chosen, key=values[value], default=None)
        return [] if best is None else [(values[value](best), str(best.machine["gpu"]), best)]

    return find


TARGETS = (
    Target("x floor, paper-width heads, batch 8 / 64", ("1.88 / 2.04", "4.2 / –", "3.6 / –", "10 / 7.9", "86 / –"),
           1.30, lambda entries: _at_batches(entries, None)),
    Target("x floor, η = 150", ("1.11 / 1.09",), 1.08, lambda entries: _at_batches(entries, 150)),
    Target("x floor, best reduced precision on CPU (bf16, int8; packed; what it does to F1: see Agreement)", (), 0.42,
           _best_reduced, every=False),
    Target("x floor, 1,024 subwords, 102 entities", ("4.9",), 1.5, _shaped("entities", subwords=1024, entities=102)),
    Target("x floor, ω = 3, 128 subwords, 13 entities", ("8.2",), 1.6, _shaped("omega", omega=3)),
    Target("peak memory, batch 64", ("1,055 MiB",), 700, _peak, unit=" MiB", digits=0, every=False),
    Target("training step over encoder forward + backward, batch 8", ("about 4",), 1.8, _step, every=False),
    Target("cost of a subword without attention, longest over cheapest", (), "linear in N", _linear),
    Target("memory grows with entities by", (), "by `pair_memory_mb`", _pairs_memory, unit=" MiB", digits=0),
    Target("T5-large, bf16, one GPU: samples/s", ("605 (RTX 4090)",), 10_000, _gpu("t5-large", "rate"), False,
           digits=0),
    Target("T5-large, bf16: share of the matmul peak", (), 40, _gpu("t5-large", "peak"), False, unit=" %", digits=0),
    Target("T5-small, bf16, one GPU: samples/s", ("1,041 (RTX 4090)",), 60_000, _gpu("t5-small", "rate"), False,
           digits=0),
)  # fmt: skip
