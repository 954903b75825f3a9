"""The sections of the benchmark: each yields settings, which name a figure, and the values measured."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from itertools import chain, cycle, islice, repeat
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import psutil
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import profile, record_function

from benchmarks import subjects
from benchmarks.subjects import Floor, Subject, bare_encoder, id_rows
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.splitting import Splitter
from iter_lightning.features import Batch, EncodedExample
from iter_lightning.heap import return_large_buffers
from iter_lightning.model import IterModel, pipeline
from iter_lightning.model.inference import PRECISIONS, InferenceOptions, Precision, prepare
from iter_lightning.model.kernels import describe
from iter_lightning.timing import pass_seconds
from iter_lightning.types import Example, Prediction

Measurement = tuple[dict[str, Any], dict[str, Any]]
Batching = dict[str, int | None]
"""`batch_size` sentences and `token_budget` padded subwords in a batch, at most; None leaves one open."""
STAGES = ("tokenize", "encoder", "left", "span", "link", "decode")
SUBWORDS_A_PASS = 8192  # in `lengths`; at least one sentence
FLOP_SENTENCES = 32  # whose floating point operations are counted
TRAINING_BATCHES = 4


def speed(subject: Subject, options: Namespace) -> Iterator[Measurement]:
    """Compare the subject's sentences at every batch size and precision with the best floor."""
    return compare(subject, batchings(options), batchings(options), options)


