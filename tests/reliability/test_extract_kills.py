"""Extractions that are killed at random moments, or run out of space, and are started again."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from tests.builders import COMMON, tiny_model
from tests.reliability.campaign import Campaign, process_environment

pytestmark = pytest.mark.reliability

OUTPUTS = ("found.jsonl", "found.parquet", "found.csv.gz", "brat/", "found.graphml", "found.html")
DOCUMENTS = 240
"""In chunks of 16."""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The extraction, without its outputs; one of its records is bad."""
    folder = tmp_path_factory.mktemp("kills")
    tiny_model("bert", omega=2).save_pretrained(folder / "model")
    lines = [json.dumps({"id": f"d{i}", "text": " ".join(COMMON[i % 7 : i % 7 + 6])}) for i in range(DOCUMENTS)]
    lines[17] = '{"text": "\\ud800"}'
    (folder / "texts.jsonl").write_text("\n".join(lines))
    return [
        "extract",
        str(folder / "model"),
        str(folder / "texts.jsonl"),
        "--device",
        "cpu",
        "--link-threshold",
        "0.55",
    ]


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.reliability.test_extract_kills", "transformers.models.bert", "spacy.lang.en"]
    )
    return context


def child(arguments: list[str], stderr: str, largest_file: int | None = None) -> None:
    """The command in small chunks; runs in a process of its own."""
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
    import torch

    from iter_lightning import cli
    from iter_lightning.extraction import parts

    torch.set_num_threads(1)
    parts.DOCUMENTS = 16
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    sys.exit(cli.main(arguments))


def outputs(folder: Path) -> list[str]:
    return [word for name in OUTPUTS for word in ("-o", f"{folder}/{name}")]


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the manifest, which holds times and paths."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith("manifest.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(context: ForkServerContext, arguments: list[str], errors: Path, largest_file: int | None = None) -> int:
    process = context.Process(target=child, args=(arguments, str(errors), largest_file))
    process.start()
    process.join(300)
    assert process.exitcode is not None, "no end within 300 s"
    return process.exitcode


def test_killed_extraction_ends_byte_equal(
    campaign: Campaign, context: ForkServerContext, command: list[str]
) -> None:  # fmt: skip
    """SIGKILL and SIGTERM at random moments, some of them in the same extraction."""
    errors, whole = campaign.folder / "errors.txt", campaign.folder / "whole"
    assert run(context, [*command, *outputs(whole)], errors) == 0
    expected = contents(whole)
    assert sum(name.endswith(".ann") for name in expected) == DOCUMENTS - 1
    started = time.monotonic()
    assert run(context, [*command, *outputs(campaign.folder / "again")], errors) == 0
    takes = time.monotonic() - started

    rng = random.Random("extract kills")
    for number in range(8):
        folder = campaign.folder / f"killed{number}"
        for _ in range(rng.choice((1, 2, 3))):
            stop = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
            process = context.Process(target=child, args=([*command, *outputs(folder)], str(errors)))
            process.start()
            process.join(rng.random() * takes)
            assert process.pid is not None
            if process.exitcode is None:
                os.kill(process.pid, stop)
            process.join(60)
            assert process.exitcode in (0, -stop, 128 + stop), errors.read_text()
            campaign.killed(process.exitcode != 0)
            if process.exitcode != 0:  # all of an output, or nothing
                assert all(expected[name] == content for name, content in contents(folder).items() if name in OUTPUTS)
        assert run(context, [*command, *outputs(folder)], errors) == 0
        assert contents(folder) == expected
        campaign.resumed()
    # Python prints and ignores a signal that arrives inside a destructor of a library
    said = re.sub(r"Exception ignored in:.*?Terminated: 143\n", "", errors.read_text(), flags=re.DOTALL)
    assert "Traceback" not in said


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own of that size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [8, 64, 200])
def test_full_disk_is_one_line_and_with_space_it_goes_on(
    campaign: Campaign, context: ForkServerContext, command: list[str], kilobytes: int
) -> None:
    whole = campaign.folder / "whole.jsonl"
    assert run(context, [*command, "-o", str(whole)], campaign.folder / "none") == 0
    with small_disk(campaign.folder / "disk", kilobytes) as disk:
        errors, out = campaign.folder / "errors.txt", disk / "found.jsonl"
        arguments = [*command, "-o", str(out), "-o", str(disk / "found.conll"), "-q"]
        assert run(context, arguments, errors) == 2
        (line,) = errors.read_text().splitlines()
        assert line.startswith("error: ")
        assert "No space left on device" in line
        assert str(disk) in line
        assert not out.exists()
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        assert run(context, arguments, errors) == 0
        assert out.read_bytes() == whole.read_bytes()
        campaign.resumed()


def test_limit_on_file_sizes_is_one_line_and_without_it_it_goes_on(
    campaign: Campaign, context: ForkServerContext, command: list[str]
) -> None:
    whole, out, errors = (campaign.folder / name for name in ("whole.jsonl", "found.jsonl", "errors.txt"))
    assert run(context, [*command, "-o", str(whole)], errors) == 0
    errors.unlink()
    for largest in (1000, whole.stat().st_size // 2):
        assert run(context, [*command, "-q", "-o", str(out)], errors, largest) == 2
        assert not out.exists()
        (line,) = errors.read_text().splitlines()
        assert line.startswith("error: ")
        assert "File too large" in line
        errors.unlink()
    assert run(context, [*command, "-o", str(out)], errors) == 0
    assert out.read_bytes() == whole.read_bytes()
    campaign.resumed()


def test_the_real_command_is_killed_and_resumed(campaign: Campaign, command: list[str]) -> None:
    """Without the fork server, with chunks as they are: once, as soon as there is a part."""
    out, whole = campaign.folder / "found.jsonl", campaign.folder / "whole.jsonl"
    words = [sys.executable, "-m", "iter_lightning", *command, "-o", str(out)]
    process = subprocess.Popen(words, env=process_environment(), stderr=subprocess.PIPE)
    parts = campaign.folder / "found.jsonl.parts"
    deadline = time.monotonic() + 300
    while process.poll() is None and not list(parts.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    campaign.killed()
    for path in (out, whole):
        assert campaign.process([*command, "-o", str(path)], limit_s=300).status == 0
    assert out.read_bytes() == whole.read_bytes()
    campaign.resumed()
