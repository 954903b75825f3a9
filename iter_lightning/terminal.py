"""Show predictions in a terminal: colored entities in nested brackets, with relations below."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from rich.console import Console
from rich.text import Text

from iter_lightning.types import Example, Prediction

COLORS = ("cyan", "green", "yellow", "magenta", "blue", "red", "bright_cyan", "bright_green", "bright_magenta")
Span = tuple[int, int, str]
"""Start and end in characters, and a type."""
Link = tuple[Span, str, Span, float]
"""Head, type, tail and probability."""


def console() -> Console:
    """Return the console of standard output; it uses colors if the terminal has them, or if `FORCE_COLOR` is set."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def colors_of(types: Iterable[str]) -> dict[str, str]:
    """Return a color for each type; after nine types colors repeat."""
    return {name: COLORS[i % len(COLORS)] for i, name in enumerate(dict.fromkeys(types))}


def show_predictions(pairs: Sequence[tuple[Example, Prediction]], count: int = 5) -> None:
    """Print the first `count` sentences with a relation and, if there are fewer, sentences with an entity."""
    chosen = [pair for pair in pairs if pair[1].relations][:count]
    chosen += [pair for pair in pairs if pair[1].entities and not pair[1].relations][: count - len(chosen)]
    colors = colors_of(sorted({entity.type for _, prediction in pairs for entity in prediction.entities}))
    for example, prediction in chosen:
        console().print()
        console().print(render_example(example, prediction, colors))


def render_example(example: Example, prediction: Prediction, colors: Mapping[str, str]) -> Text:
    """Render a sentence as `[Ada Lovelace Person]`, then one line per relation with its probability."""
    starts = list(accumulate((len(word) + 1 for word in example.words), initial=0))
    spans = {e: (starts[e.start], starts[e.end] - 1, e.type) for e in prediction.entities}
    scored = zip(prediction.relations, prediction.relation_scores, strict=True)
    links = [(spans[r.head], r.type, spans[r.tail], score) for r, score in scored]
    return render(" ".join(example.words), list(spans.values()), links, colors)


def render(text: str, spans: Iterable[Span], links: Iterable[Link], colors: Mapping[str, str]) -> Text:
    """Render a text with entities in brackets, then one line per relation.

    Args:
        text: the text, which is not changed.
        spans: entities; nested ones are allowed.
        links: relations between them.
        colors: color of each entity type.
    """
    # An entity that starts earlier or ends later is the outer one.
    ordered = sorted(set(spans), key=lambda span: (span[0], -span[1], span[2]))
    events = sorted({0, len(text), *(place for start, end, _ in ordered for place in (start, end))})
    shown = Text()
    open_spans: list[Span] = []
    for place, following in zip(events, [*events[1:], len(text)], strict=True):
        for span in [s for s in reversed(open_spans) if s[1] == place]:  # inner entities first
            shown.append(f" {span[2]}]", style=colors[span[2]])
            open_spans.remove(span)
        for span in ordered:
            if span[0] == place:
                shown.append("[", style=colors[span[2]])
                open_spans.append(span)
        shown.append(text[place:following], style=f"bold {colors[open_spans[-1][2]]}" if open_spans else "")
    for head, name, tail, score in links:
        shown.append("\n    ")
        shown.append(text[head[0] : head[1]], style=colors[head[2]])
        shown.append(f"  {name}  ", style="dim")
        shown.append(text[tail[0] : tail[1]], style=colors[tail[2]])
        shown.append(f"  {score:.2f}", style="dim")
    return shown
