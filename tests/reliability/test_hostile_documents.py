"""Hostile inputs and places of an extraction, and texts of any characters."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.errors import IterError, TextError
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, formats
from iter_lightning.extraction.splitting import Splitter
from tests.builders import tiny_model
from tests.reliability.campaign import Campaign
from tests.reliability.mutation import damaged_bytes, damaged_value, dumped

pytestmark = pytest.mark.reliability

RECORDS: list[Any] = [
    {"id": "a", "text": "Ada lives in London. ☕ naïve",
     "entities": [{"start": 0, "end": 3, "type": "Per", "score": 0.5}]},
    {"orig_id": 7, "tokens": ["Ada", "lives"], "entities": [{"type": "Per", "start": 0, "end": 1}],
     "relations": [{"type": "R", "head": 0, "tail": 0}]},
    {"text": "Ada works.", "words": [[0, 3], [4, 9], [9, 10]], "sentences": [[0, 10]], "gold": {"entities": []}},
]  # fmt: skip
CSV = 'id,text,n\na,"Ada ""lives""\nin London",1\nb,☕ naïve,2\n'
FILES: dict[str, bytes] = {
    "text": "Ada lives\r\nin London. ☕".encode(),
    "lines": "Ada lives\r\n\nin London. ☕\n".encode(),
    "jsonl": "\n".join(map(json.dumps, RECORDS)).encode(),
    "json": json.dumps(RECORDS).encode(),
    "csv": CSV.encode(),
    "tsv": CSV.replace(",", "\t").encode(),
    "conll": b"-DOCSTART- O\n\nAda B-PER\nlives O\n\nBo\tS-LOC\n",
}


def parquet() -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    sink = io.BytesIO()
    files.write_table(pyarrow.table({"id": ["a", None], "text": ["Ada lives", "☕"], "n": [1, 2]}), sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model("bert", omega=2).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(TorchBackend(tiny_model("bert", omega=2)), Splitter("en"))


def read_all(path: Path, options: ReadOptions) -> None:
    """Every item is a document that JSON and UTF-8 can hold, or a reason in one line."""
    for item in Reading([str(path)], options):
        if isinstance(item, BadRecord):
            assert item.reason
            assert "\n" not in item.reason
            json.dumps([item.source, item.place, item.reason, item.record], ensure_ascii=False).encode()
        else:
            text = json.dumps(item.to_dict(), ensure_ascii=False)
            assert Document.from_dict(json.loads(text.encode())) == item


@pytest.mark.parametrize("name", [*FILES, "parquet"])
def test_damaged_bytes_are_read_or_refused(campaign: Campaign, name: str) -> None:
    data = FILES[name] if name in FILES else parquet()
    rng = random.Random(f"documents {name}")
    plain, packed = campaign.folder / f"a.{name}", campaign.folder / f"a.{name}.gz"
    for number in range(300):
        options = ReadOptions(name, gold=formats()[name].reads_gold and number % 2 == 0)
        if number % 5 == 4 and name != "parquet":
            packed.write_bytes(damaged_bytes(rng, gzip.compress(data, mtime=0)))
            campaign.tries(read_all, packed, options)
        else:
            plain.write_bytes(damaged_bytes(rng, data))
            campaign.tries(read_all, plain, options)


@pytest.mark.parametrize("name", ["jsonl", "json"])
def test_damaged_records_are_read_or_refused(campaign: Campaign, name: str) -> None:
    rng = random.Random(f"records {name}")
    path = campaign.folder / f"a.{name}"
    for number in range(400):
        records = [damaged_value(rng, record) for record in RECORDS]
        path.write_text("\n".join(map(dumped, records)) if name == "jsonl" else dumped(records))
        campaign.tries(read_all, path, ReadOptions(name, gold=number % 2 == 0))


@pytest.mark.parametrize("name", ["text", "lines", "jsonl", "json", "csv", "conll"])
def test_gzip_bomb_is_a_bad_record(campaign: Campaign, name: str) -> None:
    path = campaign.folder / f"a.{name}.gz"
    path.write_bytes(gzip.compress(b'"' + b"a" * (1 << 20), 9) * 2000)  # two gigabytes
    bad: list[BadRecord] = []

    def read() -> None:
        bad.extend(i for i in Reading([str(path)], ReadOptions(name, max_characters=1000)) if isinstance(i, BadRecord))

    campaign.tries(read, limit_s=30)
    assert bad
    if name in ("lines", "jsonl", "conll"):  # the others read no further than one record may be
        assert bad[-1].reason.startswith("cannot be read: it unpacks to more than 256 times its size"), bad


# texts ---------------------------------------------------------------------------------------------------------------

ODD = (
    "\0", "\u0301", "\u202e", "\u200d", "\ufeff", "\u2028", "\x85", "\r", "\n\n", "\t", " ", "\u00a0", "\u3000",
    "👩\u200d🚀", "北京",
    "العربية", "\U0010ffff", "\ufffe", "\x1b[31m", "[SEP]", "</s>", ". ", "Ada", "lives in", "London", '"', "...", "!?",
)  # fmt: skip


def random_text(rng: random.Random) -> str:
    """Any code points but surrogates, odd pieces and common words."""
    pieces = []
    for _ in range(rng.randrange(25)):
        kind = rng.random()
        if kind < 0.2:
            code = rng.randrange(0x110000 - 0x800)
            pieces.append(chr(code if code < 0xD800 else code + 0x800))
        elif kind < 0.3:
            pieces.append(rng.choice(ODD) * rng.choice((2, 7, 40)))
        else:
            pieces.append(rng.choice(ODD))
    return "".join(pieces)


def extracted(extractor: Extractor, texts: list[str]) -> None:
    for text, document in zip(texts, extractor(texts, 0.99), strict=True):
        assert document.text == text
        assert all(text[e.start : e.end] == e.text for e in document.entities)
        assert {r.head for r in document.relations} | {r.tail for r in document.relations} <= set(document.entities)
        assert all(text[start:end].strip() for start, end in document.words)


def test_offsets_are_exact_whatever_a_text_is_made_of(campaign: Campaign, extractor: Extractor) -> None:
    rng = random.Random("texts")
    for _ in range(60):
        campaign.tries(extracted, extractor, [random_text(rng) for _ in range(8)])
    for text in ("x" * 20_000, "\u0301" * 3_000, "\n" * 50_000, "\0" * 3_000, "☕" * 300, ""):
        campaign.tries(extracted, extractor, [text], limit_s=120)


def test_lone_surrogate_affects_its_text_alone(campaign: Campaign, extractor: Extractor) -> None:
    rng = random.Random("surrogates")
    for _ in range(20):
        texts = ["Ada lives in London." for _ in range(6)]
        place = rng.randrange(6)
        texts[place] = "Ada " + chr(rng.randrange(0xD800, 0xE000))
        expected = f"text {place}: character 4 is "
        assert campaign.raises(extractor, texts).startswith(expected)
        assert campaign.raises(extractor, texts[place]).startswith("text 0: character 4 is ")
        stream = iter(extractor(text for text in texts))
        for number, text in enumerate(texts):
            if number == place:
                assert campaign.raises(next, stream).startswith(expected)
            else:
                assert next(stream).text == text
        assert next(stream, None) is None


def test_text_error_says_which_text_and_why(extractor: Extractor) -> None:
    with pytest.raises(TextError) as caught:
        extractor(["a", "b\udc80"])
    assert isinstance(caught.value, IterError)
    assert (caught.value.number, caught.value.reason[:26]) == (1, "character 1 is '\\udc80', a")


def test_record_with_a_lone_surrogate_is_a_bad_record(campaign: Campaign, model: str) -> None:
    texts, out = campaign.folder / "a.jsonl", campaign.folder / "out.jsonl"
    texts.write_text('{"text": "Ada"}\n{"text": "\\ud800"}\n{"tokens": ["a", "\\udfff"]}\n{"text": "Bo"}\n')
    outcome = campaign.run(["extract", model, str(texts), "-o", str(out), "--device", "cpu"], limit_s=240)
    assert outcome.status == 0
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == ["Ada", "Bo"]
    errors = (campaign.folder / "out.jsonl.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["place"] for line in errors] == ["line 2", "line 3"]


# inputs and outputs --------------------------------------------------------------------------------------------------


@pytest.fixture
def place(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with inputs of every kind, which no refusal may change; loading a model fails."""
    folder = campaign.folder / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("a.txt").write_text("Ada lives in London.")
    Path("folder.jsonl").mkdir()
    Path("file").touch()
    os.mkfifo("fifo.jsonl")
    Path("link.jsonl").symlink_to("fifo.jsonl")
    Path("other.jsonl.parts").mkdir()
    Path("other.jsonl.parts", "mine.jsonl").write_text("mine")
    Path("taken.jsonl.parts").touch()
    Path("side.jsonl.errors.jsonl").mkdir()
    before = sorted(folder.rglob("*"))

    def loaded(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(Extractor, "from_pretrained", loaded)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.jsonl")
        yield folder
        Path("socket.jsonl").unlink()
    assert sorted(folder.rglob("*")) == before
    assert Path("other.jsonl.parts", "mine.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([""], "expected a path that ends in a name"), (["."], "a path that ends in a name"), (["/"], "ends in a name"),
        ([".."], "ends in a name"), (["folder.jsonl/.."], "ends in a name"), (["./"], "ends in a name"),
        (["out"], "which format"), (["folder.jsonl"], "is a folder"), (["fifo.jsonl"], "not a regular file"),
        (["link.jsonl"], "not a regular file"), (["socket.jsonl"], "not a regular file"),
        (["/dev/null"], "which format"),
        (["file/x.jsonl"], "is not a folder"), (["file/x/y.jsonl"], "is not a folder"),
        (["other.jsonl"], "not a folder of parts"),
        (["taken.jsonl"], "taken.jsonl.parts is a file"), (["side.jsonl"], "side.jsonl.errors.jsonl is a folder"),
        (["x.jsonl", "./x.jsonl"], "more than once"), (["x.brat", "x.brat/y.jsonl"], "lies in"),
        (["x.jsonl", "x.jsonl.parts/y.csv"], "lies in"), (["x.jsonl", "x.jsonl.errors.jsonl"], "more than once"),
        (["n" * 300 + ".jsonl"], "name too long"), (["a.jsonl.zip"], "which format"),
        (["x.parquet.gz"], "not written compressed"),
    ],
)  # fmt: skip
def test_impossible_output_is_refused_before_anything_is_created(
    campaign: Campaign, place: Path, model: str, outputs: list[str], expected: str
) -> None:
    arguments = ["extract", model, "a.txt", *(word for output in outputs for word in ("-o", output))]
    message = campaign.refused(arguments).message
    assert expected.lower() in message.lower(), message


