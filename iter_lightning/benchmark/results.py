"""What was measured, as JSON: one entry a figure, with its command and machine; a later run replaces and adds."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from iter_lightning.errors import ConfigError
from iter_lightning.files import write_atomically
from iter_lightning.training.manifest import describe

VERSION = 1
"""Of the file's layout."""


@dataclass(frozen=True)
class Entry:
    """One measurement."""

    section: str
    subject: dict[str, Any]
    """`Subject.describe()`."""
    settings: dict[str, Any]
    """What tells it from others of its section and subject."""
    values: dict[str, Any]
    """Every pass in seconds, and what was counted."""
    command: str
    """What makes it again; folders are told by their role."""
    machine: dict[str, Any]

    @property
    def key(self) -> str:
        """Entries of one key are measurements of the same thing on the same machine."""
        machine = {name: self.machine.get(name) for name in ("cpu", "cpu_capability", "gpu", "threads")}
        return json.dumps([self.section, self.subject, self.settings, machine], sort_keys=True)


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, threads, versions and commit; no names of hosts or folders."""
    found = describe(device.type)
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "device": device.type,
        "system": platform.system(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **{key: found[key] for key in ("started", "python", "versions", "commit", "commit_clean")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (ValueError, OSError, AttributeError):
        return None


def read_entries(path: Path) -> list[Entry]:
    """The entries of a file; none where there is no file.

    Raises:
        ConfigError: it holds something else.
    """
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ConfigError(f"{path} has layout {content['version']!r}, this program writes {VERSION}: move it away")
        return [Entry(**entry) for entry in content["entries"]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no file of this benchmark: {error!r}; move it away, or name another") from error


def add_entry(path: Path, entry: Entry) -> None:
    """Write the file with this entry in place of one of the same key, or after all others."""
    entries = {other.key: other for other in read_entries(path)}
    entries[entry.key] = entry
    content = {"version": VERSION, "entries": [asdict(other) for other in entries.values()]}
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
