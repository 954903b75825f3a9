"""Make a ready model of a trained open one: choose its thresholds on dev, and store it in 8 bits.

    python -m benchmarks.ready_model runs/open_minilm/seed1 iter_lightning/ready_models/open-minilm --data ../corpora

IsLeft and IsSpan are shifted by constants, and lambda is chosen, so that the mean F1 over corpora that were not trained
on is highest. The choice is made on their dev splits, by NER for the shifts and by RE for lambda.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import yaml

from benchmarks.zero_shot import CORPORA, Subject, predictions, scores, shift, subject
from iter_lightning.model import IterModel

LEFT_SHIFTS, SPAN_SHIFTS = (0.0, 0.75, 1.5, 2.25), (0.0, 0.5, 1.0)
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


def mean_score(model: IterModel, subjects: Sequence[Subject], measure: str, link_threshold: float) -> float:
    """Return the mean of a measure over the corpora that have it."""
    found = [scores(given, predictions(model, given, link_threshold)) for given in subjects]
    values = [result[measure] for result in found if measure in result]
    return sum(values) / len(values)


def main() -> None:
    """Choose, report, and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ready_model", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("target", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--link-threshold", type=float, help="lambda to store; default: the best on dev")
    parser.add_argument("--sentences", type=int, default=80, help="first sentences of each dev split")
    options = parser.parse_args()
    entries = yaml.safe_load(CORPORA.read_text(encoding="utf-8"))
    chosen_on = [name for name in entries if name != "genia"]  # GENIA has no dev split here
    subjects = [subject(name, entries[name], options.data, "name", "dev", options.sentences) for name in chosen_on]
    model = IterModel.from_pretrained(options.model)

    best = (-1.0, 0.0, 0.0)
    for left, span in product(LEFT_SHIFTS, SPAN_SHIFTS):
        shift(model, left, span)
        score = mean_score(model, subjects, "ner_f1", link_threshold=1.0)
        shift(model, -left, -span)
        print(json.dumps({"left": left, "span": span, "mean NER F1": round(score, 1)}), flush=True)
        best = max(best, (score, left, span))
    _, left, span = best
    shift(model, left, span)

    linked = [given for given in subjects if given.schema.relation_types]
    by_threshold = {value: mean_score(model, linked, "re_f1", value) for value in THRESHOLDS}
    print(json.dumps({"mean RE F1 by lambda": {k: round(v, 1) for k, v in by_threshold.items()}}), flush=True)
    best_threshold = max(by_threshold, key=lambda value: by_threshold[value])
    threshold = best_threshold if options.link_threshold is None else options.link_threshold

    model.config = replace(model.config, link_threshold=threshold, flat=True)
    model.save_pretrained(options.target, compact=True)
    size = sum(path.stat().st_size for path in options.target.iterdir())
    print(json.dumps({"left": left, "span": span, "lambda": threshold, "bytes": size}))


if __name__ == "__main__":
    main()