def lengths(subject: Subject, options: Namespace) -> Iterator[Measurement]:
    """Compare made sentences of one length after the other with the best floor."""
    for length in options.lengths:
        shaped = subject.with_sentences(length, max(1, SUBWORDS_A_PASS // length), options.entities)
        shape = {"subwords": length, "entities": shaped.wanted and shaped.wanted["spans"]}
        ours, *others = ({"batch_size": size, "token_budget": max(4096, length)}
                         for size in dict.fromkeys([options.batch, *options.batch_sizes]))  # fmt: skip
        for settings, values in compare(shaped, [ours], [ours, *others], options):
            yield {**shape, "omega": shaped.model.config.omega, **settings}, values


def compare(
    subject: Subject, ours: Sequence[Batching], floors: Sequence[Batching], options: Namespace
) -> Iterator[Measurement]:
    """Time passes of our prediction and of the fastest floor in turn; add stages and floating point operations."""
    encoder = bare_encoder(subject)
    ready = [Floor(subject, encoder, choice["batch_size"], choice["token_budget"]) for choice in floors]
    once = [pass_seconds({"floor": floor}, 1)["floor"][0] for floor in ready]
    best = once.index(min(once))
    for settings, prepared in _prepared(subject, options):
        for batching in ours:
            works: dict[str, Callable[[], object]] = {
                "floor": ready[best],
                "ours": _predict(prepared, subject.examples, batching, options.workers),
            }
            seconds = pass_seconds(works, options.passes)
            stages = stage_seconds(prepared, subject.examples, batching)
            shares = {name: value / sum(stages.values()) for name, value in stages.items()}
            counted = counts(subject, median(seconds["ours"]), len(subject.examples), settings["precision"], options)
            values = {"seconds": seconds, "floor": floors[best], "shares": shares, **counted}
            yield {**batching, "workers": options.workers, **settings}, values


def training(subject: Subject, options: Namespace) -> Iterator[Measurement]:
    """Compare training steps on the corpus's train split with the bare encoder's own forward and backward."""
    model, size = deepcopy(subject.model).train(), options.batch
    examples = subjects.load_examples(options, "train", everything=True)[2]
    encoded = sorted(model.aligner().encode(subjects.spread_over(examples, TRAINING_BATCHES * size)), key=len)
    batches = [training_batch(model, encoded[start : start + size]) for start in range(0, len(encoded), size)]
    floor, optimizer = bare_encoder(subject).train(), torch.optim.AdamW(model.parameters(), fused=True)
    for precision in (name for name in options.precision if name in ("fp32", "bf16")):
        works: dict[str, Callable[[], object]] = {
            "floor": partial(_each, partial(_bare_step, floor), batches),
            "ours": partial(_each, partial(train_step, model, optimizer=optimizer, precision=precision), batches),
        }
        seconds = pass_seconds(works, options.passes)
        steps = {name: [second / len(batches) for second in values] for name, values in seconds.items()}
        yield {"batch_size": options.batch, "packing": model.packing, "precision": precision}, {"seconds": steps}


def _each(step: Callable[[Any], object], batches: Sequence[Any]) -> None:
    for batch in batches:
        step(batch)


def memory(subject: Subject, options: Namespace) -> Iterator[Measurement]:
    """Measure the peak memory of predicting the sentences and of two training steps, each in a fresh process.

    MiB: `imports`, held when all modules are loaded; `loaded`, the peak once the model is ready; `peak`, of the whole
    process; `gpu`, the most that torch allocated on a GPU while it predicted or trained.
    """
    works = [{"what": "predict", "batch_size": max(options.batch_sizes or [options.batch]), **settings}
             for settings in _settings(options)]  # fmt: skip
    for work in [*works, {"what": "train", "batch_size": options.batch, "precision": "fp32"}]:
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            yield work, executor.submit(peak, options, subject.kind, subject.name, work).result()


def peak(options: Namespace, kind: str, name: str, work: dict[str, Any]) -> dict[str, float]:
    """Predict or train in this process and return the most memory that it has held; see `memory`."""
    found = {"imports": resident_peak()}
    return_large_buffers()  # as `fit` and `extract` do
    subject = subjects.load_subject(options, kind, name)
    if work["what"] == "train":
        examples = subjects.load_examples(options, "train", everything=True)[2]
        longest = sorted(examples, key=lambda example: len(example.words))[-work["batch_size"] :]
        model = subject.model.train()
        batch = training_batch(model, model.aligner().encode(longest))
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        run: Callable[[], object] = partial(train_step, model, batch, optimizer)
    else:
        model = subjects.calibrated(subject, batch_size=1).model
        prepare(model, InferenceOptions(work["precision"], work["compile"], work["packing"], allow_slow=True))
        run = partial(model.predict, subject.examples, work["batch_size"])
    found["loaded"] = resident_peak()
    if subject.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):  # the second training step holds the optimizer's state, too
        run()
    if subject.device.type == "cuda":
        found["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    return {**found, "peak": resident_peak()}


def resident_peak() -> float:
    """Return the peak in MiB; psutil has none on Linux, and `ru_maxrss` of a child starts at its parent's."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):  # not Linux
        return float(psutil.Process().memory_info().rss) / 2**20


def stream(subject: Subject, options: Namespace) -> Iterator[Measurement]:
    """Measure the steady rate of an endless stream: raw text to documents, and words to predictions."""
    texts = [" ".join(example.words) for example in islice(cycle(subject.examples), pipeline.POOL)]
    for settings, model in _prepared(subject, options):
        for batching in batchings(options):
            size, budget = batching["batch_size"], batching["token_budget"]
            tokens = budget or (size or 1) * max(map(len, id_rows(subject)))
            extractor = Extractor(TorchBackend(model), Splitter(), max_tokens=tokens)
            predictions = pipeline.stream(
                model, cycle(subject.examples), size, max_tokens=budget, workers=options.workers, pool=pipeline.POOL
            )
            documents = chain.from_iterable(map(extractor, repeat(texts)))
            for source, results in (("text", documents), ("words", predictions)):
                seconds = _steady(results, skip=2 * options.workers + 1, count=options.passes)
                workers = options.workers if source == "words" else 0
                values = counts(subject, median(seconds), pipeline.POOL, settings["precision"], options)
                found = {"seconds": {"ours": seconds}, **values}
                yield {"from": source, **batching, "workers": workers, **settings}, found


def agreement(subject: Subject, options: Namespace) -> Iterator[Measurement]:
    """Count where predictions of the prepared model differ from those of the same model in padded float32."""
    plain = deepcopy(subject.model)
    plain.packing = False
    expected = plain.predict(subject.examples)
    for settings, model in _prepared(subject, options):
        found = model.predict(subject.examples)
        values: dict[str, Any] = {"plain": _f1(subject, expected), "scores": _f1(subject, found), "flips": {}}
        for name in ("entities", "relations"):
            pairs = [(set(getattr(a, name)), set(getattr(b, name))) for a, b in zip(found, expected, strict=True)]
            values[name] = sum(len(there) for _, there in pairs)
            values["flips"][name] = sum(len(here ^ there) for here, there in pairs)
        yield settings, values


def _f1(subject: Subject, predictions: Sequence[Prediction]) -> dict[str, float]:
    from iter_lightning.metrics import ExtractionMetric  # which `peak` should not hold

    metric = ExtractionMetric(subject.model.config.schema)
    metric.update(predictions, subject.examples)
    values = metric.compute()
    return {task: 100 * float(values[f"{key}_f1"]) for task, key in (("NER", "ner"), ("RE+", "re_plus"))}


def batchings(options: Namespace) -> list[Batching]:
    """Return the batch sizes and token budgets to measure at."""
    sizes: list[Batching] = [{"batch_size": size, "token_budget": None} for size in options.batch_sizes]
    sizes += [{"batch_size": None, "token_budget": budget} for budget in options.token_budgets]
    if not sizes:
        raise ConfigError("there is nothing to measure at: give --batch-sizes or --token-budgets")
    return sizes


def _settings(options: Namespace) -> list[dict[str, Any]]:
    packing = False if options.no_packing else None
    return [{"precision": name, "compile": options.compile, "packing": packing} for name in options.precision]


def _prepared(subject: Subject, options: Namespace) -> Iterator[tuple[dict[str, Any], IterModel]]:
    """Yield the model prepared for each precision; slow ones too, because a benchmark shows how slow they are."""
    for settings in _settings(options):
        yield settings, prepare(deepcopy(subject.model), InferenceOptions(**settings, allow_slow=True))


def _predict(
    model: IterModel, examples: Sequence[Example], batching: Batching, workers: int = 0
) -> Callable[[], list[Prediction]]:
    size = batching["batch_size"] or len(examples)
    return partial(model.predict, examples, size, max_tokens=batching["token_budget"], workers=workers)


@torch.no_grad()  # as `predict`: a compiled encoder has a graph for each mode
def stage_seconds(model: IterModel, examples: Sequence[Example], batching: Batching) -> dict[str, float]:
    """Profile one pass and return the seconds of each stage; stages wait for a GPU, so that they do not overlap.

    Tokenizing is profiled apart; `decode` is the rest of the pass, batching and building predictions included.
    """
    bare = [replace(example, entities=(), relations=()) for example in examples]
    heads = {"left": model.is_left, "span": model.is_span, "link": model.is_link}
    with ExitStack() as patches:
        patches.enter_context(patch.object(model, "encode", _stage("encoder")(model.encode)))
        for name, head in heads.items():
            if head is not None:
                patches.enter_context(patch.object(head, "forward", _stage(name)(head.forward)))
        with profile() as profiler:
            _stage("tokenize")(model.aligner().encode)(bare)
            _stage("all")(_predict(model, examples, batching))()
    total = {event.key: event.cpu_time_total / 1e6 for event in profiler.key_averages()}
    seconds = {name: total.get(name, 0.0) for name in STAGES[:-1]}
    return {**seconds, "decode": max(0.0, total["all"] - sum(seconds.values()))}


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Record a block, or a decorated function, as a named range of the profiler."""
    with record_function(name):
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def counts(
    subject: Subject, seconds: float, sentences: int, precision: Precision, options: Namespace
) -> dict[str, Any]:
    """Return what a pass over `sentences` processes, and the share of the device's peak that it reaches."""
    rows = id_rows(subject)
    subwords = round(sum(map(len, rows)) * sentences / len(subject.examples))
    flops = {name: round(count * subwords) for name, count in _flops_a_subword(subject).items()}
    best = None if precision == "int8" else matmul_peak(subject.device, PRECISIONS[precision])
    rate = sum(flops.values()) / seconds
    return {
        "kernels": describe(precision, subject.device, options.compile), "sentences": sentences, "subwords": subwords,
        "longest": max(map(len, rows)), "flops": flops, "flops_a_second": rate, "matmul_peak": best,
        "peak_share": rate / best if best else None, "density": {"wanted": subject.wanted, "found": subject.found},
    }  # fmt: skip


@cache
def _flops_a_subword(subject: Subject) -> dict[str, float]:
    """Count the operations of unpadded sentences; attention takes the math path, the only one counted on a CPU."""
    from torch.utils.flop_counter import FlopCounterMode  # as above

    some = replace(subject, examples=subjects.spread_over(subject.examples, FLOP_SENTENCES))
    subwords = sum(map(len, id_rows(some)))
    unpacked, math = patch.object(subject.model, "packing", False), sdpa_kernel(SDPBackend.MATH)
    with unpacked, math, FlopCounterMode(display=False) as counter:
        subject.model.predict(some.examples, 1)
    encoder = sum(counter.get_flop_counts()[type(subject.model.encoder).__name__].values())
    return {"encoder": encoder / subwords, "heads": (counter.get_total_flops() - encoder) / subwords}


@cache
def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of one product of two large square matrices."""
    size = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return float(2 * size**3 / min(pass_seconds({"product": lambda: a @ b}, 3)["product"]))


def _steady(results: Iterator[object], skip: int, count: int) -> list[float]:
    """Return the seconds of `count` pools of results, after the first `skip`."""
    ends = []
    for _ in range(skip + count):
        list(islice(results, pipeline.POOL))
        ends.append(time.perf_counter())
    return [after - before for before, after in zip(ends[skip - 1 :], ends[skip:], strict=False)]


def training_batch(model: IterModel, encoded: Sequence[EncodedExample]) -> Batch:
    """Return one batch of all windows on the model's device."""
    batch = model.collate([(e, number) for e in encoded for number in range(len(e.windows))])
    return batch.to(next(model.parameters()).device)


def train_step(model: IterModel, batch: Batch, optimizer: torch.optim.Optimizer, precision: str = "fp32") -> None:
    """Run forward, backward, clipping and the update."""
    with torch.autocast(batch.input_ids_BN.device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = model(batch).total
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _bare_step(encoder: nn.Module, batch: Batch) -> None:
    encoder(input_ids=batch.input_ids_BN, attention_mask=batch.mask_BN.long()).last_hidden_state.sum().backward()
    encoder.zero_grad(set_to_none=True)


SECTIONS = {section.__name__: section for section in (speed, lengths, training, memory, agreement, stream)}
