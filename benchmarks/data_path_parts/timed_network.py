"""SqueezeNet 1.1 as a user's own backbone (`module:function`) that writes down when it is used.

Each process appends lines of JSON to a log: `imported`, `asked` (a network is wanted), `built`,
`first_step` (the first forward pass in training mode begins) and, with the next `asked`,
`previous_end`: the end of the last forward pass in evaluation mode, the last thing a network sees
of a trial. Times are CLOCK_MONOTONIC, the same in all processes of a machine.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

_IMPORTED = time.monotonic()

from torch import nn  # noqa: E402  (after the time stamp: the import is part of what is measured)
from torchvision.models import squeezenet1_1  # noqa: E402


class _Process:
    """What this process remembers from one network to the next."""

    announced = False
    last_evaluation: float | None = None


def build(num_classes: int, log: str) -> nn.Module:
    """The network, with hooks on its first training step and on its evaluation."""
    asked = time.monotonic()
    file = Path(log)
    if not _Process.announced:
        _write(file, "imported", _IMPORTED)
        _Process.announced = True
    if _Process.last_evaluation is not None:
        _write(file, "previous_end", _Process.last_evaluation)
        _Process.last_evaluation = None
    _write(file, "asked", asked)
    module = squeezenet1_1(weights=None, num_classes=num_classes)

    def before(network: nn.Module, inputs: object) -> None:
        if network.training:
            now = time.monotonic()
            first.remove()
            _write(file, "first_step", now)

    def after(network: nn.Module, inputs: object, output: object) -> None:
        if not network.training:
            _Process.last_evaluation = time.monotonic()

    first = module.register_forward_pre_hook(before)
    module.register_forward_hook(after)
    _write(file, "built", time.monotonic())
    return module


def _write(file: Path, event: str, moment: float) -> None:
    with file.open("a") as log:
        log.write(json.dumps({"pid": os.getpid(), "event": event, "at": moment}) + "\n")
