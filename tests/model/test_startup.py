"""The faster import of transformers, each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_transformers_quickly_leaves_out_optional_modules() -> None:
    out = run(
        "import sys\n"
        "from iter_lightning.model.startup import import_transformers_quickly\n"
        "print(import_transformers_quickly(), import_transformers_quickly())\n"
        "import torch, iter_lightning.model.iter\n"
        "from transformers import BertModel, T5EncoderModel, DebertaV2Model, ModernBertModel\n"
        "print(sorted({'torch._dynamo', 'scipy', 'sympy', 'torch.distributed.tensor'} & set(sys.modules)))\n"
        "print(torch.distributed.is_available())\n"
    )
    assert out.splitlines() == ["True False", "[]", "True"]


@pytest.mark.slow
def test_import_transformers_quickly_leaves_torch_able_to_compile() -> None:
    out = run(
        "from iter_lightning.model.startup import import_transformers_quickly\n"
        "import_transformers_quickly()\n"
        "import torch, iter_lightning.model.iter\n"
        "compiled = torch.compile(torch.nn.Linear(2, 3), backend='eager')\n"
        "print(tuple(compiled(torch.ones(1, 2)).shape))\n"
        "import scipy\n"
    )
    assert out.splitlines() == ["(1, 3)"]


@pytest.mark.slow
def test_import_transformers_quickly_that_fails_leaves_the_usual_import() -> None:
    out = run(
        "import sys\n"
        "from iter_lightning.model import startup\n"
        "startup._MODULES = ('modeling_utils', 'no_such_module')\n"
        "print(startup.import_transformers_quickly())\n"
        "print([name for name in sys.modules if name.startswith(('transformers', 'torch._dynamo'))])\n"
        "from transformers import BertModel\n"
        "import torch\n"
        "print(BertModel.__name__, torch._dynamo.__name__)\n"
    )
    assert out.splitlines() == ["False", "[]", "BertModel torch._dynamo"]
