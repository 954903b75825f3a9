"""Runs: kills, stops, damaged checkpoints, full disks, unfinished runs and the permissions of files."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from iter_lightning.cli import main
from iter_lightning.corpora.spert import write_spert
from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits
from tests.reliability.campaign import Campaign
from tests.reliability.forks import STOPS, Fork, Forks, eventually

pytestmark = pytest.mark.reliability
EPOCHS = 4


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder on another file system than that of TMPDIR, if this machine has one that we may write to."""
    here = Path(tempfile.gettempdir()).stat().st_dev
    other = Path("/dev/shm")
    home = str(other) if other.is_dir() and other.stat().st_dev != here and os.access(other, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="iter_runs_", dir=home))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    server = Forks(tmp_path_factory.mktemp("logs"), tmp_path_factory.mktemp("tmpdir"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def options(encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of `fit` and the other verbs; `--run_dir` is missing. Without relations: so little training finds entities."""
    corpus_dir = tmp_path_factory.mktemp("entities")
    for split, examples in synthetic_splits(SyntheticConfig(sentences=48, depth=1)).items():
        write_spert([replace(example, relations=()) for example in examples], corpus_dir / f"{split}.json")
    return [
        "--data", "Custom", *(f"--data.{split}={corpus_dir / split}.json" for split in ("train", "dev", "test")),
        f"--model.encoder={encoder_dir}", "--model.encoder_group.learning_rate=5e-3",
        "--model.head_group.learning_rate=5e-3", "--data.batch_size=4", "--wandb.mode=disabled",
        "--trainer.accelerator=cpu", f"--trainer.max_epochs={EPOCHS}", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(forks: Forks, folder: Path, options: list[str]) -> tuple[Any, float]:
    """What a run leaves that nothing disturbs, and the seconds that it takes."""
    started = time.monotonic()
    status, said = forks.run(["fit", *options, f"--run_dir={folder / 'undisturbed'}"])
    assert status == 0, said
    return result(folder / "undisturbed"), time.monotonic() - started


@pytest.fixture(scope="module")
def unfinished(forks: Forks, folder: Path, options: list[str]) -> Path:
    """A run that was killed while it wrote the checkpoint of its third epoch."""
    run = folder / "unfinished"
    status, said = forks.run(["fit", *options, f"--run_dir={run}"], cut=3)
    assert status == -signal.SIGKILL, said
    return run


@pytest.fixture
def run(unfinished: Path, folder: Path) -> Iterator[Path]:
    """A copy of it."""
    copy = folder / "copy"
    shutil.copytree(unfinished, copy)
    yield copy
    shutil.rmtree(copy)


def result(run: Path) -> Any:
    """All of a finished run that must be equal to the bit: weights, scores, losses of every epoch."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert not (run / "checkpoints").exists()
    assert not list(run.rglob(".*.part"))
    return (
        (run / "model" / "model.safetensors").read_bytes(),
        json.loads((run / "results.json").read_text()),
        [{name: value for name, value in line.items() if name != "seconds"} for line in lines],
        manifest["best"],
    )


def finish(forks: Forks, arguments: list[str], run: Path, expected: Any, campaign: Campaign) -> None:
    """Give the same command again, and compare what it leaves with an undisturbed run's."""
    status, said = forks.run(["fit", *arguments, f"--run_dir={run}"])
    assert status == 0, said
    assert result(run) == expected
    campaign.resumed()


def test_a_kill_while_a_checkpoint_is_written_keeps_the_last_one(
    forks: Forks, folder: Path, options: list[str], undisturbed: tuple[Any, float], campaign: Campaign
) -> None:
    run = folder / "cut"
    for number in (1, 2, 3, 1):  # of the checkpoints that each attempt writes
        status, said = forks.run(["fit", *options, f"--run_dir={run}"], cut=number)
        assert status in (-signal.SIGKILL, 0), said
        campaign.killed()
    finish(forks, options, run, undisturbed[0], campaign)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_kill_at_any_moment_resumes_bit_equal(
    workers: int, forks: Forks, folder: Path, options: list[str], undisturbed: tuple[Any, float], campaign: Campaign
) -> None:
    expected, seconds = undisturbed
    rng = random.Random(workers)
    arguments = [*options, f"--data.num_workers={workers}"]
    for number in range(2 if workers else 3):
        run = folder / f"killed{workers}_{number}"
        orphans: list[Fork] = []
        for _ in range(3):
            fork = forks.start(["fit", *arguments, f"--run_dir={run}"])
            time.sleep(rng.uniform(0, seconds))
            fork.send(signal.SIGKILL)
            status = fork.wait()
            assert status in (-signal.SIGKILL, 0), fork.output
            assert "error" not in fork.output
            orphans.append(fork)
            campaign.killed()
        finish(forks, arguments, run, expected, campaign)
        assert eventually(lambda: not any(fork.members() for fork in orphans)), "worker processes are left"  # noqa: B023


def test_a_kill_with_workers_lets_go_of_the_run_at_once(
    forks: Forks, folder: Path, options: list[str], undisturbed: tuple[Any, float], campaign: Campaign
) -> None:
    """Killed while its workers run, which do not hold the lock any longer than their parent."""
    arguments, run = [*options, "--data.num_workers=2"], folder / "workers"
    fork = forks.start(["fit", *arguments, f"--run_dir={run}"])
    assert eventually(lambda: (run / "checkpoints" / "last.ckpt").exists()), fork.output
    workers = set(fork.members()) - {fork.pid}
    fork.send(signal.SIGKILL)
    assert fork.wait() == -signal.SIGKILL, fork.output
    assert workers, "no worker was running"
    campaign.killed()
    finish(forks, arguments, run, undisturbed[0], campaign)
    assert eventually(lambda: not fork.members(), 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_with_its_status_and_the_same_command_resumes(
    number: signal.Signals, forks: Forks, folder: Path, options: list[str], undisturbed: tuple[Any, float],
    campaign: Campaign,
) -> None:  # fmt: skip
    expected, seconds = undisturbed
    rng = random.Random(int(number))
    wanted, word = STOPS[number]
    for attempt in range(2):
        run = folder / f"stopped{number}_{attempt}"
        statuses = []
        for _ in range(3):
            fork = forks.start(["fit", *options, f"--run_dir={run}"])
            time.sleep(rng.uniform(0.1, seconds))
            for _ in range(attempt + 1):  # a second one ends the command at once
                fork.send(number)
                time.sleep(0.01 * attempt)
            status, said = fork.wait(), fork.output
            status = status if status >= 0 else 128 - status  # as a shell reports what a second signal ends
            statuses.append(status)
            assert "Traceback" not in said, said
            if status:
                assert (status, f"\n{word}the same command resumes\n" in f"\n{said}") == (wanted, True), said
            campaign.killed()
        assert wanted in statuses
        finish(forks, options, run, expected, campaign)


def test_a_full_disk_names_the_checkpoint_and_keeps_the_last_one(
    run: Path, forks: Forks, options: list[str], undisturbed: tuple[Any, float], campaign: Campaign
) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    before = checkpoint.read_bytes()
    weights = (run / "model" / "model.safetensors").stat().st_size
    assert weights < len(before) // 2
    status, said = forks.run(["fit", *options, f"--run_dir={run}"], largest=len(before) // 2)
    assert status == 2, said
    assert f"error: the checkpoint {checkpoint} cannot be written: File too large" in said
    assert checkpoint.read_bytes() == before
    finish(forks, options, run, undisturbed[0], campaign)


def test_a_full_file_system_keeps_the_last_checkpoint(
    forks: Forks, unfinished: Path, options: list[str], undisturbed: tuple[Any, float], tmp_path: Path,
    campaign: Campaign,
) -> None:  # fmt: skip
    """On a small tmpfs of its own, which is filled up before the run goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        run = disk / "run"
        shutil.copytree(unfinished, run, ignore=shutil.ignore_patterns(".*.part"))
        checkpoint = run / "checkpoints" / "last.ckpt"
        before = checkpoint.read_bytes()
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            file.write(b"x" * (shutil.disk_usage(disk).free - len(before) // 2))
        status, said = forks.run(["fit", *options, f"--run_dir={run}"])
        assert status == 2, said
        assert "No space left on device" in said
        assert "Traceback" not in said
        assert checkpoint.read_bytes() == before
        ballast.unlink()
        finish(forks, options, run, undisturbed[0], campaign)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def damaged(whole: bytes, rng: random.Random, payload: bytes) -> Iterator[bytes]:
    """What may be left of a checkpoint, and what may lie in its place."""
    yield from (b"", b"\0", b"PK\x05\x06" + b"\0" * 18, b"\0" * len(whole), payload, whole[:-1], whole[1:])
    for value in (None, 3, [], {}, {"state_dict": {}}, torch.zeros(3), {"state_dict": {}, "epoch": 1}):
        file = BytesIO()
        torch.save(value, file)
        yield file.getvalue()
    for _ in range(150):
        yield whole[: rng.randrange(len(whole))]
    for _ in range(60):
        yield rng.randbytes(rng.randrange(1, 5000))
    with zipfile.ZipFile(BytesIO(whole)) as file:  # the right layout with a pickle of another kind
        names = {name: file.read(name) for name in file.namelist()}
    for content in (payload, b"", b"\x80\x02.", pickle.dumps(list(range(5)))):
        other = BytesIO()
        with zipfile.ZipFile(other, "w") as file:
            for name, value in names.items():
                file.writestr(name, content if name.endswith("data.pkl") else value)
        yield other.getvalue()


class Payload:
    """Creates the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (os.system, (f"echo executed > {self.canary}",))


def test_damaged_checkpoints_are_refused(unfinished: Path, tmp_path: Path, campaign: Campaign) -> None:
    from iter_lightning.training.checkpoints import check_checkpoint

    whole = (unfinished / "checkpoints" / "last.ckpt").read_bytes()
    path = tmp_path / "last.ckpt"
    path.write_bytes(whole)
    check_checkpoint(path, "")
    for content in damaged(whole, random.Random(1), pickle.dumps(Payload(campaign.canary))):
        path.write_bytes(content)
        message = campaign.raises(check_checkpoint, path, "move it away")
        assert message.startswith(f"the checkpoint {path} cannot be read: ")
        assert message.endswith("; move it away")
        assert "\n" not in message
    rng = random.Random(2)
    for number in range(160):  # single bytes, and blocks that never reached the disk: refused, or they are padding
        place = rng.randrange(len(whole) - 4096)
        lost = bytes([whole[place] ^ 0xFF]) if number < 100 else b"\0" * 4096
        path.write_bytes(whole[:place] + lost + whole[place + len(lost) :])
        if campaign.tries(check_checkpoint, path, "") is None:
            assert_equal(torch.load(path, weights_only=True), torch.load(BytesIO(whole), weights_only=True))


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


def test_an_unreadable_checkpoint_of_the_run_is_never_a_silent_restart(
    run: Path, options: list[str], campaign: Campaign
) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    whole = checkpoint.read_bytes()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path != checkpoint}
    for content in (b"", whole[:12_288], b"junk" * 999, pickle.dumps(Payload(campaign.canary))):
        checkpoint.write_bytes(content)
        arguments = ["fit", *options, f"--run_dir={run}"]
        campaign.refused(arguments, f"the checkpoint {checkpoint} cannot be read", f"move {checkpoint} away to train")
        assert {path: path.read_bytes() for path in before} == before
        assert checkpoint.read_bytes() == content


def test_a_given_checkpoint_that_cannot_be_read_leaves_nothing_behind(
    folder: Path, options: list[str], unfinished: Path, tmp_path: Path, campaign: Campaign
) -> None:
    whole = (unfinished / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "folder").mkdir()
    files = {"empty": b"", "cut": whole[:-500], "junk": b"junk", "code": pickle.dumps(Payload(campaign.canary))}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    run = folder / "given"
    for name in (*files, "folder", "missing"):
        given = ["fit", *options, f"--run_dir={run}", f"--ckpt_path={tmp_path / name}"]
        campaign.refused(given, f"{tmp_path / name} cannot be read", "--ckpt_path")
        assert not run.exists()


def test_an_unfinished_run_is_refused_unless_it_is_allowed(
    run: Path, unfinished: Path, options: list[str], tmp_path: Path, campaign: Campaign
) -> None:
    told, flag = "has not finished", "--allow-unfinished"
    on_run = [*options, f"--run_dir={run}"]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for verb in ("test", "validate", "predict"):
        campaign.refused([verb, *on_run], told, flag)
    campaign.refused(["export", str(run), str(tmp_path / "out")], told, flag)
    campaign.refused(["export", str(run / "model"), str(tmp_path / "out")], told, flag)
    campaign.refused(["compare", str(run), str(unfinished)], told, flag)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "out").exists()

    for verb in ("test", "predict"):
        outcome = campaign.run([verb, *on_run, flag])
        assert (outcome.status, told in outcome.stderr) == (0, True)
    results = json.loads((run / "results.json").read_text())
    assert all(entry["unfinished"] is True for entry in results["test"])
    assert campaign.run(["export", str(run), str(tmp_path / "out"), flag]).status == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "had not finished" in card
    assert "before the training had finished" in card
    twin = tmp_path / "twin"
    shutil.copytree(run, twin)
    campaign.refused(["compare", str(run), str(twin)], told, flag)
    outcome = campaign.run(["compare", str(run), str(twin), flag, "--json", str(tmp_path / "compared.json")])
    assert outcome.status == 0, outcome.stderr
    assert "not finished when tested" in outcome.stdout
    assert json.loads((tmp_path / "compared.json").read_text())["unfinished"] == [str(run), str(twin)]
    (tmp_path / "a.txt").write_text("Ada lives in London.")
    outcome = campaign.run(["extract", str(run), str(tmp_path / "a.txt")])
    assert (outcome.status, told in outcome.stderr) == (0, True)
    outcome = campaign.run(["extract", str(tmp_path / "out"), str(tmp_path / "a.txt")])
    assert (outcome.status, told in outcome.stderr) == (0, False)


def test_scores_of_an_unfinished_run_do_not_outlive_it(
    run: Path, forks: Forks, options: list[str], undisturbed: tuple[Any, float], campaign: Campaign
) -> None:
    on_run = [*options, f"--run_dir={run}"]
    for verb in ("test", "validate"):
        assert campaign.run([verb, *on_run, "--allow-unfinished"]).status == 0
    finish(forks, options, run, undisturbed[0], campaign)  # without the scores on test
    assert campaign.run(["test", *on_run]).status == 0
    assert "unfinished" not in (run / "results.json").read_text()


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_all_files_of_a_run_and_an_export_have_the_permissions_of_the_umask(
    umask: int, forks: Forks, folder: Path, options: list[str], tmp_path: Path
) -> None:
    run, out = folder / f"umask{umask}", tmp_path / "out"
    status, said = forks.run(["fit", *options, f"--run_dir={run}", "--trainer.max_epochs=1"], umask=umask)
    assert status == 0, said
    status, said = forks.run(["export", str(run), str(out)], umask=umask)
    assert status == 0, said
    for root in (run, out):
        for path in [root, *root.rglob("*")]:
            wanted = (0o777 if path.is_dir() else 0o666) & ~umask
            assert path.stat().st_mode & 0o777 == wanted, (path, oct(path.stat().st_mode))


@pytest.mark.parametrize("verb", ["test", "validate", "predict", "seeds", "reproduce", "compare", "export"])
def test_every_verb_that_uses_runs_has_the_option(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = main([verb, "--help"])
    except SystemExit as ended:
        status = ended.code
    assert status == 0
    assert "--allow-unfinished" in capsys.readouterr().out
