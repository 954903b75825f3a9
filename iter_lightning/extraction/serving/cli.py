"""`python -m iter_lightning serve MODEL [options]`."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import CONTEXTS
from iter_lightning.extraction.extractor import BACKENDS, MAX_TOKENS
from iter_lightning.extraction.serving.options import ModelInfo, ServeOptions
from iter_lightning.heap import freeze_heap, limit_onednn_cache, return_large_buffers
from iter_lightning.status import unfinished_note

if TYPE_CHECKING:
    from iter_lightning.extraction.extractor import Backend, Extractor

NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}
"""Module -> distribution."""
PRECISIONS = ("fp32", "bf16", "fp16", "int8")


def main(arguments: list[str]) -> None:
    """Serve a model over HTTP until SIGTERM or SIGINT.

    Raises:
        IterError: what the user can put right.
        SystemExit: with status 2, after argparse has printed what it does not understand.
    """
    given = _parser().parse_args(arguments)
    if missing := [distribution for module, distribution in NEEDED.items() if find_spec(module) is None]:
        raise ConfigError(f"serving needs {', '.join(missing)}: pip install 'iter-lightning[serve]'")
    options = ServeOptions(
        max_batch=given.max_batch, max_wait_ms=given.max_wait_ms, queue=given.queue, timeout=given.timeout,
        max_body_bytes=given.max_body_bytes, max_characters=given.max_characters, max_texts=given.max_texts,
        max_unit_characters=given.max_unit_characters, link_threshold=given.link_threshold,
        least_link_threshold=given.least_link_threshold,
    )  # fmt: skip
    limit_onednn_cache()
    from iter_lightning.extraction.serving.app import create_app
    from iter_lightning.extraction.serving.server import check_port, run

    check_port(given.host, given.port)
    if note := unfinished_note(given.model):
        print(note, file=sys.stderr)
    extractor, info = load(given)
    app = create_app(extractor, options, info)
    freeze_heap()
    run(app, given.host, given.port, access_log=given.access_log)


def load(given: argparse.Namespace) -> tuple[Extractor, ModelInfo]:
    """The extractor, and what answers say of it.

    Raises:
        IterError: a model that is not there or does not go with the options.
    """
    from iter_lightning.extraction.extractor import Extractor, model_folder
    from iter_lightning.extraction.run import model_digest
    from iter_lightning.extraction.splitting import Splitter, resolve_language

    return_large_buffers()
    folder = model_folder(given.model)
    language = resolve_language(given.language, folder)
    splitter = None if language is None else Splitter(language)
    backend, device = _backend(given, folder)
    extractor = Extractor(backend, splitter, given.context, given.max_tokens)
    precision = "as exported" if given.backend == "onnx" else given.precision or "fp32"
    name = given.name or name_of(given.model)
    digest = f"sha256:{model_digest(folder)}"
    return extractor, ModelInfo(name, digest, given.backend, device, precision, extractor.kernels)


def _backend(given: argparse.Namespace, folder: Path) -> tuple[Backend, str]:
    """What predicts, and on which device."""
    if given.backend == "onnx":
        from iter_lightning.extraction.extractor import onnx_backend

        if given.device not in (None, "cpu") or given.precision is not None or given.allow_slow:
            raise ConfigError("the onnx backend runs on a CPU, in the precision that export decided")
        return onnx_backend().from_pretrained(folder, given.threads), "cpu"
    import torch

    from iter_lightning.extraction.extractor import TorchBackend
    from iter_lightning.model.inference import InferenceOptions

    if given.threads is not None:
        torch.set_num_threads(given.threads)
    options = InferenceOptions(precision=given.precision or "fp32", allow_slow=given.allow_slow)
    backend = TorchBackend.load(folder, given.device, options)
    return backend, str(next(backend.model.parameters()).device)


def name_of(model: str) -> str:
    """A hub id as it is; of a folder its last name, of a run its experiment, too: no secret of the machine."""
    path = Path(model)
    if not path.exists():
        return model
    parts = path.resolve().parts
    run = parts[:-1] if parts[-1] == "model" else parts  # seed1 alone would say little
    return "/".join(run[-2:]) if (Path(*run) / "config.yaml").is_file() else "/".join(run[-1:])


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535 (0: any that is free), found {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning serve", description="Serve a model over HTTP: POST /extract, and a page at /."
    )
    parser.add_argument("model", metavar="MODEL", help="folder (a run folder, too) or hub id")
    add = parser.add_argument_group("where").add_argument
    add("--host", default="127.0.0.1", help="default %(default)s; 0.0.0.0 for all of this machine's addresses")
    add("--port", type=_port, default=8000, help="default %(default)s; 0: any that is free")
    add("--access-log", action="store_true", help="a line a request")
    add = parser.add_argument_group("the model").add_argument
    add("--name", help="what answers call it; default: the hub id, or the folder's name")
    add("--language", metavar="CODE",
        help="of the texts, spaCy's code; default: the model's, else en; none: only words are accepted")  # fmt: skip
    add("--context", choices=CONTEXTS, default="sentence",
        help="what is read at once: relations reach as far; default %(default)s")  # fmt: skip
    add("--backend", choices=BACKENDS, default="torch", help="default %(default)s")
    add("--device", metavar="NAME", help="torch's name; default: a GPU where there is one")
    add("--precision", choices=PRECISIONS,
        help="default fp32; others are refused on CPUs that are slower at them")  # fmt: skip
    add("--allow-slow", action="store_true", help="compute in --precision even if fp32 would be faster")
    add("--link-threshold", type=float, metavar="P", help="of requests that name none; default: the model's own")
    add("--threads", type=_at_least_one, metavar="N", help="of the model; default: torch's choice")
    _add_limits(parser)
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    default = ServeOptions()
    add = parser.add_argument_group("batches").add_argument
    add("--max-batch", type=_at_least_one, metavar="N", default=default.max_batch,
        help="documents a call of the model; default %(default)s")  # fmt: skip
    add("--max-tokens", type=_at_least_one, metavar="N", default=MAX_TOKENS,
        help="subwords a batch, and about as many a call; default %(default)s")  # fmt: skip
    add("--max-wait-ms", type=float, metavar="MS", default=default.max_wait_ms,
        help="that a request waits for company; default %(default)s")  # fmt: skip
    add = parser.add_argument_group("limits").add_argument
    add("--queue", type=_at_least_one, metavar="N", default=default.queue,
        help="requests in the server at once, more get 429; default %(default)s")  # fmt: skip
    add("--timeout", type=float, metavar="S", default=default.timeout,
        help="seconds a request, longer ones get 504; default %(default)s")  # fmt: skip
    add("--least-link-threshold", type=float, metavar="P", default=default.least_link_threshold,
        help="that a request may name: near 0 every pair is a relation; default %(default)s")  # fmt: skip
    bounds = {
        "body-bytes": "of a request", "texts": "of a request", "characters": "of a text",
        "unit-characters": "of what is read at once: a sentence, or a document with --context document",
    }  # fmt: skip
    for name, what in bounds.items():
        value = getattr(default, f"max_{name.replace('-', '_')}")
        add(f"--max-{name}", type=_at_least_one, metavar="N", default=value, help=f"{what}; default %(default)s")
