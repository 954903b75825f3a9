"""Sentences in color."""

from __future__ import annotations

from iter_lightning.training.terminal import render
from iter_lightning.types import Entity, Example, Prediction, Relation


def test_nested_entities_close_inside_out() -> None:
    outer, inner = Entity(0, 4, "Organization"), Entity(3, 4, "Zone")
    person = Entity(5, 6, "Person")
    example = Example(("the", "University", "of", "Dasberg", "hired", "Ada"))
    found = Prediction((outer, inner, person), (Relation(person, outer, "Works_For"),), (1.0, 1.0, 1.0), (0.875,))
    colors = {"Organization": "red", "Zone": "green", "Person": "blue"}
    sentence, relation = render(example, found, colors).plain.split("\n")
    assert sentence == "[the University of [Dasberg Zone] Organization] hired [Ada Person]"
    assert relation.split("  ")[2:] == ["Ada", "Works_For", "the University of Dasberg", "0.88"]
