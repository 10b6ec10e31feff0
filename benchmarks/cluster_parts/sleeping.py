"""A trial that sleeps and reports, in a worker without PyTorch."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

from pcsearch.execution.worker import REPORT


def sleeping_trial(config: dict[str, Any], context: dict[str, Any]) -> None:
    """Reports as `train_trial` does, and when it did; begins once all workers are there."""
    from ray import tune

    spec = json.loads(config["spec"])
    who = {"trial": spec["trial"], "attempt": config["attempt"], "pid": os.getpid(), "host": "here"}
    workers = Path(context["workers"])
    (workers / str(os.getpid())).touch()
    while len(list(workers.iterdir())) < context["wanted"]:
        time.sleep(0.5)
    time.sleep(random.random() * context["seconds"])  # not all at once
    for epoch in range(1, spec["epochs"] + 1):
        time.sleep(context["seconds"])
        value = 90.0 - 40.0 / (epoch + spec["index"] % 7) - 100 * abs(spec["config"]["lr"] - 0.02)
        report = {"epoch": epoch, "value": value, "seconds": context["seconds"], "metrics": {}}
        tune.report({**who, REPORT: json.dumps(report), "sent": time.time()})
