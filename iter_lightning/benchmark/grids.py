"""Entries as tables of text, a section or two a table: the same for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from iter_lightning.benchmark.results import Entry
from iter_lightning.benchmark.stages import STAGES

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of text; the last column of Markdown's says which run a row is from.

    Raises:
        ValueError: rows and entries are not as many.
    """

    title: str
    columns: Cells
    rows: tuple[Cells, ...]
    entries: tuple[Entry, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.entries):
            raise ValueError(f"{self.title}: {len(self.rows)} rows of {len(self.entries)} entries")


def tables(entries: Sequence[Entry]) -> list[Table]:
    """Every table that has a row; a row that says what another does is left out."""
    found = []
    for title, section, columns, cells, note in _LAYOUTS:
        rows: dict[Cells, Entry] = {}
        for entry in entries:
            row = cells(entry) if entry.section == section else None
            if row is not None:
                rows.setdefault(row, entry)
        if rows:
            found.append(Table(title, columns, tuple(rows), tuple(rows.values()), note))
    return found


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 1) -> str:
    """`median (least – greatest)`."""
    low, middle, high = (f"{scale * f(values):,.{digits}f}" for f in (min, median, max))
    return f"{middle} ({low} – {high})"


def rates(values: Sequence[float], count: int) -> str:
    """How many a second, `median (least – greatest)`."""
    return spread([count / value for value in values], digits=0 if count / median(values) >= 100 else 1)


def batching(settings: dict[str, Any]) -> str:
    """`8`, or `4,096 subwords`."""
    size, budget = settings.get("batch_size"), settings.get("token_budget")
    return f"{budget:,} subwords" if size is None else str(size)


def way(settings: dict[str, Any]) -> str:
    """Precision, padding and compilation in words."""
    padding = {None: "", True: ", packed", False: ", padded"}[settings.get("packing")]
    return f"{settings['precision']}{padding}{', compiled' if settings.get('compile') else ''}"


def _who(entry: Entry) -> Cells:
    subject = entry.subject
    widths = [subject["left_width"], subject["pair_width"]]
    heads = "" if not any(widths) else f", η {' / '.join('paper' if w is None else str(w) for w in widths)}"
    return (f"{subject['label']}{heads}", _corpus(subject))


def _corpus(subject: dict[str, Any]) -> str:
    fold = "" if subject["fold"] is None else f" fold {subject['fold']}"
    return f"{subject['corpus']}{fold} {subject['split']}, {subject['sentences']:,}"


def _ratio(values: dict[str, Any]) -> str:
    return f"{values['ratio']:.2f} ({values['ratio_low']:.2f} – {values['ratio_high']:.2f})"


def _speed(entry: Entry) -> Cells:
    values, ours, floor = entry.values, entry.values["seconds"]["ours"], entry.values["seconds"]["floor"]
    return (
        *_who(entry), batching(entry.settings), way(entry.settings), rates(ours, values["sentences"]),
        rates(ours, values["subwords"]), rates(floor, values["sentences"]), _ratio(values),
    )  # fmt: skip


def _stream(entry: Entry) -> Cells:
    values, ours = entry.values, entry.values["seconds"]["ours"]
    share = values["peak_share"]
    return (
        *_who(entry), batching(entry.settings), way(entry.settings), str(entry.settings["workers"]),
        rates(ours, values["sentences"]), rates(ours, values["subwords"]), f"{values['flops_a_second'] / 1e12:,.3f}",
        "–" if share is None else f"{100 * share:.0f} %",
    )  # fmt: skip


def _shares(entry: Entry) -> Cells:
    shares = (f"{100 * entry.values['shares'][stage]:.1f}" for stage in STAGES)
    return (*_who(entry), batching(entry.settings), way(entry.settings), *shares)


def _flops(entry: Entry) -> Cells:
    values = entry.values
    peak = values["matmul_peak"]
    return (
        *_who(entry), batching(entry.settings), way(entry.settings),
        f"{values['flops']['encoder'] / values['sentences'] / 1e9:,.2f}",
        f"{values['flops']['heads'] / values['sentences'] / 1e9:,.2f}", f"{values['flops_a_second'] / 1e12:,.3f}",
        "–" if peak is None else f"{peak / 1e12:,.3f}", "–" if peak is None else f"{100 * values['peak_share']:.0f} %",
    )  # fmt: skip