def test_output_in_the_model_is_refused(campaign: Campaign, place: Path, model: str) -> None:
    campaign.refused(["extract", model, "a.txt", "-o", f"{model}/x.json"], "lies in the model folder")
    assert not Path(model, "x.json").exists()


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["--input-format", "parquet", "a.txt"], "not a Parquet file: it begins with b'Ada '"),
        (["--input-format", "parquet", "file"], "not a Parquet file: it begins with b''"),
        (["fifo.jsonl"], "is a FIFO, expected a file or a folder ('-' reads standard input)"),
        (["link.jsonl"], "is a FIFO"), (["socket.jsonl"], "is a socket"), (["/dev/zero"], "is a device"),
        (["/dev/null"], "is a device"), (["."], "is a FIFO, expected a file"),
        ([""], "without a name"),
        (["file"], "no suffix"), (["missing.txt"], "no such file"), (["-", "-"], "given more than once"),
        (["--input-format", "parquet", "-"], "cannot be read from a stream"),
    ],
)  # fmt: skip
def test_impossible_input_is_refused_before_anything_is_created(
    campaign: Campaign, place: Path, model: str, inputs: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as empty:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", empty)
        for output in ([], ["-o", str(campaign.folder / "x.jsonl")]):
            campaign.refused(["extract", model, *inputs, *output], expected, limit_s=240)
    assert [path.name for path in campaign.folder.iterdir()] == ["place"]


def test_inputs_without_a_document(campaign: Campaign, model: str) -> None:
    empty, out = campaign.folder / "a.jsonl", campaign.folder / "out.jsonl"
    empty.touch()
    assert campaign.survives(["extract", model, str(empty), "-o", str(out), "--device", "cpu"], limit_s=240).status == 0
    assert out.read_bytes() == b""
    empty.write_text("[\n")
    campaign.refused(["extract", model, str(empty), "--device", "cpu"], "no record could be extracted", limit_s=240)
