"""Taking files from a folder, verifying, converting; nothing half-written stays."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.corpora import CATALOG, load_corpus, prepare
from iter_lightning.corpora.prepare import prepare_corpus
from iter_lightning.errors import ConfigError, CorpusError
from tests.corpora.test_readers import ASP, write


def ace05(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        write(folder / f"ace05_{split}.json", [ASP])
    return folder


def test_prepare_from_a_folder(tmp_path: Path) -> None:
    said = prepare_corpus("ace05", tmp_path / "data", ace05(tmp_path / "mine" / "deep").parent)
    assert "train 1, dev 1, test 1 sentences" in said
    assert len(load_corpus("ace05", tmp_path / "data")["train"]) == 1
    mark = json.loads((tmp_path / "data" / "ace05" / "prepared.json").read_text())
    assert set(mark["sha256"]) == {"ace05_train.json", "ace05_dev.json", "ace05_test.json"}
    assert prepare_corpus("ace05", tmp_path / "data").startswith("ACE05 is already prepared in")


def test_licensed_corpora_say_what_to_obtain(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"NIST[\s\S]*eng.train, eng.testa and eng.testb[\s\S]*--from FOLDER"):
        prepare_corpus("conll03", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_wrong_files_leave_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    write(source / "conll04_train.json", [])
    with pytest.raises(CorpusError) as caught:
        prepare_corpus("conll04", tmp_path / "data", source)
    assert "conll04_train.json: sha256 is" in str(caught.value)
    assert "conll04_dev.json was not found in" in str(caught.value)
    assert not (tmp_path / "data").exists()
    with pytest.raises(CorpusError, match="is not a folder"):
        prepare_corpus("conll04", tmp_path / "data", tmp_path / "absent")


def test_a_wrong_count_or_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ace05(tmp_path / "mine")
    write(source / "ace05_dev.json", [{**ASP, "entities": [{"type": "PER", "start": 1, "end": 99}]}])
    with pytest.raises(CorpusError, match="end 98 is past"):
        prepare_corpus("ace05", tmp_path / "data", source)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "_verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus("ace05", tmp_path / "data", source)
    assert not (tmp_path / "data").exists()


def test_targets_that_cannot_be_used(tmp_path: Path) -> None:
    source = ace05(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        prepare_corpus("ace05", tmp_path / "file" / "data", source)
    (tmp_path / "data" / "ace05").mkdir(parents=True)
    with pytest.raises(ConfigError, match="was not written by `prepare`"):
        prepare_corpus("ace05", tmp_path / "data", source)


def test_no_network_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", unreachable)
    with pytest.raises(CorpusError, match=r"cannot be downloaded: ConnectionError[\s\S]*prepare conll04 --from FOLDER"):
        prepare_corpus("conll04", tmp_path / "data")
    assert not (tmp_path / "data").exists()


class Flaky(BaseHTTPRequestHandler):
    """Fails at first, then answers "content"."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = b"content"
        self.send_response(503 if type(self).asked == 1 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def flaky_address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    Flaky.asked = 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_failed_download_is_tried_again(flaky_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    (file, *_) = CATALOG["conll04"].files
    good = replace(file, url=flaky_address, sha256=hashlib.sha256(b"content").hexdigest())
    assert prepare._download(replace(CATALOG["conll04"], files=(good,)), tmp_path) == [file.name]
    assert (tmp_path / file.name).read_bytes() == b"content"
    assert Flaky.asked == 2


def test_a_download_with_another_checksum_is_refused(
    flaky_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    (file, *_) = CATALOG["conll04"].files
    with pytest.raises(CorpusError, match="SHA256 hash of downloaded file"):
        prepare._download(replace(CATALOG["conll04"], files=(replace(file, url=flaky_address),)), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["conll04", "ade", "scierc", "genia"])
def test_prepare_real_corpora(name: str, corpora_dir: Path, tmp_path: Path) -> None:
    assert "prepared in" in prepare_corpus(name, tmp_path, corpora_dir)
    fold = 3 if name == "ade" else 0
    before, after = load_corpus(name, corpora_dir, fold=fold), load_corpus(name, tmp_path, fold=fold)
    assert {k: len(v) for k, v in before.items()} == {k: len(v) for k, v in after.items()}