def _density(entry: Entry) -> Cells | None:
    found = entry.values.get("density")
    if found is None:
        return None
    columns = [" / ".join(f"{found[side][name]:.1f}" for name in ("lefts", "spans", "relations"))
               for side in ("wanted", "found")]  # fmt: skip
    pairs = entry.values["work"]["pairs"] / entry.values["sentences"]
    return (*_who(entry), way(entry.settings), *columns, f"{pairs:.1f}")


def _a_sentence(entry: Entry, name: str) -> str:
    seconds = entry.values[name] if name == "attention_seconds" else entry.values["seconds"][name]
    return "–" if seconds is None else spread(seconds, 1000 / entry.values["sentences"], 2)


def _lengths(entry: Entry) -> Cells:
    rest = entry.values["microseconds_a_subword"]
    return (
        entry.subject["label"], f"{entry.settings['subwords']:,}", way(entry.settings), _a_sentence(entry, "ours"),
        _a_sentence(entry, "floor"), _a_sentence(entry, "attention_seconds"), "–" if rest is None else f"{rest:.1f}",
        _ratio(entry.values),
    )  # fmt: skip


def _entities(entry: Entry) -> Cells:
    values, memory = entry.values, entry.values["memory"]
    return (
        entry.subject["label"], f"{entry.settings['subwords']:,}", f"{entry.settings['entities']:g}",
        f"{values['density']['found']['spans']:.1f}", f"{values['work']['pairs'] / values['sentences']:,.0f}",
        way(entry.settings), _a_sentence(entry, "ours"), _a_sentence(entry, "floor"), _ratio(values),
        _mib(memory), f"{memory['loaded']:,.0f}", str(values["pair_memory_mb"]),
    )  # fmt: skip


def _omega(entry: Entry) -> Cells:
    settings, values = entry.settings, entry.values
    return (
        entry.subject["label"], str(settings["omega"]), f"{settings['subwords']}", f"{settings['entities']:g}",
        way(settings), _a_sentence(entry, "ours"), _a_sentence(entry, "floor"), _ratio(values),
    )  # fmt: skip


def _steps(entry: Entry) -> Cells | None:
    if entry.settings["what"] != "time":
        return None
    seconds = entry.values["seconds"]
    return (
        entry.subject["label"], f"{entry.subject['corpus']} train", str(entry.settings["batch_size"]),
        way(entry.settings), spread(seconds["ours"], 1000, 0), spread(seconds["floor"], 1000, 0), _ratio(entry.values),
        str(len(seconds["ours"])),
    )  # fmt: skip


def _step_memory(entry: Entry) -> Cells | None:
    if entry.settings["what"] != "memory":
        return None
    memory = entry.values["memory"]
    return (entry.subject["label"], entry.settings["shape"], str(entry.settings["omega"]), _mib(memory),
            f"{memory['peak'] - memory['imports']:,.0f}")  # fmt: skip


def _memory(entry: Entry) -> Cells:
    memory = entry.values
    return (*_who(entry), str(entry.settings["batch_size"]), way(entry.settings), entry.settings["heap"],
            f"{memory['imports']:,.0f}", f"{memory['loaded']:,.0f}", _mib(memory))  # fmt: skip


def _agreement(entry: Entry) -> Cells:
    values = entry.values
    sides = (f"{values['plain'][task]:.2f} / {values['scores'][task]:.2f}" for task in ("NER", "RE+"))
    flips = (f"{values['flips'][name]} of {values[name]:,}" for name in ("entities", "relations"))
    return (*_who(entry), way(entry.settings), *sides, *flips)


def _host(entry: Entry) -> Cells:
    values, pool, seconds = entry.values, entry.settings["pool"], entry.values["seconds"]
    ray = values.get("ray", {})
    trips = (spread(ray[name], 1000) if ray else "–" for name in ("empty task", "task with a pool"))
    costs = (spread(seconds[name], 1e6 / pool, 0)
             for name in ("tokenise + collate", "send", "receive", "build predictions"))  # fmt: skip
    return (*_who(entry), *costs, f"{values['bytes'] / pool:,.0f}", *trips)


def _mib(memory: dict[str, float]) -> str:
    return f"{memory['peak']:,.0f}" + (f"; GPU {memory['gpu']:,.0f}" if "gpu" in memory else "")


