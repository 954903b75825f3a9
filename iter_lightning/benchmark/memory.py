"""Section `memory`, and the peak memory of one piece of work in a process of its own.

    python -m iter_lightning.benchmark.memory < work.json    # what the section starts; prints one line of JSON

Resident memory is the kernel's own high-water mark of the process image (`VmHWM`). `ru_maxrss` starts, in a child, at
what the parent held when it was forked, and would report the benchmark's own size.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from iter_lightning.benchmark.shapes import Measurement, Plan, Shape, options_of, own_setting, shaped_setting
from iter_lightning.benchmark.subjects import Subject, SubjectSpec, load_subject
from iter_lightning.errors import ConfigError, IterError
from iter_lightning.heap import return_large_buffers
from iter_lightning.model.inference import InferenceOptions

HEAPS = ("returned", "default")
"""Whether freed large buffers go back to the system at once, as under `fit` and `predict` (`heap.py`), or as the C
library has it."""


def memory(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """The subject's sentences, predicted once in a fresh process."""
    size = max(plan.batch_sizes or (plan.batch,))
    for options in plan.options:
        for heap in HEAPS:
            values = peak_of_prediction(subject.spec, options, size, heap=heap)
            yield {"batch_size": size, "heap": heap, **options_of(options)}, values


def peak_of_prediction(
    spec: SubjectSpec, options: InferenceOptions, batch_size: int, shape: Shape | None = None, heap: str = "returned"
) -> dict[str, float]:
    """MiB of a fresh process that predicts the subject's sentences, or made ones; see `peak`."""
    work = {
        "what": "predict", "subject": spec.to_dict(), "options": options_of(options), "batch_size": batch_size,
        "shape": shape.to_dict() if shape else None, "heap": heap,
    }  # fmt: skip
    return peak(work)


def peak(work: dict[str, Any]) -> dict[str, float]:
    """Run a piece of work in a process of its own.

    Returns:
        MiB: `imports`, held when every module is loaded; `loaded`, the peak when the model is there; `peak`, of the
        whole process; `gpu`, the most that torch allocated there while predicting or training, where that is on a GPU.

    Raises:
        ConfigError: the process failed, with the last line it said.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "iter_lightning.benchmark.memory"],
        input=json.dumps(work),
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise ConfigError(f"the process whose memory is measured failed: {said[-1]}")
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def resident_peak() -> float:
    """MiB this process has held at most."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):  # no Linux
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def predict_once(work: dict[str, Any]) -> float:
    """Load, prepare, calibrate where heads are untrained, predict; returns the peak before predicting, in MiB."""
    subject = load_subject(SubjectSpec(**work["subject"]))
    setting = shaped_setting(subject, Shape(**work["shape"])) if work["shape"] else own_setting(subject)
    del subject
    prepared, _ = setting.prepare(InferenceOptions(**work["options"], allow_slow=True), 1, keep=False)
    examples = setting.examples
    del setting
    loaded = resident_peak()
    if next(prepared.parameters()).device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()  # the model was loaded in float32
    prepared.predict(examples, work["batch_size"])
    return loaded


def main() -> int:
    """Do the work on standard input and print what it took."""
    from iter_lightning.benchmark.training import train_twice

    work = json.loads(sys.stdin.read())
    imports = resident_peak()
    if work["heap"] == "returned":
        return_large_buffers()
    try:
        loaded = (predict_once if work["what"] == "predict" else train_twice)(work)
    except IterError as error:
        print(error, file=sys.stderr)
        return 2
    found = {"imports": imports, "loaded": loaded, "peak": resident_peak()}
    if torch.cuda.is_available() and work["subject"]["device"] != "cpu":
        found["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
