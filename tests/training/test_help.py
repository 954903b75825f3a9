"""The stored help page of the training verbs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from iter_lightning.training.help import PAGE, SUMMARIES, build_page, help_page


def test_help_page_stored_equals_declarations() -> None:
    assert PAGE.read_text(encoding="utf-8") == build_page(), "run python -m iter_lightning.training.help"


@pytest.mark.parametrize("verb", sorted(SUMMARIES))
def test_help_page_names_its_verb(verb: str) -> None:
    page = help_page(verb)
    assert page.startswith(f"usage: python -m iter_lightning {verb} --config FILE")
    assert SUMMARIES[verb] in page
    assert "VERB" not in page
    assert page.index("\nRun:") < page.index("\nModel and optimization:") < page.index("\nTrainer:")


@pytest.mark.parametrize("verb", ["fit", "prepare", "inspect", "extract", "serve"])
def test_help_imports_no_torch(verb: str) -> None:
    code = (
        "import sys; from iter_lightning.cli import main\n"
        f"try: main([{verb!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
