"""Long extractions: whole, interrupted, killed, with bad records, into several files."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iter_lightning import cli
from iter_lightning.errors import ConfigError, EncoderError, IterError
from iter_lightning.extraction import cluster, parts
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.formats import BadRecord, Reading
from iter_lightning.extraction.run import ExtractionConfig, Progress, extract, run_here
from iter_lightning.io.atomic import write_atomically
from iter_lightning.types import Example, Prediction, Schema
from tests.builders import COMMON, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model("bert", omega=2).save_pretrained(folder)
    return folder


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "DOCUMENTS", 4)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Thirty documents, one of them bad."""
    return write_texts(tmp_path / "texts.jsonl", 30, bad=17)


def write_texts(path: Path, count: int, bad: int | None = None) -> Path:
    lines = [json.dumps({"id": f"d{i}", "text": " ".join(COMMON[i % 7 : i % 7 + 6]) + ". And more."})
             for i in range(count)]  # fmt: skip
    if bad is not None:
        lines[bad] = json.dumps({"id": f"d{bad}", "text": None})
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(model: Path, texts: Path, output: Path, executor: Any = run_here, **options: Any) -> Any:
    config = ExtractionConfig(str(model), (str(texts),), device="cpu")
    return extract(config, [(output, None)], executor, **options)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def dying(after: int) -> Any:
    """An executor whose process ends after `after` parts."""

    def executor(*arguments: Any) -> Iterator[Progress]:
        for number, progress in enumerate(run_here(*arguments), 1):
            yield progress
            if number > after:  # the first progress has no part
                raise KeyboardInterrupt

    return executor


@pytest.mark.usefixtures("small_chunks")
def test_all_documents_and_the_bad_ones_beside_them(model: Path, texts: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    summary, again = run(model, texts, tmp_path / "out" / "found.jsonl", on_progress=told.append)
    found = records(tmp_path / "out" / "found.jsonl")
    assert [r["id"] for r in found] == [f"d{i}" for i in range(30) if i != 17]
    assert any(r["entities"] for r in found)
    (bad,) = records(tmp_path / "out" / "found.jsonl.errors.jsonl")
    assert (bad["source"], bad["place"]) == (str(texts), "line 18")
    assert (summary.documents, summary.bad, again) == (29, 1, False)
    assert summary.entities == sum(len(r["entities"]) for r in found)
    assert told[-1] == Progress(29, 1, texts.stat().st_size, texts.stat().st_size)
    manifest = json.loads((tmp_path / "out" / "found.jsonl.manifest.json").read_text())
    assert manifest["summary"]["documents"] == 29
    assert len(manifest["settings"]["model_sha256"]) == 64
    assert not list((tmp_path / "out").glob("*.parts"))


@pytest.mark.usefixtures("small_chunks")
def test_interrupted_it_goes_on_and_ends_equal(model: Path, texts: Path, tmp_path: Path) -> None:
    run(model, texts, tmp_path / "whole.jsonl")
    output = tmp_path / "found.jsonl"
    for after in (1, 3, 6):
        with pytest.raises(KeyboardInterrupt):
            run(model, texts, output, dying(after))
        assert not output.exists()
    told: list[Progress] = []
    run(model, texts, output, on_progress=told.append)
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert told[-1].documents < 29  # those of earlier parts were not extracted again
    errors = [tmp_path / f"{name}.jsonl.errors.jsonl" for name in ("found", "whole")]
    assert errors[0].read_bytes() == errors[1].read_bytes()


@pytest.mark.usefixtures("small_chunks")
def test_ended_while_the_outputs_were_made(model: Path, texts: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    output = tmp_path / "found.jsonl"
    read = parts.read_parts

    def full(folder: Path) -> Iterator[Document | BadRecord]:
        for number, record in enumerate(read(folder)):
            if number == 20:
                raise OSError(errno.ENOSPC, "No space left on device", str(output))
            yield record

    monkeypatch.setattr("iter_lightning.extraction.run.read_parts", full)
    with pytest.raises(OSError, match="No space left"):
        run(model, texts, output)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".") and "parts" not in p.name
                  and "errors" not in p.name) == ["texts.jsonl"]  # fmt: skip
    monkeypatch.undo()
    monkeypatch.setattr(parts, "DOCUMENTS", 4)
    summary, _ = run(model, texts, output)
    assert summary.documents == len(records(output)) == 29