_WHO = ("model", "corpus, sentences")
_SHAPED = (
    "Sentences are the corpus's words strung together and cut; heads are random, on the model's own encoder, its "
    "position table repeated where inputs are longer than it. "
)
_LAYOUTS: tuple[tuple[str, str, Cells, Callable[[Entry], Cells | None], str], ...] = (
    ("Speed", "speed", (*_WHO, "batch", "precision", "sentences/s", "subwords/s", "floor, sentences/s", "x floor"),
     _speed, "From words to predictions. Median (slowest – fastest pass); x floor: ratio of the medians (least – "
     "greatest ratio of a single pass)."),
    ("A stream", "stream", (*_WHO, "batch", "precision", "tokenising processes", "sentences/s", "subwords/s", "TFLOP/s",
     "share of the matmul peak"), _stream,
     "The same sentences over and over, in pools of 2,048, from words to predictions, once tokenising processes have "
     "started. Median (slowest – fastest pool)."),
    ("Where the time goes", "speed", (*_WHO, "batch", "precision", *(f"{stage}, %" for stage in STAGES)), _shares,
     "Stages one after the other, without workers or any overlap; padding is left out where the encoder packs."),
    ("Model FLOPs", "speed", (*_WHO, "batch", "precision", "encoder, GFLOP a sentence", "heads, GFLOP a sentence",
     "TFLOP/s", "matmul peak, TFLOP/s", "share of it"), _flops,
     "What the sentences need, without padding, by the formula in `iter_lightning/benchmark/flops.py`, over the whole "
     "time from words to predictions; the peak is that of one large matrix product in the same precision."),
    ("What untrained heads find", "speed", (*_WHO, "precision", "lefts / spans / relations a sentence: gold",
     "found", "pairs a sentence"), _density,
     "Constants on the logits of untrained heads bring what they find to the corpus's gold; trained heads have none."),
    ("Agreement", "agreement", (*_WHO, "precision", "NER F1, plain / here", "RE+ F1, plain / here",
     "entities that differ", "relations that differ"), _agreement,
     "What trained models find, against the same model in padded float32; what differs is found by one side alone."),
    ("The host's work", "host", (*_WHO, "tokenise + collate, µs a sentence", "send", "receive", "build predictions",
     "bytes a sentence", "empty Ray task, ms", "Ray task with a pool, ms"), _host,
     "One pool of 2,048 sentences, passes of Python on one thread. Sent and received are batches on their way from a "
     "tokenising process; a Ray task with a pool is sent its sentences."),
    ("Length", "lengths", ("model", "subwords", "precision", "ms a sentence", "floor, ms a sentence",
     "inside attention, ms a sentence", "µs a subword without attention", "x floor"), _lengths,
     _SHAPED + "Each holds as many entities as the corpus's do on average. Time inside attention is that of the calls "
     "of `scaled_dot_product_attention`, clocked in passes of their own; eager attention is not told apart (–)."),
    ("Entities", "entities", ("model", "subwords", "entities a sentence", "found", "pairs a sentence", "precision",
     "ms a sentence", "floor, ms a sentence", "x floor", "peak, MiB", "before predicting, MiB", "pair_memory_mb"),
     _entities, _SHAPED + "Peak resident memory of a process that predicts them once."),
    ("Omega", "omega", ("model", "omega", "subwords", "entities a sentence", "precision", "ms a sentence",
     "floor, ms a sentence", "x floor"), _omega, _SHAPED.strip()),
    ("A training step", "training", ("model", "corpus", "batch", "precision", "step, ms",
     "encoder forward + backward, ms", "ratio", "batches"), _steps,
     "Forward, backward, clipping and fused AdamW over the bare encoder's own forward and backward, padded, in "
     "float32, on the same batches of the train split."),
    ("Memory of a training step", "training", ("model", "batch", "omega", "peak, MiB", "above the imports, MiB"),
     _step_memory, "Two steps in a fresh process; 40 entities a sentence in 8 x 128 subwords, 100 in 4 x 200."),
    ("Memory of predicting", "memory", (*_WHO, "batch", "precision", "freed buffers", "imports, MiB",
     "model loaded, MiB", "peak, MiB"), _memory,
     "Peak resident memory of a fresh process that predicts the sentences once. `returned`: freed buffers of 1 MiB "
     "and more go back to the system, as under `fit` and `predict`; `default`: as the C library has it, as in the "
     "timings here."),
)  # fmt: skip
