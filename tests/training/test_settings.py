from __future__ import annotations

import subprocess
import sys

import pytest

from pcsearch.errors import UserError
from tests.training.helpers import settings


def test_defaults_are_valid() -> None:
    assert settings().optimizer == "sgd"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5"),
        ({"lambda_": -1.0}, "lambda_ is -1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"optimizer": "adamww"}, 'did you mean "adamw"'),
        ({"schedule": "cosin"}, 'did you mean "cosine"'),
        ({"nesterov": True, "momentum": 0.0}, "nesterov"),
        ({"nesterov": True, "optimizer": "adamw"}, "nesterov"),
        ({"epochs": 3, "head_only_epochs": 4}, "only 3 epochs"),
        ({"freeze": "bodi"}, 'unknown freeze "bodi", did you mean "body"'),
        ({"freeze": "body", "head_only_epochs": 1}, "freeze is body, and the head trains alone"),
        ({"freeze": "body", "cutmix": 0.5}, "features of mixed images cannot be computed once"),
        ({"epochs": 3, "head_only_epochs": 1, "warmup_epochs": 2}, "less than the 2"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        settings(**values)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        settings(lr=-1, momentum=2, schedule="no")
    assert len(str(caught.value).splitlines()) == 3


def test_settings_schedule_and_records_need_no_torch() -> None:
    code = (
        "import sys, pcsearch.training.config, pcsearch.training.schedule;"
        "import pcsearch.training.metrics;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
