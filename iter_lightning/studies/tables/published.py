"""Access to the paper's numbers in `published.yaml`.

Corpora, encoders and rows have the keys of that file (`conll04`, `flan-t5-large`, `flan-t5-large+conll03`); scores are
percent. `symmetric="twice"` selects the paper's (*): correct symmetric relations count twice (Appendix F).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from iter_lightning.corpora import CATALOG

SYMMETRIC = ("once", "twice")
TASKS = ("NER", "RE", "RE+")


@cache
def published() -> dict[str, Any]:
    """Return the whole file: `table1` to `table7` and `disagreements`, where the paper contradicts itself.

    The content is shared between callers and must not be changed.
    """
    text = files("iter_lightning.studies.tables").joinpath("published.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def published_f1(table: int, corpus: str, row: str, task: str, symmetric: str = "once") -> float | None:
    """Return one F1 of Table 2, 4 (ACE05 only) or 7, in percent; None if the table has no such value.

    Args:
        table: 2, 4 or 7; use `published_scores` for Table 6.
        corpus: Key of the corpus.
        row: Key of an encoder or, in Table 2, of any system.
        task: NER or RE+; RE is in Table 6 only.
        symmetric: once or twice. NER is the same for both; only Table 2 has RE+ for twice, on ACE05 and SciERC.

    Raises:
        ValueError: Another table, or another value of symmetric.
    """
    _check_symmetric(symmetric)
    cells = _cells(table, corpus, row)
    value = cells.get("RE+*" if (task, symmetric) == ("RE+", "twice") else task) if task in TASKS else None
    return None if value is None else float(value)


def published_scores(corpus: str, encoder: str, symmetric: str = "once") -> dict[str, Any] | None:
    """Return Table 6 for one encoder: `n` (seeds; folds on ADE), and task -> P, R, F1 -> [mean, standard deviation].

    Tasks are NER, RE and RE+, on CoNLL03 and GENIA only NER. None if the table has no such row; (*) blocks exist for
    ACE05 and SciERC.

    Raises:
        ValueError: symmetric is neither once nor twice.
    """
    _check_symmetric(symmetric)
    wanted = (corpus, encoder, symmetric)
    for entry in published()["table6"]:
        if (entry["corpus"], entry["encoder"], entry["symmetric"]) == wanted:
            return {key: entry[key] for key in ("n", *TASKS) if key in entry}
    return None


def corpus_title(corpus: str) -> str:
    """Return the name of a corpus in reports."""
    return CATALOG[corpus].title if corpus in CATALOG else corpus


def _check_symmetric(symmetric: str) -> None:
    if symmetric not in SYMMETRIC:
        raise ValueError(f"symmetric: {symmetric!r}, expected one of {', '.join(SYMMETRIC)}")


def _cells(table: int, corpus: str, row: str) -> dict[str, Any]:
    """Task -> F1 of one row on one corpus; empty if there is none."""
    if table == 2:
        found = [entry["values"].get(corpus) for entry in published()["table2"]["rows"] if entry["key"] == row]
    elif table == 4:
        found = [published()["table4"].get(row)] if corpus == "ace05" else []
    elif table == 7:
        entries = [entry for entry in published()["table7"] if (entry["corpus"], entry["key"]) == (corpus, row)]
        found = [{task: entry[task][0] for task in TASKS if task in entry} for entry in entries]
    else:
        raise ValueError(f"table: {table}, expected 2, 4 or 7")
    return next((cells for cells in found if cells), {})
