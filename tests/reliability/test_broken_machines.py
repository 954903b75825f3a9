"""Broken machines: missing folders, little memory, closed streams, readers that go away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.builders import tiny_model
from tests.reliability.campaign import Campaign, Outcome

pytestmark = pytest.mark.reliability

HEAVY = (["inspect", "synthetic"], ["fit", "--data", "Synthetic"], ["extract", "model", "-"], ["compare", "a", "b"])
"""Commands that import torch."""
VERBS = (["prepare", "conll04"], *HEAVY)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model("bert", omega=2).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def extract(model: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    text = tmp_path_factory.mktemp("text") / "a.txt"
    text.write_text("Ada lives in London.")
    return ["extract", model, str(text), "--device", "cpu"]


def shell(script: str) -> list[str]:
    """The command, as `"$@"`, in a shell."""
    return ["bash", "-c", script, "bash"]


def one_line(campaign: Campaign, outcome: Outcome, *expected: str) -> None:
    assert campaign.is_refusal(outcome, *expected).stderr.count("\n") == 1, outcome.stderr


# folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", VERBS, ids=lambda arguments: arguments[0])
def test_missing_folders_are_reported_in_one_line(campaign: Campaign, arguments: list[str]) -> None:
    gone = campaign.folder / "gone"
    outcome = campaign.process(arguments, prefix=shell(f'mkdir {gone}; cd {gone}; rmdir {gone}; exec "$@"'))
    one_line(campaign, outcome, "the working directory no longer exists")
    file = campaign.folder / "file"
    file.touch()
    for place in (campaign.folder / "missing", file, file / "below"):
        outcome = campaign.process(arguments, cwd=campaign.folder, env={"TMPDIR": str(place)})
        one_line(campaign, outcome, f"TMPDIR is '{place}', which is not a folder")
    assert list(campaign.folder.iterdir()) == [file]


def test_help_needs_no_folder(campaign: Campaign) -> None:
    gone = campaign.folder / "gone"
    prefix = shell(f'mkdir {gone}; cd {gone}; rmdir {gone}; exec "$@"')
    assert campaign.process(["--help"], prefix=prefix, env={"TMPDIR": "/missing"}).status == 0


@pytest.mark.parametrize("home", [None, "/proc/none"])
def test_extraction_needs_no_home(campaign: Campaign, extract: list[str], home: str | None) -> None:
    prefix = ["env", "-u", "HOME"] if home is None else ["env", f"HOME={home}"]
    outcome = campaign.process(extract, prefix=prefix, limit_s=300)
    assert outcome.status == 0, outcome.stderr
    assert json.loads(outcome.stdout)["text"] == "Ada lives in London."
    missing = campaign.process(["extract", "owner/model", "-"], prefix=prefix, limit_s=300)
    one_line(campaign, missing, "owner/model")


# memory --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", HEAVY, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("mebibytes", [100, 600, 899])
def test_limit_on_memory_is_reported_in_one_line(campaign: Campaign, arguments: list[str], mebibytes: int) -> None:
    outcome = campaign.process(
        arguments, cwd=campaign.folder, prefix=shell(f'ulimit -v {mebibytes << 10}; exec "$@"'), limit_s=60
    )
    one_line(campaign, outcome, f"memory is limited to {mebibytes} MiB (ulimit -v), expected at least 900 MiB")
    assert list(campaign.folder.iterdir()) == []


def test_memory_that_ends_in_the_middle_is_reported_in_one_line(campaign: Campaign) -> None:
    arguments = ["fit", "--data=Synthetic", "--wandb.mode=disabled"]
    prefix = shell(f'ulimit -v {910 << 10}; exec "$@"')
    outcome = campaign.process(arguments, cwd=campaign.folder, prefix=prefix, limit_s=300)
    one_line(campaign, outcome, "out of memory")
    assert list(campaign.folder.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        "MemoryError()", "RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried to allocate 99 bytes')",
        "ImportError('libx.so: failed to map segment from shared object')", "RuntimeError('std::bad_alloc')",
        "OSError(12, 'Cannot allocate memory')", "ModuleNotFoundError('No module named x', name='x')",
        "ImportError('cannot import name y\\nfrom x', name='x')", "OSError(28, 'No space left on device', '/a')",
        "PermissionError(13, 'Permission denied', '/some/file')", "BrokenPipeError(32, 'Broken pipe')",
    ],
)  # fmt: skip
def test_fault_of_the_machine_inside_a_verb_is_one_line(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    from iter_lightning import cli

    def verb(arguments: Sequence[str]) -> None:
        raise eval(error)

    monkeypatch.setitem(cli.VERBS, "prepare", verb)
    one_line(campaign, campaign.run(["prepare"]))


# streams -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm_to_files(campaign: Campaign, extract: list[str], closed: str) -> None:
    out = campaign.folder / "out.jsonl"
    outcome = campaign.process([*extract, "-o", str(out)], prefix=shell(f'exec "$@" {closed}'), limit_s=300)
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout == ""
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["text"] == "Ada lives in London."


@pytest.mark.parametrize("arguments", [["--help"], [], ["extract", "--help"], ["inspect", "synthetic"], ["extract"]])
def test_results_for_a_closed_standard_output_are_refused(
    campaign: Campaign, extract: list[str], arguments: list[str]
) -> None:
    arguments = extract if arguments == ["extract"] else arguments
    outcome = campaign.process(arguments, prefix=shell('exec "$@" >&-'), limit_s=300)
    one_line(campaign, outcome, "standard output is closed")
    silent = campaign.process(arguments, prefix=shell('exec "$@" >&- 2>&-'), limit_s=300)
    assert (silent.status, silent.stdout, silent.stderr) == (2, "", "")


def test_closed_standard_input_is_refused_as_an_input(campaign: Campaign, model: str) -> None:
    for output in ([], ["-o", str(campaign.folder / "out.jsonl")]):
        outcome = campaign.process(["extract", model, "-", *output], prefix=shell('exec "$@" <&-'), limit_s=300)
        one_line(campaign, outcome, "-: standard input is closed")
    assert list(campaign.folder.iterdir()) == []


@pytest.mark.parametrize("verb", ["help", "extract --help", "inspect", "extract"])
def test_reader_that_goes_away_gets_no_traceback(campaign: Campaign, extract: list[str], verb: str) -> None:
    commands = {"help": ["--help"], "extract --help": ["extract", "--help"], "inspect": ["inspect", "synthetic"]}
    script = 'exec 3>&1; { "$@"; echo $? >&3; } | true'
    outcome = campaign.process(commands.get(verb, extract), prefix=shell(script), limit_s=300)
    assert (outcome.stdout, outcome.stderr) == ("0\n", "")


@pytest.mark.parametrize("verb", ["help", "extract"])
def test_full_standard_output_is_reported_in_one_line(campaign: Campaign, extract: list[str], verb: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    outcome = campaign.process(
        ["--help"] if verb == "help" else extract, prefix=shell('exec "$@" >/dev/full'), limit_s=300
    )
    one_line(campaign, outcome, "No space left on device")
