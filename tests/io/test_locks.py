"""A lock excludes other processes and never outlives its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iter_lightning.io.locks import locked


def test_lock_is_refused_while_it_is_held_and_free_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locked(lock, RuntimeError("taken")),
        pytest.raises(RuntimeError, match="taken"),
        locked(lock, RuntimeError("taken")),
    ):
        pass
    with locked(lock, RuntimeError("taken")):
        pass


def test_lock_does_not_outlive_its_process_in_a_forked_child(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with locked(tmp_path / "lock", RuntimeError("taken")):
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)  # until the test ends
            os._exit(0)
        with pytest.raises(RuntimeError), locked(tmp_path / "lock", RuntimeError()):
            pass  # a fork does not release it, either
    with locked(tmp_path / "lock", RuntimeError("the child holds it")):
        pass
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom iter_lightning.io.locks import locked\n"
        "with locked(Path(sys.argv[1]), RuntimeError()):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match="taken"), locked(lock, RuntimeError("taken")):
            pass
        process.kill()
        with locked(lock, RuntimeError("taken"), wait=10):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_lock_in_a_read_only_folder_raises_an_error_of_the_file_system(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError), locked(tmp_path / "lock", RuntimeError()):
        pass
