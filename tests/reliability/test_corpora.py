"""Hostile corpus files: every format of the readers, damaged at random and on purpose."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.corpora.catalog.ace05 import CLOSE, OPEN, read_asp
from iter_lightning.corpora.catalog.genia import XML_NAME, read_genia
from iter_lightning.corpora.catalog.nyt import read_jointer
from iter_lightning.corpora.conll import read_conll
from iter_lightning.corpora.dygie import read_dygie
from iter_lightning.corpora.loading import load_custom
from iter_lightning.corpora.spert import read_spert, read_spert_types, write_spert
from iter_lightning.types import Example
from tests.reliability.campaign import Campaign
from tests.reliability.mutation import BIG, damaged_bytes, damaged_value, dumped

pytestmark = pytest.mark.reliability

WORDS = ["Ada", "Lovelace", "lives", "in", "London", "."]
SPERT = [
    {
        "tokens": WORDS, "orig_id": number, "relations": [{"type": "LiveIn", "head": 0, "tail": 1}],
        "entities": [{"type": "Per", "start": 0, "end": 2}, {"type": "Loc", "start": 4, "end": 5}],
    }
    for number in range(3)
]  # fmt: skip
TYPES = {"entities": {"Per": {"short": "P"}, "Loc": {}}, "relations": {"LiveIn": {"symmetric": False}}}
PLAIN_TYPES = {"entity_types": ["Per", "Loc"], "relation_types": ["LiveIn"], "symmetric": []}
DYGIE = {
    "doc_key": "d", "sentences": [WORDS, WORDS], "ner": [[[0, 1, "Per"], [4, 4, "Loc"]], [[6, 7, "Per"]]],
    "relations": [[[0, 1, 4, 4, "LiveIn"]], []], "clusters": [[[0, 1], [6, 7]]],
}  # fmt: skip
JOINTER = [{"tokens": WORDS, "spo_details": [[0, 2, "PERSON", "/people", 4, 5, "LOCATION"]], "id": "a"}] * 2
ASP = [
    {
        "tokens": [OPEN, *WORDS, CLOSE], "extended": ["Before", OPEN, *WORDS, CLOSE, "After"],
        "entities": [{"type": "Per", "start": 1, "end": 3}], "relations": [],
    }
]  # fmt: skip
CONLL = "-DOCSTART- -X- O O\n\nAda NNP B-NP B-PER\nLovelace NNP I-NP I-PER\nlives VBZ O O\n\nLondon\tS-LOC\n"
GENIA = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE set SYSTEM "gpml.dtd">\n<set><article><title><sentence>'
    '<cons sem="G#protein_molecule">NF-kappa <cons sem="G#DNA_region">B &amp; C</cons></cons> activates</sentence>'
    "</title></article></set>"
)  # fmt: skip

Reader = Callable[[Path], Any]
JSON_FORMATS: dict[str, tuple[Reader, Any, bool]] = {
    "spert": (read_spert, SPERT, False),
    "types": (read_spert_types, TYPES, False),
    "plain_types": (read_spert_types, PLAIN_TYPES, False),
    "dygie": (read_dygie, [DYGIE, DYGIE], True),
    "dygie_documents": (partial(read_dygie, coreference=True), [DYGIE], True),
    "jointer": (read_jointer, JOINTER, False),
    "jointer_lines": (read_jointer, JOINTER, True),
    "asp": (read_asp, ASP, False),
}
"""Reader, records, and whether they are a line each."""
TEXT_FORMATS: dict[str, tuple[Reader, str, bytes]] = {
    "conll": (read_conll, "a.conll", CONLL.encode()),
    "conll_documents": (partial(read_conll, level="document"), "a.conll", CONLL.encode()),
    "genia": (read_genia, "a.xml", GENIA.encode()),
}


def checked(read: Reader, path: Path) -> None:
    """Read a file; what is accepted must survive being written and read again."""
    found = read(path)
    if isinstance(found, list):
        plain = [Example(e.words, e.entities, e.relations, e.id) for e in found]
        copy = path.with_name("copy.json")
        write_spert(plain, copy)
        assert read_spert(copy) == plain


def serialized(records: Any, lines: bool) -> bytes:
    text = "\n".join(map(dumped, records)) if lines and isinstance(records, list) else dumped(records)
    return text.encode()


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_damaged_records_are_read_or_refused(campaign: Campaign, name: str) -> None:
    read, records, lines = JSON_FORMATS[name]
    rng = random.Random(f"corpora {name}")
    path = campaign.folder / "a.json"
    path.write_bytes(serialized(records, lines))
    checked(read, path)
    for _ in range(250):
        path.write_bytes(serialized(damaged_value(rng, records), lines))
        campaign.tries(checked, read, path)


@pytest.mark.parametrize("name", [*JSON_FORMATS, *TEXT_FORMATS])
def test_damaged_bytes_are_read_or_refused(campaign: Campaign, name: str) -> None:
    if name in TEXT_FORMATS:
        read, file_name, data = TEXT_FORMATS[name]
    else:
        read, records, lines = JSON_FORMATS[name]
        file_name, data = "a.json", serialized(records, lines)
    rng = random.Random(f"bytes {name}")
    plain, packed = campaign.folder / file_name, campaign.folder / f"{file_name}.gz"
    plain.write_bytes(data)
    checked(read, plain)
    for number in range(200):
        if number % 4 and name != "genia":
            packed.write_bytes(damaged_bytes(rng, gzip.compress(data, mtime=0)))
            campaign.tries(checked, read, packed)
        else:
            plain.write_bytes(damaged_bytes(rng, data))
            campaign.tries(checked, read, plain)


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_integer_of_5000_digits_is_refused(campaign: Campaign, name: str) -> None:
    read, records, lines = JSON_FORMATS[name]
    path = campaign.folder / "a.json"
    path.write_bytes(serialized([*records, BIG] if isinstance(records, list) else {"entities": BIG}, lines))
    assert "Exceeds the limit (4300 digits)" in campaign.raises(read, path)


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_deep_json_is_refused(campaign: Campaign, name: str) -> None:
    read, path = JSON_FORMATS[name][0], campaign.folder / "a.json"
    for opening in ("[", '{"entities":', '[{"tokens":'):
        path.write_text(opening * 100_000)
        assert "nested too deeply" in campaign.raises(read, path)


@pytest.mark.parametrize("name", ["spert", "dygie", "jointer", "conll"])
def test_damaged_or_exploding_gzip_is_refused(campaign: Campaign, name: str) -> None:
    read = JSON_FORMATS[name][0] if name in JSON_FORMATS else read_conll
    path = campaign.folder / "a.json.gz"
    whole = gzip.compress(bytes(range(256)) * 40, mtime=0)
    path.write_bytes(whole[:30] + b"\xff" * 40 + whole[70:])  # the deflate stream
    assert "cannot be read" in campaign.raises(read, path)
    path.write_bytes(whole[:-20])
    assert "cannot be read" in campaign.raises(read, path)
    path.write_bytes(gzip.compress(b"[" * (1 << 20), 9) * 2000)  # two gigabytes
    assert "more than 256 times its size" in campaign.raises(read, path, limit_s=20)


def test_lone_surrogates_are_refused(campaign: Campaign) -> None:
    path = campaign.folder / "a.json"
    for text, expected in (
        (dumped(SPERT).replace("Lovelace", "\\ud800"), "record 0: tokens: word 1: character 0 is '\\ud800'"),
        (dumped(SPERT).replace('"Per"', '"P\\udfff"'), "record 0: entity 0: type: character 1 is '\\udfff'"),
        (dumped(SPERT).replace('"LiveIn"', '"\\udfff"'), "relation 0: type: character 0 is '\\udfff'"),
        (dumped(SPERT).replace('"orig_id": 1', '"orig_id": "\\ud801"'), "record 1: id: character 0"),
    ):
        path.write_text(text)
        assert expected in campaign.raises(read_spert, path)


# XML and archives ----------------------------------------------------------------------------------------------------


def cons(depth: int) -> str:
    return f"<set><sentence>{'<cons>' * depth}word{'</cons>' * depth}</sentence></set>"


def bomb() -> str:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE set [<!ENTITY a0 "word ">{entities}]><set><sentence>&a11;</sentence></set>'


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (cons(5_000).encode(), "elements are nested more than 100 deep"),
        (cons(1_000_000).encode(), "elements are nested more than 100 deep"),
        (bomb().encode(), "declares the entity 'a0'"),
        (b'<!DOCTYPE set [<!ENTITY x SYSTEM "/etc/passwd">]><set><sentence>&x;</sentence></set>', "the entity 'x'"),
        *(
            (f'<?xml version="1.0" encoding="{encoding}"?><set><sentence>w</sentence></set>'.encode(), "cannot be read")
            for encoding in ("utf-7", "utf-32", "big5", "shift_jis", "rot13", "zlib", "no-such", "idna")
        ),
        (GENIA.encode("utf-32"), "cannot be read"),
        (GENIA.encode()[:-20], "cannot be read"),
        (b"", "cannot be read"),
    ],
)  # fmt: skip
def test_hostile_xml_is_refused(campaign: Campaign, xml: bytes, expected: str) -> None:
    path = campaign.folder / "a.xml"
    path.write_bytes(xml)
    assert expected in campaign.raises(read_genia, path, limit_s=20)


def test_xml_in_utf_16_is_read(campaign: Campaign) -> None:
    path = campaign.folder / "a.xml"
    path.write_bytes(GENIA.replace("UTF-8", "UTF-16").encode("utf-16"))
    campaign.tries(read_genia, path)
    assert read_genia(path)[0].words == ("NF-kappa", "B", "&", "C", "activates")


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, XML_NAME), (tarfile.LNKTYPE, XML_NAME),
        (tarfile.FIFOTYPE, ""), (tarfile.LNKTYPE, "missing"),
        (tarfile.CHRTYPE, ""), (tarfile.BLKTYPE, ""), (tarfile.DIRTYPE, ""),
    ],
)  # fmt: skip
def test_archive_without_a_regular_file_is_refused(campaign: Campaign, kind: bytes, target: str) -> None:
    """Through the command line: `inspect` reads the archive itself."""
    (campaign.folder / "genia").mkdir()
    archive(campaign.folder / "genia" / "GENIAcorpus3.02.tgz", (member(XML_NAME, kind, target), b""))
    campaign.refused(["inspect", "genia", "--data", str(campaign.folder)], "is a link or a device", limit_s=240)


def test_damaged_archives_are_read_or_refused(campaign: Campaign) -> None:
    path = archive(campaign.folder / "a.tgz", (member("../../x"), b"x"), (member(f"/{XML_NAME}"), GENIA.encode()))
    assert len(read_genia(path)) == 1
    packed = path.read_bytes()
    unpacked = gzip.decompress(packed)
    rng = random.Random("archives")
    for number in range(300):
        damaged = damaged_bytes(rng, packed) if number % 2 else gzip.compress(damaged_bytes(rng, unpacked), mtime=0)
        path.write_bytes(damaged)
        campaign.tries(read_genia, path)
    assert sorted(p.name for p in campaign.folder.iterdir()) == ["a.tgz"]


def test_archive_bomb_is_refused(campaign: Campaign) -> None:
    path = campaign.folder / "a.tgz"
    info = tarfile.TarInfo("zeros")
    info.size = 2000 << 20
    path.write_bytes(gzip.compress(info.tobuf(), 9) + gzip.compress(bytes(1 << 20), 9) * 2000)
    assert "more than 256 times its size" in campaign.raises(read_genia, path, limit_s=20)


# files that are none -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spert", "dygie", "jointer", "asp", "types", "conll", "genia"])
def test_what_is_not_a_file_is_refused_at_once(campaign: Campaign, name: str) -> None:
    read = JSON_FORMATS[name][0] if name in JSON_FORMATS else TEXT_FORMATS[name][0]
    fifo = campaign.folder / "fifo"
    os.mkfifo(fifo)
    (campaign.folder / "link").symlink_to(fifo)
    (campaign.folder / "loop").symlink_to("loop")
    for path, expected in (
        (fifo, "is a FIFO"), (campaign.folder / "link", "is a FIFO"), (campaign.folder, "is a folder"),
        (Path("/dev/zero"), "is a device"), (Path("/dev/null"), "is a device"),
        (campaign.folder / "loop", "cannot be read"),
        (campaign.folder / "missing", "cannot be read"), (campaign.folder / "a\0b", "cannot be read"),
        (campaign.folder / ("n" * 300), "cannot be read"),
    ):  # fmt: skip
        assert expected in campaign.raises(read, path, limit_s=5)


def test_fit_refuses_hostile_corpora(campaign: Campaign, corpus_dir: Path) -> None:
    """The readers are what `fit` calls."""
    fifo, big = campaign.folder / "fifo", campaign.folder / "big.json"
    os.mkfifo(fifo)
    big.write_text("[" + "9" * 5000 + "]")
    for path, expected in (
        (fifo, "is a FIFO"),
        (big, "Exceeds the limit (4300 digits)"),
        (Path("/dev/zero"), "a device"),
    ):
        arguments = ["fit", "--data", "Custom", f"--data.train={path}", f"--run_dir={campaign.folder / 'run'}"]
        arguments += [f"--data.{split}={corpus_dir / split}.json" for split in ("dev", "test")]
        campaign.refused([*arguments, "--wandb.mode=disabled"], expected, limit_s=240)
    campaign.tries(load_custom, corpus_dir / "train.json", None, None)
    assert json.loads((corpus_dir / "train.json").read_text())
