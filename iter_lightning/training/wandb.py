"""The W&B side of a run: a view of its folder, kept offline where there is no key; nothing ever asks."""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from iter_lightning.errors import ConfigError

MODES = ("auto", "online", "offline", "disabled")
HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Under which `wandb login` keeps a key, before 0.31 and since."""


def check_mode(mode: str) -> None:
    """Raises `ConfigError` for a mode there is not."""
    if mode not in MODES:
        raise ConfigError(f"wandb.mode {mode!r} is none of {', '.join(MODES)}")


def wandb_loggers(config: Mapping[str, Any], folder: Path, tags: Sequence[str]) -> list[Logger]:
    """One W&B run an attempt, grouped by experiment; none where the mode is `disabled`.

    Args:
        config: the run's whole configuration; its part `wandb` says mode, project, tags and job type.
        folder: of the run; its name tells runs of a group apart.
        tags: besides those of the configuration.
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
    """Start W&B with the environment's settings, so that it does not warn of options that Lightning's logger sets."""
    import wandb

    wandb.setup()


def wandb_key() -> bool:
    """Whether W&B would find a key; asked without W&B, which would start a session to answer."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    own = os.environ.get("WANDB_BASE_URL")
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(known.authenticators(host) for host in ([urlsplit(own).hostname or ""] if own else HOSTS))


def finish_wandb() -> None:
    """End this process's W&B run as failed, if one has started."""
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=1)
