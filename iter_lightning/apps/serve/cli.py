"""`python -m iter_lightning serve MODEL [options]`."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import CONTEXTS
from iter_lightning.extraction.extractor import BACKENDS, MAX_TOKENS
from iter_lightning.heap import keep_few_products, return_large_buffers, settle
from iter_lightning.status import unfinished_note

if TYPE_CHECKING:
    from iter_lightning.apps.serve.options import ModelInfo, ServeOptions
    from iter_lightning.extraction.extractor import Extractor

NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}
"""Module -> distribution."""


def main(arguments: list[str]) -> None:
    """Serve a model over HTTP until SIGTERM or SIGINT.

    Args:
        arguments: The command line after `serve`.

    Raises:
        IterError: The user can correct it.
    """
    if missing := [distribution for module, distribution in NEEDED.items() if find_spec(module) is None]:
        raise ConfigError(f"serving needs {', '.join(missing)}: pip install 'iter-lightning[serve]'")
    from pydantic import ValidationError

    from iter_lightning.apps.serve.options import ServeOptions

    given = _parser(ServeOptions).parse_args(arguments)
    limits = {name: value for name in ServeOptions.model_fields if (value := getattr(given, name)) is not None}
    try:
        options = ServeOptions.model_validate(limits)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"{name}: {first['msg']}, found {first['input']!r}") from error
    keep_few_products()
    return_large_buffers()
    if given.threads:
        os.environ["OMP_NUM_THREADS"] = str(given.threads)  # read by torch when it is imported, and by the onnx backend
    from iter_lightning.apps.serve.app import create_app
    from iter_lightning.apps.serve.server import bind, run

    with bind(given.host, given.port) as bound:  # before the model is loaded, which takes longer
        if note := unfinished_note(given.model):
            print(note, file=sys.stderr)
        app = create_app(*load(given, options))
        settle()
        run(app, bound, access_log=given.access_log)


def load(given: argparse.Namespace, options: ServeOptions) -> tuple[Extractor, ServeOptions, ModelInfo]:
    """Return the arguments of `create_app`.

    Raises:
        IterError: The model does not exist or does not fit the options.
    """
    from iter_lightning.apps.serve.options import ModelInfo
    from iter_lightning.extraction.extractor import Extractor, model_folder
    from iter_lightning.extraction.run import model_digest
    from iter_lightning.types import WindowLimits

    torch_options = None
    if given.backend == "torch":
        from iter_lightning.model.inference import InferenceOptions

        torch_options = InferenceOptions(precision=given.precision or "fp32", allow_slow=given.allow_slow)
    elif given.device not in (None, "cpu") or given.precision is not None or given.allow_slow:
        raise ConfigError("the onnx backend runs on a CPU, in the precision that export decided")
    folder = model_folder(given.model)
    extractor = Extractor.from_pretrained(
        folder, language=given.language, context=given.context, device=given.device, options=torch_options,
        backend=given.backend, max_tokens=given.max_tokens,
        limits=WindowLimits(options.max_entities, options.max_relations),
    )  # fmt: skip
    model = getattr(extractor.backend, "model", None)
    info = ModelInfo(
        name=given.name or name_of(given.model), digest=f"sha256:{model_digest(folder)}", backend=given.backend,
        device="cpu" if model is None else str(next(model.parameters()).device), kernels=extractor.kernels,
        precision="as exported" if torch_options is None else torch_options.precision,
    )  # fmt: skip
    return extractor, options, info


def name_of(model: str) -> str:
    """Return a hub id as it is, and the last names of a folder: the rest of its path is a secret of the machine."""
    path = Path(model)
    if not path.exists():
        return model
    parts = path.resolve().parts
    run = parts[:-1] if parts[-1] == "model" else parts  # seed1 alone would say little
    return "/".join(run[-2:]) if (Path(*run) / "config.yaml").is_file() else "/".join(run[-1:])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 (any free one) to 65535, found {text!r}")
    return int(text)


def _parser(options: type[ServeOptions]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning serve", description="Serve a model over HTTP: POST /extract, and a page at /."
    )
    parser.add_argument("model", metavar="MODEL", help="run folder, model folder or hub id")
    add = parser.add_argument_group("address").add_argument
    add("--host", default="127.0.0.1", help="default %(default)s; 0.0.0.0 for all addresses of this machine")
    add("--port", type=_port, default=8000, help="default %(default)s; 0 for any free one")
    add("--access-log", action="store_true", help="log each request")
    add = parser.add_argument_group("model").add_argument
    add("--name", help="its name in answers; default: the hub id, or the folder's name")
    add("--language", metavar="CODE", help="spaCy's code; none: only words are accepted; default: the model's, else en")
    add("--context", choices=CONTEXTS, default="sentence", help="relations stay inside it; default %(default)s")
    add("--backend", choices=BACKENDS, default="torch", help="default %(default)s")
    add("--device", metavar="NAME", help="torch's name; default: a GPU if there is one")
    add(
        "--precision",
        choices=("fp32", "bf16", "fp16", "int8"),
        help="default fp32; others need a CPU that is fast at them",
    )
    add("--allow-slow", action="store_true", help="compute in --precision even if fp32 would be faster")
    add("--threads", type=_positive, metavar="N", help="of the model; default: torch's choice")
    add(
        "--max-tokens", type=_positive, metavar="N", default=MAX_TOKENS, help="subwords of a batch; default %(default)s"
    )
    add = parser.add_argument_group("limits").add_argument
    for name, field in options.model_fields.items():
        default = "" if field.default is None else f"; default {field.default}"
        add(f"--{name.replace('_', '-')}", metavar="N", help=f"{field.description}{default}")
    return parser