@pytest.mark.usefixtures("small_chunks")
def test_changed_input_or_settings_are_not_mixed(model: Path, texts: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(model, texts, output, dying(5))
    config = ExtractionConfig(str(model), (str(texts),), device="cpu", link_threshold=0.9)
    with pytest.raises(ConfigError, match=r"link_threshold was None, is 0\.9"):
        extract(config, [(output, None)], run_here)
    lines = texts.read_text().splitlines()
    lines[9] = json.dumps({"id": "d9", "text": "Something else."})
    texts.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match="the input has changed since this extraction started, at d8"):
        run(model, texts, output)
    run(model, texts, output, overwrite=True)
    assert records(output)[9]["text"] == "Something else."


@pytest.mark.usefixtures("small_chunks")
def test_input_that_has_become_shorter_is_not_mixed(model: Path, texts: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(model, texts, output, dying(5))
    texts.write_text("".join(f"{line}\n" for line in texts.read_text().splitlines()[:8]))  # two whole chunks
    with pytest.raises(ConfigError, match="the input was longer when this extraction started, and 3 parts"):
        run(model, texts, output)
    assert run(model, texts, output, overwrite=True)[0].documents == len(records(output)) == 8


@pytest.mark.usefixtures("small_chunks")
def test_a_part_that_is_gone_is_missed(model: Path, texts: Path, tmp_path: Path) -> None:
    """As where machines of a cluster share no file system."""
    output = tmp_path / "found.jsonl"

    def elsewhere(config: Any, extractor: Any, shards: Any, folder: Path) -> Iterator[Progress]:
        yield from run_here(config, extractor, shards, folder)
        sorted(folder.glob("*.jsonl"))[2].unlink()

    with pytest.raises(ConfigError, match=r"1 finished parts are missing \(000000-000000002-.*one shared folder"):
        run(model, texts, output, elsewhere)
    assert not output.exists()
    assert run(model, texts, output)[0].documents == 29


@pytest.mark.usefixtures("small_chunks")
def test_parts_without_settings_are_not_trusted(model: Path, texts: Path, tmp_path: Path) -> None:
    """Whoever made them: a removal that was killed, a worker that came late."""
    output = tmp_path / "found.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(model, texts, output, dying(3))
    (tmp_path / "found.jsonl.parts" / "settings.json").unlink()
    told: list[Progress] = []
    run(model, texts, output, on_progress=told.append)
    assert told[-1].documents == 29


@pytest.mark.usefixtures("small_chunks")
def test_interrupted_before_the_first_part_it_leaves_nothing(model: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(model, texts, tmp_path / "found.jsonl", dying(0))
    assert list(tmp_path.iterdir()) == [texts]


def test_what_cannot_be_written_is_told_before_it_is_extracted(
    model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken.jsonl").mkdir()
    (tmp_path / "brat").mkdir()
    (tmp_path / "brat" / "thesis.doc").touch()
    (tmp_path / "file").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    before = sorted(tmp_path.iterdir())
    for name, told in (("taken.jsonl", "is a folder"), ("brat", "holds thesis.doc"), ("x.parquet", "needs pyarrow"),
                       ("file/x.csv", "is not a folder")):  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            run(model, texts, tmp_path / name, dying(0), overwrite=True)
        assert sorted(tmp_path.iterdir()) == before


def test_outputs_never_take_the_place_of_input(model: Path, texts: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    side = write_texts(tmp_path / "x.csv.errors.jsonl", 3)
    for given, output in (
        (texts, "in/../texts.jsonl"), (texts, "link/texts.jsonl"), (tmp_path, "link/in/x.csv"), (side, "x.csv"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="would be read as input"):
            run(model, given, tmp_path / output, overwrite=True)
    assert len(records(texts)) == 30


def test_done_is_done_and_another_output_stays(model: Path, texts: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.jsonl"
    first, _ = run(model, texts, output)
    changed = output.stat().st_mtime_ns
    assert run(model, texts, output) == (first, True)
    assert output.stat().st_mtime_ns == changed
    config = ExtractionConfig(str(model), (str(texts),), device="cpu")
    with pytest.raises(ConfigError, match="exists, but was made from other input"):
        extract(config, [(output, "csv")], run_here)  # another format in the same place
    write_texts(texts, 5)
    with pytest.raises(ConfigError, match="exists, but was made from other input"):
        run(model, texts, output)
    assert len(records(output)) == 29
    assert run(model, texts, output, overwrite=True)[0].documents == 5
    assert not (tmp_path / "found.jsonl.errors.jsonl").exists()


def test_two_processes_do_not_share_an_output(model: Path, texts: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.jsonl"

    def meanwhile(*arguments: Any) -> Iterator[Progress]:
        with pytest.raises(ConfigError, match="another process is extracting into it"):
            run(model, texts, output)
        yield from run_here(*arguments)

    assert run(model, texts, output, meanwhile)[0].documents == 29


def test_a_document_the_model_fails_on_is_a_bad_record(tmp_path: Path) -> None:
    class Fragile:
        schema = Schema(("A",))
        link_threshold = 0.5

        def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
            for example in examples:
                if "poison" in example.words:
                    raise RuntimeError("out of memory")
                yield Prediction()

    extractor = Extractor(Fragile(), None)
    documents = [Document.from_words([[word]], id=word) for word in ("a", "poison", "b")]
    chunk = next(iter(parts.chunks(0, documents)))
    assert parts.make_part(extractor, chunk, parts.Rules(), tmp_path) == 1
    first, bad, last = parts.read_parts(tmp_path)
    assert (first, last) == (documents[0], documents[2])
    assert bad == BadRecord("poison", "document", "the model failed on it: RuntimeError: out of memory", "poison")
    assert parts.make_part(extractor, parts.Chunk.of(0, 1, documents[1:2]), parts.Rules(), tmp_path) == 1


def test_a_model_that_fails_on_everything_ends_the_extraction(tmp_path: Path) -> None:
    class Broken:
        schema = Schema(("A",))
        link_threshold = 0.5

        def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
            raise RuntimeError("device lost")

    chunk = parts.Chunk.of(0, 0, [Document.from_words([["a"]])])
    with pytest.raises(IterError, match="fails on every input; the first error was RuntimeError: device lost"):
        parts.make_part(Extractor(Broken(), None), chunk, parts.Rules(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_the_place(model: Path, texts: Path, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    def full(path: Path, text: str) -> None:
        if path.suffix == ".jsonl":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomically(path, text)

    monkeypatch.setattr(parts, "write_atomically", full)
    with pytest.raises(OSError, match=r"No space left on device: .*found\.csv\.parts"):
        run(model, texts, tmp_path / "found.csv")
    assert list(tmp_path.iterdir()) == [texts]


def test_file_names_of_any_bytes(model: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text("Ada lives in London.", encoding="utf-8")
    config = ExtractionConfig(str(model), (str(tmp_path / name),), device="cpu")
    outputs = [(tmp_path / os.fsdecode(b"out \xff.jsonl"), None)]
    first, again = extract(config, outputs, run_here)
    assert (first.documents, again) == (1, False)
    assert extract(config, outputs, run_here) == (first, True)


def command(model: Path, *arguments: Any) -> list[str]:
    return [str(a) for a in ("extract", model, *arguments)]


def test_command_line(model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = [tmp_path / name for name in ("a.jsonl", "b.parquet", "c.csv")]
    options = [option for path in outputs for option in ("-o", path)]
    assert cli.main(command(model, texts, *options, "--threshold", "Kin=0.9", "--device", "cpu")) == 0
    told = capsys.readouterr().err
    assert "29 documents" in told
    kernels = json.loads((tmp_path / "a.jsonl.manifest.json").read_text(encoding="utf-8"))["summary"]["kernels"]
    assert kernels.startswith("torch ")
    assert f"\ncomputed with {kernels}\n" in f"\n{told}"
    assert "1 bad record, the first" in told
    assert "texts.jsonl: line 18: text: expected a string" in told
    assert all(path.exists() for path in outputs)
    assert cli.main(command(model, texts, *options, "--threshold", "Kin=0.9", "--device", "cpu")) == 0
    assert "finished before" in capsys.readouterr().err


def test_a_slow_precision_is_refused_where_it_is_computed(
    model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("iter_lightning.model.kernels.instruction_sets", frozenset)
    config = ExtractionConfig(str(model), (str(texts),), device="cpu", precision="int8")
    outputs = [(tmp_path / "out" / "found.jsonl", None)]

    def elsewhere(config: ExtractionConfig, *rest: Any) -> Iterator[Progress]:
        with pytest.raises(ConfigError, match="precision int8 would be slower than fp32"):
            config.extractor()
        yield from run_here(config, *rest)

    with pytest.raises(ConfigError, match="precision int8 would be slower than fp32"):
        extract(config, outputs, run_here)
    assert not outputs[0][0].parent.exists()
    summary, _ = extract(config, outputs, elsewhere)  # the machine that starts a cluster need not compute
    assert summary.kernels.endswith("int8 without fast kernels (slower than fp32)")
    assert extract(replace(config, allow_slow=True), outputs, run_here) == (summary, True)  # finds the same


def test_command_line_to_the_terminal(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.txt").write_text("Ada met Bo.", encoding="utf-8")
    assert cli.main(command(model, tmp_path / "x.txt", "--device", "cpu")) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["text"] == "Ada met Bo."


@pytest.mark.parametrize("closed", [False, True])
def test_a_pipe_gets_utf_8_and_may_close(
    model: Path, tmp_path: Path, closed: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.txt").write_text("Ada met Zoë.", encoding="utf-8")
    reading, writing = os.pipe()
    if closed:
        os.close(reading)
    with open(writing, "w", encoding="ascii") as stdout:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(command(model, tmp_path / "x.txt", "--device", "cpu")) == 0
    assert capfd.readouterr().err == ""
    if not closed:
        with open(reading, encoding="utf-8") as lines:  # noqa: PTH123
            assert [json.loads(line)["text"] for line in lines] == ["Ada met Zoë."]


@pytest.mark.parametrize(
    ("signal_", "status", "told"),
    [
        (signal.SIGINT, 130, "interrupted; the same command without --overwrite resumes\n"),
        (signal.SIGTERM, 143, "terminated; the same command without --overwrite resumes\n"),
    ],
)
def test_a_signal_while_outputs_are_made_leaves_the_parts_alone(
    model: Path, texts: Path, tmp_path: Path, signal_: int, status: int, told: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def read(folder: Path) -> Iterator[Document]:
        yield Document("x")
        os.kill(os.getpid(), signal_)
        yield Document("y")

    before = signal.getsignal(signal.SIGTERM)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    monkeypatch.setattr("iter_lightning.extraction.run.read_parts", read)
    try:
        ended = cli.main(command(model, texts, "-o", tmp_path / "x.jsonl", "--device", "cpu", "--overwrite"))
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert (ended, capsys.readouterr().err) == (status, told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.jsonl", "x.jsonl.parts"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_language_that_was_used_is_in_the_manifest(model: Path, texts: Path, tmp_path: Path) -> None:
    found = {}
    tiny_model("bert", omega=2, language="de").save_pretrained(tmp_path / "german")
    (tmp_path / "words.jsonl").write_text('{"tokens": ["Ada", "lives"]}\n')
    for name, used, options in (
        ("default", model, ()), ("german", tmp_path / "german", ()), ("given", model, ("--language", "de")),
        ("none", tmp_path / "german", ("--language", "none")),
    ):  # fmt: skip
        source = tmp_path / "words.jsonl" if name == "none" else texts
        output = tmp_path / f"{name}.jsonl"
        assert cli.main(command(used, source, "-o", output, *options)) == 0
        found[name] = json.loads((tmp_path / f"{name}.jsonl.manifest.json").read_text())["settings"]["language"]
    assert found == {"default": "en", "german": "de", "given": "de", "none": None}
    assert cli.main(command(model, texts, "-o", tmp_path / "default.jsonl", "--language", "en")) == 0  # finished before


def test_words_of_their_own_need_no_language(model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"tokens": ["Ada", "lives", "in", "New York"]}\n')
    assert cli.main(command(model, tmp_path / "x.jsonl", "-o", tmp_path / "y.jsonl", "--language", "none")) == 0
    (found,) = records(tmp_path / "y.jsonl")
    assert len(found["words"]) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--threshold", "Knows"), "expected TYPE=P"),
        (("--threshold", "Nothing=0.5", "-o", "x.jsonl"), "thresholds name 'Nothing'"),
        (("--link-threshold", "7", "-o", "x.jsonl"), "must be a number in [0, 1]"),
        (("-o", "x.unheard"), "unheard"),
        (("-o", "x.jsonl", "--workers", "2"), "--workers requires --launcher ray"),
        (("--overwrite",), "require --output"),
        (("-o", "x.jsonl", "--device", "nowhere"), "device 'nowhere'"),
        (
            ("-o", "x.jsonl", "--backend", "onnx", "--compile"),
            "--precision, --compile, and --allow-slow require --backend torch",
        ),
        (("-o", "x.jsonl", "--text-field", "none.of.it"), None),
    ],
)
def test_what_cannot_be_is_told_and_leaves_nothing(
    model: Path, texts: Path, tmp_path: Path, options: tuple[str, ...], told: str | None,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status = cli.main(command(model, texts, *options))
    if told is None:  # all records are bad
        assert status == 2
        assert "no record could be extracted" in capsys.readouterr().err
        assert len(records(tmp_path / "x.jsonl.errors.jsonl")) == 30
        return
    assert status == 2
    assert told in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["texts.jsonl"]


def test_errors_of_cluster_workers_arrive_as_they_are(model: Path, texts: Path, tmp_path: Path) -> None:
    """Ray would wrap the exceptions several times."""
    config = ExtractionConfig(str(model), (str(texts),), device="cpu")
    for name in ("parts", "other"):
        (tmp_path / name).mkdir()
    there = cluster._WorkerSetup(str(tmp_path), (Reading(config.inputs),), config, tmp_path / "parts")
    (row,) = cluster._read_shards({"shard": np.array([0])}, there)
    assert not row["error"][0]
    found = cluster._ExtractChunks(there)(row)
    assert (found["documents"][0], found["bad"][0], found["error"][0]) == (29, 1, b"")
    assert [path.name for path in there.folder.iterdir()] == [row["part"][0]]
    elsewhere = replace(there, config=replace(config, model=str(tmp_path / "no_model")), folder=tmp_path / "other")
    error = pickle.loads(cluster._ExtractChunks(elsewhere)(row)["error"][0])
    assert isinstance(error, EncoderError)
    write_texts(texts, 7)
    (row,) = cluster._read_shards({"shard": np.array([0])}, there)
    error = pickle.loads(cluster._ExtractChunks(there)(row)["error"][0])
    assert isinstance(error, ConfigError)
    assert "the input has changed" in str(error)


def test_workers_do_not_die_over_the_same_chunk_for_ever(tmp_path: Path) -> None:
    chunk = parts.Chunk.of(0, 0, [Document("x", id="large"), Document("y", id="larger")])
    lost = [cluster._counted_attempt(chunk, tmp_path) for _ in range(cluster.TRIES)]
    for attempt in lost:
        attempt.__enter__()  # and never comes back
    with pytest.raises(IterError, match="4 workers died, one after another, on the documents large to larger"):
        cluster._counted_attempt(chunk, tmp_path).__enter__()
    for _ in range(cluster.TRIES + 1):
        with cluster._counted_attempt(chunk, tmp_path):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_killed_three_times_it_ends_byte_equal(model: Path, tmp_path: Path) -> None:
    """SIGKILL to the real command, whenever a part is there."""
    texts = write_texts(tmp_path / "texts.jsonl", 6_000)

    def start(output: Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "iter_lightning", *command(model, texts, "-o", output, "--device", "cpu")]
        return subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert start(tmp_path / "whole.parquet").wait(300) == 0
    output = tmp_path / "found.parquet"
    folder = tmp_path / "found.parquet.parts"
    for kill in range(3):
        process = start(output)
        before = len(list(folder.glob("*.jsonl")))
        while len(list(folder.glob("*.jsonl"))) <= before + 1:
            assert process.poll() is None, f"ended before kill {kill}"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not output.exists()
    assert start(output).wait(300) == 0
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.slow
def test_a_cluster_finds_the_same(model: Path, texts: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    more = write_texts(tmp_path / "more.jsonl", 700)
    here = command(model, texts, more, "-o", tmp_path / "here.jsonl", "--device", "cpu")
    there = command(model, texts, more, "-o", tmp_path / "there.jsonl", "--device", "cpu", "--launcher", "ray")
    assert cli.main(here) == 0
    assert cli.main([*there, "--workers", "2"]) == 0
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    assert records(tmp_path / "there.jsonl.errors.jsonl") == records(tmp_path / "here.jsonl.errors.jsonl")
    kernels = [json.loads((tmp_path / f"{name}.jsonl.manifest.json").read_text())["summary"]["kernels"]
               for name in ("here", "there")]  # fmt: skip
    assert kernels[0] == kernels[1] != ""
