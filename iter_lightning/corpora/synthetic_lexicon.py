"""Define the vocabulary of the synthetic corpus: words, patterns of names, and clauses with their relations.

Notation in texts:

- `<kind>` or `<kind x>`: a name of this kind (`NAMES`), with the handle `x` for relations.
- `{list}`: a word of `WORDS`, a made-up `{name}`, or `{again}`, a name that the sentence has used before, if any.

Relations are written as `head Type tail`. `self` is the name that a pattern builds. `r.x` is the name with handle `x`
inside the name `r`, if there is one.

Names of persons, places, and companies come from one list, so only the wording around a name reveals its type.
Therefore, no two texts may differ only in the kinds of their slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from iter_lightning.types import Schema

__all__ = [
    "CLAUSES", "FILLERS", "JOINTS", "NAMES", "NAME_PARTS", "OPENINGS", "PLAIN_OPENINGS", "SCHEMA", "WORDS", "Kind",
    "Template",
]  # fmt: skip

SCHEMA = Schema(
    ("Event", "Location", "Organization", "Person", "Role", "Work"),
    ("Author_Of", "Founder_Of", "Leads", "Located_In", "Partner_With", "Spouse_Of", "Works_For"),
    symmetric=("Partner_With", "Spouse_Of"),
)


class Template:
    """Hold a text with slots, and the relations that it states."""

    def __init__(self, text: str, *relations: str) -> None:
        """Parse relations; the docstring of the module explains the notation."""
        self.text = text
        self.relations = tuple((head, kind, tail) for head, kind, tail in (r.split() for r in relations))


@dataclass(frozen=True)
class Kind:
    """Define the patterns of one kind of names."""

    type: str
    """Entity type of these names."""
    flat: tuple[Template, ...]
    """Patterns without names inside."""
    nested: tuple[Template, ...] = ()
    """Patterns with names inside."""


NAME_PARTS = (
    ("B", "Br", "D", "Dr", "F", "G", "Gr", "H", "J", "K", "Kl", "L", "M", "N", "P", "R", "S", "St", "T", "Tr", "V"),
    ("a", "e", "i", "o", "u", "ai", "ea", "ei"),
    ("l", "n", "r", "s", "nd", "rk", "ld", "rn", "ss", "ll"),
    ("a", "and", "berg", "by", "ell", "en", "er", "ford", "ham", "ick", "ley", "man", "ow", "sen", "ton", "well"),
)
"""Beginnings, vowels, middles, and ends of made-up names."""

WORDS: dict[str, tuple[str, ...]] = {
    "first": (
        "Ada", "Boris", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Lars", "Mira",
        "Nadia", "Omar", "Paula", "Quentin", "Rosa", "Samir", "Tilda", "Ulrich", "Vera", "Wanda", "Xavier", "Yusuf",
        "Zoe", "Anton", "Bella", "Cyril", "Daria", "Emil", "Flora", "Henrik", "Irma", "Leopold", "Marta",
    ),
    "subject": (
        "Astronomy", "Botany", "Chemistry", "Economics", "Geology", "History", "Hydraulics", "Law", "Linguistics",
        "Mathematics", "Medicine", "Music", "Navigation", "Optics", "Philosophy", "Physics",
    ),
    "compass": ("northern", "southern", "eastern", "western", "upper", "lower"),
    "noun": (
        "Ashes", "Glass", "Harbours", "Iron", "Lanterns", "Mirrors", "Rain", "Salt", "Shadows", "Silence", "Thorns",
        "Winter",
    ),
    "day": ("Monday", "Tuesday", "Thursday", "Friday"),
    "month": ("March", "June", "October", "December"),
    "people": (
        "the committee", "most residents", "a small team of volunteers", "several newspapers", "the two sides",
        "neither court", "a number of observers", "the neighbours", "some former students", "the local press",
        "a visiting professor", "the younger members", "many shareholders", "the university", "both banks",
    ),
    "did": (
        "rejected the proposal", "lost interest in the matter", "found nothing unusual", "asked for more time",
        "called the decision premature", "ignored the festival", "described the mayor's speech in detail",
        "raised doubts about the merger", "spoke of a marriage of convenience", "had expected a different outcome",
        "blamed the founders", "praised the work of the foundation", "made no mention of the treasurer",
        "defended the director", "paid little attention to the author",
    ),
    "when": (
        "at the time", "for several years", "without further comment", "in spite of the heavy rain", "once again",
        "after long talks", "to the surprise of many", "on the last {day} of the year", "in the spring of {year}",
        "between {month} and {month}", "as late as {year}", "for the second time in a decade",
    ),
}  # fmt: skip
"""Lists of words by name. Words may contain slots."""

_TOWN = (Template("{name}"), Template("{name}"), Template("{name}"), Template("New {name}"), Template("Saint {name}"))
_COMPANY = (
    Template("{name}"), Template("{name}"), Template("{name} Motors"), Template("{again} & Sons"),
    Template("{name} & {name}"), Template("the {name} Group"), Template("{first} {again} Press"),
)  # fmt: skip
_COMPANY_NESTED = (
    Template("<town x> Savings Bank", "self Located_In x"),
    Template("<town x> Steel", "self Located_In x"),
    Template("<land x> Airlines", "self Located_In x"),
)
_SCHOOL = (Template("the Royal Academy of {subject}"), Template("the Institute of {subject}"))
_SCHOOL_NESTED = (
    Template("the University of <land x>", "self Located_In x"),
    Template("the University of <land x>", "self Located_In x"),
    Template("<town x> College", "self Located_In x"),
)
_BODY_NESTED = (
    Template("the Institute of {subject} at <school>"),
    Template("the Alumni Club of <school>"),
    Template("the <person> Foundation"),
    Template("the <town x> office of <company>", "self Located_In x"),
    Template("the <town x> office of <company>", "self Located_In x"),
)
_CHIEF = (Template("director"), Template("president"))
_POST = (Template("treasurer"), Template("chief engineer"), Template("librarian"))

NAMES: dict[str, Kind] = {
    "person": Kind(
        "Person",
        (Template("{first} {name}"), Template("{first} {name}"), Template("{name}"), Template("Dr. {name}")),
        (
            Template("former <role> {first} {name}"),
            Template("<company x> founder {first} {name}", "self Founder_Of x"),
            Template("<company x> <chief> {first} {name}", "self Leads x"),
            Template("<company x> <post> {first} {name}", "self Works_For x"),
            Template("Regent {first} of <land>"),
        ),
    ),
    "town": Kind("Location", _TOWN),
    "land": Kind("Location", _TOWN, (Template("{compass} <town x>", "self Located_In x"),)),
    "place": Kind(
        "Location",
        (*_TOWN, Template("the {name} Islands"), Template("the {name} valley")),
        (
            Template("{compass} <town x>", "self Located_In x"),
            Template("the port of <town x>", "self Located_In x"),
            Template("<town x> harbour", "self Located_In x"),
            Template("the capital of <land x>", "self Located_In x"),
            Template("the old quarter of <land x>", "self Located_In x"),
        ),
    ),
    "company": Kind("Organization", _COMPANY, _COMPANY_NESTED),
    "school": Kind("Organization", _SCHOOL, _SCHOOL_NESTED),
    "org": Kind("Organization", (*_COMPANY, *_SCHOOL), (*_COMPANY_NESTED, *_SCHOOL_NESTED, *_BODY_NESTED)),
    "chief": Kind("Role", _CHIEF),
    "post": Kind("Role", _POST),
    "work": Kind(
        "Work",
        (
            Template("The House of {noun}"), Template("Notes on {subject}"), Template("{noun} and {noun}"),
            Template("{name}"),
        ),
        (
            Template("A History of <org>"),
            Template("Inside <org>"),
            Template("Letters to <person>"),
            Template("The Last Days of <person>"),
            Template("Walks through <place>"),
            Template("Remembering <event>"),
            Template("From <town> to <town>"),
        ),
    ),
    "event": Kind(
        "Event",
        (Template("the {year} Games"), Template("the {subject} Congress"), Template("the {name} affair")),
        (
            Template("the Siege of <town x>", "self Located_In x"),
            Template("the <town x> Film Festival", "self Located_In x"),
            Template("the {year} <town x> Marathon", "self Located_In x"),
            Template("the annual meeting of <org>"),
            Template("the <person> Memorial Lecture"),
            Template("the {year} race from <town> to <town>"),
            Template("the trial of <person> in <town x>", "self Located_In x"),
            Template("the merger of <company> with <company>"),
        ),
    ),
    "role": Kind(
        "Role",
        (*_CHIEF, *_POST),
        (
            Template("treasurer of <org employer>"),
            Template("chief engineer of <org employer>"),
            Template("librarian of <school employer>"),
            Template("director of <org led>"),
            Template("head of <org led>"),
            Template("mayor of <town>"),
            Template("ambassador to <land>"),
        ),
    ),
}  # fmt: skip
"""Kinds of names. The handle inside a role gives the relation of the person in that role."""

_ROLE = ("a Works_For r.employer", "a Leads r.led")

CLAUSES = (
    Template("<person a> founded <org b>", "a Founder_Of b"),
    Template("<org b> was founded by <person a>", "a Founder_Of b"),
    Template("<person a> and <person c> founded <org b>", "a Founder_Of b", "c Founder_Of b"),
    Template("<person a> , who met <person> at <event> , founded <org b>", "a Founder_Of b"),
    Template("<person a> left <org> to set up <org b>", "a Founder_Of b"),
    Template("<person a> founded and still leads <org b>", "a Founder_Of b", "a Leads b"),
    Template("<org b> , founded and led by <person a> , went public", "a Founder_Of b", "a Leads b"),
    Template("<org b> , established by <person a> , now employs <person c>", "a Founder_Of b", "c Works_For b"),
    Template("<person a> runs <org b> from <place>", "a Leads b"),
    Template("<person a> took over <org b> from <person>", "a Leads b"),
    Template("<org b> is headed by <person a> and not by <person>", "a Leads b"),
    Template("<person a> , whose career began at <org> , now runs <org b>", "a Leads b"),
    Template("<person> declined an offer to lead <org>"),
    Template("<person a> works for <org b>", "a Works_For b"),
    Template("<person> never worked for <org>"),
    Template("<org b> hired <person a> away from <org>", "a Works_For b"),
    Template("<person a> of <org b> argued with <person>", "a Works_For b"),
    Template("<person a> , now <role r> , denied the report", *_ROLE),
    Template("<person a> serves as <role r>", *_ROLE),
    Template("<person a> became <role r> after leaving <org>", *_ROLE),
    Template("<org a> has its seat in <place b>", "a Located_In b"),
    Template("<place b> is home to <org a>", "a Located_In b"),
    Template("<org a> relocated to <place b> from <place>", "a Located_In b"),
    Template("<place a> lies in <land b>", "a Located_In b"),
    Template("<place a> , a part of <land b> , was flooded", "a Located_In b"),
    Template("<place> is larger than <place>"),
    Template("<event a> was held in <place b>", "a Located_In b"),
    Template("<place b> hosted <event a>", "a Located_In b"),
    Template("<event> drew many visitors away from <place>"),
    Template("<person a> wrote <work b>", "a Author_Of b"),
    Template("<work b> was written by <person a> , not by <person>", "a Author_Of b"),
    Template("<work b> made its author , <person a> , famous in <place>", "a Author_Of b"),
    Template("<person> reviewed <work b> by <person a>", "a Author_Of b"),
    Template("<work> won a prize at <event>"),
    Template("<person a> married <person b>", "a Spouse_Of b"),
    Template("<person a> and <person b> are a married couple", "a Spouse_Of b"),
    Template("<person a> , the spouse of <person b> , wrote <work c>", "a Spouse_Of b", "a Author_Of c"),
    Template("<person> was introduced to <person> at <event>"),
    Template("<org a> joined forces with <org b>", "a Partner_With b"),
    Template("<org a> and <org b> are partners in the project", "a Partner_With b"),
    Template("<org a> , a partner of <org b> , sued <org>", "a Partner_With b"),
    Template("<org> competes with <org>"),
    Template("<org> published its accounts"),
    Template("<person> grew up in <place>"),
    Template("<place> was settled in {year}"),
    Template("<event> ended in disorder"),
    Template("<person> attended <event>"),
    Template("<event> was reported by <org>"),
)
"""Clauses with names. They state one relation, several, or none."""

FILLERS = (Template("{people} {did} {when}"), Template("{people} {did}"))
"""Clauses without names."""
PLAIN_OPENINGS = (Template(""), Template(""), Template("by most accounts ,"), Template("records show that"))
"""Openings without names."""
OPENINGS = (
    *PLAIN_OPENINGS, *PLAIN_OPENINGS, *PLAIN_OPENINGS, Template("according to <org> ,"),
    Template("as <person> told reporters in <place> ,"),
)  # fmt: skip
JOINTS = (Template(", while"), Template(", and"), Template("; at the same time ,"), Template(", whereas"))
