"""Code beside the command: a network of one's own by consent, and nothing else ever."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.cli import CommandLine, overrides

pytestmark = pytest.mark.slow

SMALL = overrides(
    datasets="[digits]",
    search={"trials": 1, "lr": [0.01, 0.1], "startup_trials": 1},
    asha={"max_epochs": 2, "grace_epochs": 1, "full_trainings": 1},
    finalists={"configs": 0, "repeats": 0},
    confirm={"seeds": 1, "epochs": 1},
)
LOSS = """
from torch.nn.functional import cross_entropy

def gentle(logits, labels, strength):
    return cross_entropy(logits, labels) + strength * logits.square().mean()
"""
NETWORK = """
from pathlib import Path
Path(__file__).with_name("was_imported").touch()
from torch import nn

def net(num_classes, width=4):
    layers = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    layers.append(nn.Linear(48, width))
    layers.append(nn.Linear(width, num_classes))
    return layers
"""
MARK = (
    "from pathlib import Path\nPath({mark!r}).open('a').write(__name__ + ' ')\nraise ImportError\n"
)
SHADOWS = (
    "pydantic.py", "torch.py", "fsspec.py", "numpy/__init__.py", "signal.py", "sitecustomize.py",
    "profile.py",
    "ray/__init__.py", "optuna.py", "scipy/__init__.py", "PIL/__init__.py", "pyarrow.py",
)  # fmt: skip


def test_files_beside_the_command_replace_no_library(pcsearch: CommandLine) -> None:
    """Neither in the driver nor in its workers, which Ray would have search this folder first."""
    mark = pcsearch.folder / "was_imported"
    for shadow in SHADOWS:
        file = pcsearch.folder / shadow
        file.parent.mkdir(exist_ok=True)
        file.write_text(MARK.format(mark=str(mark)))
    result = replace(pcsearch, workers="started").run(
        "tune", "quickstart", *SMALL, "resources.cpus_per_trial=2", "--name=beside"
    )
    assert not mark.exists(), mark.read_text()
    assert result.code == 0, result


def test_another_pcsearch_beside_the_command_trains_nothing(pcsearch: CommandLine) -> None:
    mark = pcsearch.folder / "was_imported"
    (pcsearch.folder / "work").mkdir()
    theirs = pcsearch.folder / "work" / "pcsearch"
    theirs.mkdir()
    (theirs / "__init__.py").write_text(MARK.format(mark=str(mark)))
    run = "from pcsearch.__main__ import main; import os; os.chdir('work'); main()"
    process = pcsearch.start_python("-c", run, "tune", "quickstart", *SMALL, "--name=theirs")
    out, err = process.communicate(timeout=240)
    assert not mark.exists()
    assert process.returncode == 0, out + err


def test_a_network_of_ones_own_needs_consent_once(pcsearch: CommandLine) -> None:
    (pcsearch.folder / "own_nets.py").write_text(NETWORK)
    (pcsearch.folder / "own_losses.py").write_text(LOSS)
    mark = pcsearch.folder / "was_imported"
    arm = "arms={gentle: {loss: 'own_losses:gentle', space: {strength: [0.01, 0.1]}}}"
    own = [*SMALL, "backbones=[own_nets:net]", "search.arms=[gentle]", arm]
    for command in ("plan", "tune", "probe"):
        refused = pcsearch.run(command, "quickstart", *own)
        assert refused.code == 2
        assert "is not allowed here" in refused.err
        assert "add --allow-code own_nets" in refused.err
    checked = pcsearch.run("recipes", "validate", "quickstart", *own)
    assert checked.code == 0
    assert "own_nets:net is code and was not checked" in checked.out
    assert "own_losses:gentle is code and was not checked" in checked.out
    half = pcsearch.run("tune", "quickstart", *own, "--allow-code=own_nets")
    assert half.code == 2
    assert "add --allow-code own_losses" in half.err
    assert not mark.exists()
    assert not (pcsearch.folder / "runs").exists()

    both = ("--allow-code=own_nets", "--allow-code=own_losses")
    result = pcsearch.run("tune", "quickstart", *own, "--name=own", *both)
    assert result.code == 0, result
    assert mark.exists()
    wider = pcsearch.run("resume", "own", "confirm.seeds=2")
    assert wider.code == 0, wider
    (pcsearch.folder / "own_losses.py").write_text(f"{LOSS}# changed")
    changed = pcsearch.run("resume", "own", "confirm.seeds=3")
    assert changed.code == 2
    assert "own_losses" in changed.err
    assert "has changed since the run began" in changed.err
    (study,) = pcsearch.summary("own")["studies"]
    assert study["backbone"] == "own_nets:net"
    assert 0.01 <= study["arms"]["gentle"]["config"]["strength"] <= 0.1
    assert study["arms"]["gentle"]["variant"] == "own_loss"

    mark.unlink()
    shutil.copytree(pcsearch.folder / "runs" / "own", pcsearch.folder / "runs" / "theirs")
    theirs = pcsearch.run("resume", "theirs", "confirm.seeds=3")
    assert theirs.code == 2
    assert "is not allowed here" in theirs.err
    for command in ("summary", "trials", "report"):
        assert pcsearch.run(command, "theirs").code == 0
    assert not mark.exists()


def test_a_recipe_runs_no_function_of_a_library(pcsearch: CommandLine) -> None:
    """An attack as it was made: sympy evaluates its argument; so do many others."""
    mark = pcsearch.folder / "was_run"
    call = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    for reference, options in {
        "sympy:simplify": {"expr": call},
        "numexpr:evaluate": {"ex": call},
        "pandas:eval": {"expr": call},
        "numpy.f2py:run_main": {"comline_list": [call]},
        "matplotlib.cbook:_unpack": {"x": call},
    }.items():
        recipe = pcsearch.folder / "theirs.yaml"
        recipe.write_text(
            "extends: quickstart\n"
            f"backbones: [{json.dumps(reference)}]\n"
            f"backbone_options: {json.dumps({reference: options})}\n"
        )
        for command in (["recipes", "validate"], ["plan"], ["tune"]):
            result = pcsearch.run(*command, recipe)
            assert "Traceback" not in result.err
            assert result.code == (0 if command[0] == "recipes" else 2), result
    assert not mark.exists()
    assert Path(pcsearch.folder / "runs").exists() is False
