"""A loss of the user's own: called as it is described, and refused with the reason."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pcsearch.code_consent import VARIABLE
from pcsearch.errors import DivergedError, TrialError, UserError
from pcsearch.training.config import OwnLoss
from pcsearch.training.objective import Objective
from tests.training.helpers import MemoryBatches, perceptron, settings, train

MODULE = """
import torch
from torch.nn.functional import cross_entropy

def gentle(logits, labels, strength):
    return cross_entropy(logits, labels) + strength * logits.square().mean()

def vector(logits, labels, strength):
    return cross_entropy(logits, labels, reduction="none")

def number(logits, labels, strength):
    return 1.0

def detached(logits, labels, strength):
    return cross_entropy(logits, labels).detach()

def elsewhere(logits, labels, strength):
    return cross_entropy(logits, labels).to("meta")

def in_place(logits, labels, strength):
    loss = cross_entropy(logits.detach(), labels) + logits.sum()
    with torch.no_grad():
        logits.mul_(2)
    return loss

def nan(logits, labels, strength):
    return cross_entropy(logits, labels) * float("nan")

def raises(logits, labels, strength):
    raise KeyError("strength")

def other_names(logits, labels, weight):
    return cross_entropy(logits, labels)

def exits(logits, labels, strength):
    raise SystemExit(3)

def talks(logits, labels, strength):
    raise ValueError("x" * 3000)

def labels_in_place(logits, labels, strength):
    loss = cross_entropy(logits, labels)
    labels.zero_()
    return loss

class Loss:
    def __init__(self, strength):
        pass

not_a_function = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_losses.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "own_losses")
    monkeypatch.delitem(sys.modules, "own_losses", raising=False)


def own(name: str, strength: float = 0.5) -> OwnLoss:
    return OwnLoss(f"own_losses:{name}", (("strength", strength),))


def test_its_value_is_the_loss() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    loss, _ = Objective(settings(own_loss=own("gentle")))(logits, labels)
    wanted = F.cross_entropy(logits, labels) + 0.5 * logits.square().mean()
    assert torch.equal(loss, wanted)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vector", "a tensor of shape [4], but must return a scalar: take its mean"),
        ("number", "returned a float, not a tensor"),
        ("detached", "without a gradient for the logits"),
        ("elsewhere", "on meta, but the logits are on cpu"),
        ("in_place", "changed logits or labels in place"),
        ("labels_in_place", "changed logits or labels in place"),
        ("exits", "raised SystemExit: 3"),
        ("talks", "raised ValueError: " + "x" * 300 + "…"),
        ("raises", "called as (logits, labels, strength=0.5), raised KeyError: 'strength'"),
        ("other_names", "raised TypeError: other_names() got an unexpected keyword"),
    ],
)
def test_what_a_loss_must_not_do(name: str, message: str) -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    with pytest.raises(TrialError, match=re.escape(message)):
        Objective(settings(own_loss=own(name)))(logits * 1, torch.tensor([0, 1, 2, 0]))


def test_a_loss_that_is_not_finite_diverges() -> None:
    with pytest.raises(DivergedError):
        next(train(perceptron(), MemoryBatches(), settings(own_loss=own("nan"))))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gentel", 'did you mean "gentle"'),
        ("not_a_function", "is a int, not a function"),
        ("Loss", "is a class; name a function"),
    ],
)
def test_what_is_no_function_is_the_users_mistake(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Objective(settings(own_loss=own(name)))


def test_before_a_campaign_it_must_depend_on_the_logits(tmp_path: Path) -> None:
    from pcsearch.execution.preflight.model_check import check_networks
    from pcsearch.recipe import load_recipe

    blind_loss = "def blind(logits, labels, s):\n    return torch.ones((), requires_grad=True)\n"
    (tmp_path / "own_losses.py").write_text(f"{MODULE}\n{blind_loss}")
    arm = "arms={mine: {loss: 'own_losses:%s', space: {%s: [0.1, 1]}}}"
    fine = load_recipe("quickstart", ["search.arms=[mine]", arm % ("gentle", "strength")])
    assert check_networks(fine) == ()
    blind = load_recipe("quickstart", ["search.arms=[mine]", arm % ("blind", "s")])
    with pytest.raises(UserError, match=r"arms\.mine: .* does not depend on the logits"):
        check_networks(blind)


def test_without_consent_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(UserError, match="is not allowed here"):
        Objective(settings(own_loss=own("gentle")))
    assert "own_losses" not in sys.modules


def test_it_trains() -> None:
    records = list(train(perceptron(), MemoryBatches(), settings(epochs=4, own_loss=own("gentle"))))
    assert records[-1].train_loss < records[0].train_loss
