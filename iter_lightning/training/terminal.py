"""Show predictions in a terminal: colored entities in nested brackets, with relations below."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from iter_lightning.types import Example, Prediction

COLORS = ("cyan", "green", "yellow", "magenta", "blue", "red", "bright_cyan", "bright_green", "bright_magenta")


def show_predictions(
    pairs: Sequence[tuple[Example, Prediction]], count: int = 5, console: Console | None = None
) -> None:
    """Print the first `count` sentences with a relation and, if there are fewer, sentences with an entity.

    Colors are used if the terminal supports them or `FORCE_COLOR` is set.
    """
    console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
    chosen = [pair for pair in pairs if pair[1].relations][:count]
    chosen += [pair for pair in pairs if pair[1].entities and not pair[1].relations][: count - len(chosen)]
    types = sorted({entity.type for _, prediction in pairs for entity in prediction.entities})
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(types)}
    for example, prediction in chosen:
        console.print()
        console.print(render(example, prediction, colors))


def render(example: Example, prediction: Prediction, colors: dict[str, str]) -> Text:
    """Render a sentence as `[Ada Lovelace Person]`, then one line per relation with its score."""
    text = Text()
    # an entity that starts earlier or ends later is the outer one
    order = sorted(prediction.entities, key=lambda e: (e.start, -e.end, e.type))
    open_entities: list[tuple[int, str]] = []
    for position, word in enumerate(example.words):
        text.append(" " if position else "")
        for entity in order:
            if entity.start == position:
                text.append("[", style=colors[entity.type])
                open_entities.append((entity.end, entity.type))
        text.append(word, style=f"bold {colors[open_entities[-1][1]]}" if open_entities else "")
        for end, kind in [e for e in reversed(open_entities) if e[0] == position + 1]:  # inner entities first
            text.append(f" {kind}]", style=colors[kind])
            open_entities.remove((end, kind))
    for relation, score in zip(prediction.relations, prediction.relation_scores, strict=True):
        text.append("\n    ")
        text.append(example.text_of(relation.head), style=colors[relation.head.type])
        text.append(f"  {relation.type}  ", style="dim")
        text.append(example.text_of(relation.tail), style=colors[relation.tail.type])
        text.append(f"  {score:.2f}", style="dim")
    return text
