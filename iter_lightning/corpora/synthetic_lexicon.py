"""The tables behind the generated corpus: names, patterns of nested names, clauses with their relations.

A slot is `<Type>` or `<Type x>`; `x` is how a clause's relations name it, `self` is the name a pattern builds.
"""

from __future__ import annotations

from dataclasses import dataclass

from iter_lightning.types import Schema

SCHEMA = Schema(
    ("Event", "Location", "Organization", "Person", "Role", "Work"),
    ("Author_Of", "Based_In", "Founded", "Leads", "Located_In", "Partner_Of", "Spouse_Of", "Works_For"),
    ("Partner_Of", "Spouse_Of"),
)


@dataclass(frozen=True)
class Template:
    """Words and slots, and the relations that the wording states."""

    text: str
    relations: tuple[tuple[str, str, str], ...] = ()
    """(head slot, type, tail slot)."""


ONSETS = "b br d dr f g gr h k kl l m n p r s st t tr v w".split()
NUCLEI = "a e i o u ai ei".split()
CODAS = "l n r s t m nd rk lt".split()
SURNAME_ENDINGS = ("son", "ski", "man", "ez", "ov", "elli", "")
TOWN_ENDINGS = ("burg", "ford", "stad", "ville", "ton", "grad", "")
"""The empty ending makes names that may be a surname, a town or a company: only the context tells."""
COMPANY_ENDINGS = ("Industries", "Group", "Motors", "Systems", "Press", "")
FIRST_NAMES = (
    "Ada Boris Clara Dmitri Elena Farid Greta Hugo Ines Jonas Keiko Lars Mira Nadia Omar Paula Quentin Rosa Samir "
    "Tilda Ulrich Vera Wanda Xavier Yusuf Zoe"
).split()
SUBJECTS = "Botany Physics Law Astronomy Medicine Music Geology Linguistics Hydraulics Economics".split()

NAMES: dict[str, tuple[Template, ...]] = {
    "Person": (Template("{first} {surname}"), Template("{first} {surname}"), Template("Dr. {surname}")),
    "Location": (Template("{town}"),),
    "Organization": (Template("{company}"), Template("{company}"), Template("the Institute of {subject}")),
    "Work": (Template("Notes on {subject}"), Template("The {subject} Reader")),
    "Event": (Template("the {year} Games"), Template("the {subject} Congress")),
    "Role": (Template("treasurer"), Template("chief engineer"), Template("spokeswoman")),
}
"""Names without names inside."""

NESTED: dict[str, tuple[Template, ...]] = {
    "Location": (
        Template("the north of <Location x>", (("self", "Located_In", "x"),)),
        Template("the port of <Location x>", (("self", "Located_In", "x"),)),
        Template("<Location x> airport", (("self", "Located_In", "x"),)),
    ),
    "Organization": (
        Template("the University of <Location x>", (("self", "Based_In", "x"),)),
        Template("<Location x> Savings Bank", (("self", "Based_In", "x"),)),
        Template("the Institute of {subject} at <Organization>"),
        Template("the <Person> Foundation"),
        Template("the Alumni Club of <Organization>"),
    ),
    "Work": (
        Template("A History of <Organization>"),
        Template("Letters to <Person>"),
        Template("Walks through <Location>"),
        Template("Behind <Event>"),
    ),
    "Event": (
        Template("the Siege of <Location>"),
        Template("the <Location> Film Festival"),
        Template("the annual meeting of <Organization>"),
    ),
    "Role": (
        Template("treasurer of <Organization>"),
        Template("chief engineer of <Organization>"),
        Template("mayor of <Location>"),
    ),
    "Person": (Template("former <Role> {first} {surname}"),),
}
"""Names that hold names; what a slot takes may itself be nested while depth allows."""

CLAUSES = (
    Template("<Person a> founded <Organization b>", (("a", "Founded", "b"),)),
    Template("<Organization b> was founded by <Person a>", (("a", "Founded", "b"),)),
    Template("<Person a> founded and still leads <Organization b>", (("a", "Founded", "b"), ("a", "Leads", "b"))),
    Template("<Organization b> , founded and led by <Person a> , went public", (("a", "Founded", "b"), ("a", "Leads", "b"))),
    Template("<Person a> took over <Organization b> from <Person>", (("a", "Leads", "b"),)),
    Template("<Person a> works for <Organization b>", (("a", "Works_For", "b"),)),
    Template("<Organization b> hired <Person a>", (("a", "Works_For", "b"),)),
    Template("<Person a> of <Organization b> met <Person>", (("a", "Works_For", "b"),)),
    Template("<Organization a> has its seat in <Location b>", (("a", "Based_In", "b"),)),
    Template("<Location b> is home to <Organization a>", (("a", "Based_In", "b"),)),
    Template("<Organization a> moved to <Location b> from <Location>", (("a", "Based_In", "b"),)),
    Template("<Location a> lies in <Location b>", (("a", "Located_In", "b"),)),
    Template("<Location a> , a district of <Location b> , was flooded", (("a", "Located_In", "b"),)),
    Template("<Person a> wrote <Work b>", (("a", "Author_Of", "b"),)),
    Template("<Work b> was written by <Person a> , not by <Person>", (("a", "Author_Of", "b"),)),
    Template("<Work b> made <Person a> famous as its author", (("a", "Author_Of", "b"),)),
    Template("<Person a> married <Person b>", (("a", "Spouse_Of", "b"),)),
    Template("<Person a> and <Person b> are husband and wife", (("a", "Spouse_Of", "b"),)),
    Template("<Organization a> joined forces with <Organization b>", (("a", "Partner_Of", "b"),)),
    Template("<Organization a> and <Organization b> have been partners for years", (("a", "Partner_Of", "b"),)),
    Template("<Person> was introduced to <Person> at <Event>"),
    Template("<Person> praised <Work> in <Location>"),
    Template("<Organization> sued <Organization>"),
    Template("<Person> , <Role> , resigned"),
    Template("<Event> drew visitors to <Location>"),
    Template("<Person> became <Role> after leaving <Organization>"),
)

EMPTY = (
    "the weather stayed dry for most of the week", "nobody had expected the result", "prices rose again in spring",
    "the committee will decide later this year", "it was the third such report in a month",
    "most of the documents have been lost",
)  # fmt: skip
"""Clauses without any entity."""

OPENINGS = ("", "", "", "In {year} , ", "Last spring ", "According to <Organization> , ", "At <Event> , ")
JOINTS = (" , while ", " and ", " , although ", " ; meanwhile ", " , because ")
