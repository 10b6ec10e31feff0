"""What a run was made with."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

_REPORTED = ("pcsearch", "torch", "torchvision", "ray", "optuna", "numpy", "pillow")


def environment(weights: Sequence[str]) -> dict[str, Any]:
    """Versions, machine and where each network's weights came from, stored with every run."""
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "weights": list(weights),
        "versions": {package: _version(package) for package in _REPORTED},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
