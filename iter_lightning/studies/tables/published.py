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

SHORT = {"precision": "P", "recall": "R", "f1": "F1"}
"""Names of scores in Table 6 and in headers."""


@cache
def published() -> dict[str, Any]:
    """Return the whole file: `table1` to `table7` and `disagreements`, where the paper contradicts itself.

    The content is shared between callers and must not be changed.
    """
    text = files("iter_lightning.studies.tables").joinpath("published.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def published_scores(table: int, corpus: str, row: str, task: str, symmetric: str = "once") -> dict[str, list[Any]]:
    """Return the scores of one cell of Table 2, 4, 6 or 7.

    Args:
        table: Number of the table. Table 4 is about ACE05; only Table 6 has precision, recall, and the task RE.
        corpus: Key of the corpus.
        row: Key of an encoder or, in Table 2, of any system.
        task: NER, RE or RE+.
        symmetric: once or twice. Only Tables 2 and 6 have RE+ for twice, on ACE05 and SciERC.

    Returns:
        precision, recall, f1 -> [mean, standard deviation or None]; empty if the paper does not print the value.
    """
    tables = published()
    key = "RE+*" if (task, symmetric) == ("RE+", "twice") and table != 6 else task
    if table == 6:
        wanted = (corpus, row, symmetric)
        found = [e.get(key) for e in tables["table6"] if (e["corpus"], e["encoder"], e["symmetric"]) == wanted]
        return {name: found[0][short] for name, short in SHORT.items() if found and found[0]}
    if table == 2:
        values = [e["values"].get(corpus, {}).get(key) for e in tables["table2"]["rows"] if e["key"] == row]
    elif table == 4:
        values = [tables["table4"].get(row, {}).get(key)] if corpus == "ace05" else []
    else:
        values = [e.get(key) for e in tables[f"table{table}"] if (e["corpus"], e["key"]) == (corpus, row)]
    f1 = values[0] if values else None
    return {} if f1 is None else {"f1": f1 if isinstance(f1, list) else [f1, None]}


def corpus_title(corpus: str) -> str:
    """Return the name of a corpus in reports."""
    return CATALOG[corpus].title if corpus in CATALOG else corpus
