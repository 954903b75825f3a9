"""W&B logging of a run. Without an API key, runs are logged offline and users are never prompted."""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

WandbMode = Literal["auto", "online", "offline", "disabled"]
WandbJobType = Literal["fit", "fold", "trial"]
HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Hosts under which `wandb login` stores a key, before version 0.31 and since."""


def wandb_loggers(config: Mapping[str, Any], folder: Path, tags: Sequence[str]) -> list[Logger]:
    """Build the W&B logger of an attempt, grouped by experiment; no logger if the mode is `disabled`.

    Args:
        config: the run's resolved configuration; `wandb` contains mode, project, tags and job type.
        folder: the run folder; its name distinguishes the runs of a group.
        tags: tags in addition to those of the configuration.

    Returns:
        one logger or none.
    """
    options = config["wandb"]
    mode = options["mode"]
    if mode == "disabled":
        return []
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb_key() else "offline")
    _start()
    return [
        WandbLogger(
            project=options["project"], save_dir=folder, mode=mode, group=config["experiment"],
            name=f"{config['experiment']}-{folder.name}", job_type=options["job_type"], config=dict(config),
            tags=[*tags, *options["tags"]],
        )
    ]  # fmt: skip


@rank_zero_only
def _start() -> None:
    """Start W&B with the environment's settings, so that it does not warn about options of Lightning's logger."""
    import wandb

    wandb.setup()


def wandb_key() -> bool:
    """Return whether W&B would find an API key, without importing W&B, which would start a session."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    own = os.environ.get("WANDB_BASE_URL")
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(known.authenticators(host) for host in ([urlsplit(own).hostname or ""] if own else HOSTS))


def finish_wandb() -> None:
    """Finish this process's W&B run as failed, if one has started."""
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=1)
