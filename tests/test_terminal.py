"""Sentences in color."""

from __future__ import annotations

from iter_lightning.terminal import colors_of, render, render_example
from iter_lightning.types import Entity, Example, Prediction, Relation


def test_nested_entities_close_inside_out() -> None:
    outer, inner = Entity(0, 4, "Organization"), Entity(3, 4, "Zone")
    person = Entity(5, 6, "Person")
    example = Example(("the", "University", "of", "Dasberg", "hired", "Ada"))
    found = Prediction((outer, inner, person), (Relation(person, outer, "Works_For"),), (1.0, 1.0, 1.0), (0.875,))
    colors = {"Organization": "red", "Zone": "green", "Person": "blue"}
    sentence, relation = render_example(example, found, colors).plain.split("\n")
    assert sentence == "[the University of [Dasberg Zone] Organization] hired [Ada Person]"
    assert relation.split("  ")[2:] == ["Ada", "Works_For", "the University of Dasberg", "0.88"]


def test_render_keeps_the_text_and_crossing_spans_close_in_order() -> None:
    text = "Ada, of Acme Inc."
    spans = [(0, 3, "person"), (8, 16, "company"), (8, 12, "brand")]
    shown = render(text, spans, [], colors_of(["person", "company", "brand"])).plain
    assert shown == "[Ada person], of [[Acme brand] Inc company]."
    crossing = render("a b c", [(0, 3, "x"), (2, 5, "y")], [], colors_of("xy")).plain
    assert crossing == "[a [b x] c y]"


def test_colors_of_more_types_than_colors_repeat() -> None:
    assert len(colors_of(str(n) for n in range(20))) == 20
