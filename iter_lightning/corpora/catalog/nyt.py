"""NYT: its description, and the reader of JointER's JSON.

A record has tokens, and triples in `spo_details` with offsets and types of both arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iter_lightning.corpora.corpus import Corpus, CorpusFile, Counts
from iter_lightning.corpora.records import (
    Faults,
    build_example,
    check_words,
    read_json_lines,
    read_text,
    record_objects,
    required_list,
)  # fmt: skip
from iter_lightning.corpora.spert import record_id
from iter_lightning.errors import shown
from iter_lightning.types import Example, Schema


def read_jointer(path: str | Path) -> list[Example]:
    """Read a JSON list or JSON lines. Only arguments of triples are entities.

    Raises:
        CorpusError: If the file has faults. The message lists all of them.
    """
    path = Path(path)
    faults = Faults(path)
    is_list = read_text(path).lstrip()[:1] == "["
    records = record_objects(path) if is_list else list(read_json_lines(path))
    examples = [_example(record, number, faults) for number, record in enumerate(records)]
    faults.finish()
    return [example for example in examples if example is not None]


def _example(record: dict[str, Any], number: int, faults: Faults) -> Example | None:
    """Build an example from details [subject start, end, type, relation, object start, end, type], ends exclusive."""
    where = f"record {number}"
    words = check_words(record.get("tokens"), where, faults)
    if words is None:
        return None
    entities: dict[tuple[Any, Any, Any], int] = {}
    relations: list[tuple[int, int, Any]] = []
    for i, detail in enumerate(required_list(record, "spo_details", where, faults)):
        if not isinstance(detail, list) or len(detail) != 7:
            faults.add(where, f"spo_details {i}: expected 7 fields (start, end, type, relation, start, end, type), "
                              f"found {shown(detail)}")  # fmt: skip
            continue
        try:
            head, tail = [
                entities.setdefault((start, end, kind), len(entities)) for start, end, kind in (detail[:3], detail[4:])
            ]
        except TypeError:  # lists and objects are not hashable
            faults.add(where, f"spo_details {i}: expected numbers and strings, found {shown(detail)}")
            continue
        relations.append((head, tail, detail[3]))
    return build_example(words, list(entities), relations, record_id(record, number), where, faults)


_URL = "https://raw.githubusercontent.com/yubowen-ph/JointER/master/dataset/NYT-multi/data"
_NYT_RELATIONS = (
    "/business/company/advisors", "/business/company/founders", "/business/company/industry",
    "/business/company/major_shareholders", "/business/company/place_founded",
    "/business/company_shareholder/major_shareholder_of", "/business/person/company",
    "/location/administrative_division/country", "/location/country/administrative_divisions",
    "/location/country/capital", "/location/location/contains", "/location/neighborhood/neighborhood_of",
    "/people/deceased_person/place_of_death", "/people/ethnicity/geographic_distribution", "/people/ethnicity/people",
    "/people/person/children", "/people/person/ethnicity", "/people/person/nationality", "/people/person/place_lived",
    "/people/person/place_of_birth", "/people/person/profession", "/people/person/religion",
    "/sports/sports_team/location", "/sports/sports_team_location/teams",
)  # fmt: skip

NYT = Corpus(
    name="nyt", title="NYT", omega=2, flat=False, overlapping="1.1%",
    summary="New York Times, 24 relation types labeled by distant supervision.",
    read=read_jointer,
    schema=Schema(("LOCATION", "ORGANIZATION", "PERSON"), _NYT_RELATIONS),
    files=tuple(CorpusFile(f"{split}.json", split, f"{_URL}/{split}.json") for split in ("train", "dev", "test")),
    counts={"train": Counts(56196), "dev": Counts(5000), "test": Counts(5000)},
    license="none stated; New York Times text, labeled by distant supervision",
    citation="Riedel et al., ECML PKDD 2010; JSON form of Yu et al. (JointER), ECAI 2020",
)  # fmt: skip
