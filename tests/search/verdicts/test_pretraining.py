"""Published weights and the images that judge them: refused, said, or unknown."""

from __future__ import annotations

import pytest
from rich.console import Console

from pcsearch.cli.views.plan import Rates, plan_view
from pcsearch.data.catalog import DATASETS
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe, parse_recipe
from pcsearch.reporting.notes import notes
from pcsearch.reporting.summary import summarise
from pcsearch.search.journal.plan_check import read_plan
from pcsearch.search.plan import DatasetFacts, ImageCounts, Plan, StudyPlan, build_plan
from pcsearch.search.verdicts.power import overlap
from tests.reporting.simulated_campaigns import campaign_plan, other_study, simulate

NEVER = ("digits", "fieldguide", "images", "manifest", "cifar10", "svhn", "cars", "nabirds")
IMAGENET = ("imagenet", "imagenet_dogs", "imagenet_random")
COUNTS = ImageCounts(fit=80, val=20, train=100, test=30)


def recipe_text(dataset: str, *lines: str) -> str:
    first = f"name: n\ndatasets: [{dataset}]\nbackbones: [resnet50, vgg16]"
    return "\n".join((first, *lines, "asha: {max_epochs: 9}\n"))


def planned(dataset: str, weights: str) -> Plan:
    text = recipe_text(dataset, f"weights: {weights}", "data: {allow_pretraining_overlap: true}")
    return build_plan(parse_recipe(text), [DatasetFacts(dataset, 120, COUNTS, "0123456789abcdef")])


@pytest.mark.parametrize("dataset", IMAGENET)
@pytest.mark.parametrize("weights", ["imagenet", "{vgg16: imagenet, resnet50: none}"])
def test_imagenet_weights_do_not_meet_imagenet(dataset: str, weights: str) -> None:
    recipe = parse_recipe(recipe_text(dataset, f"weights: {weights}")).to_mapping()  # an old run's
    with pytest.raises(UserError, match=f"weights is imagenet for .*validate {dataset}: give"):
        load_recipe(recipe)
    for remedy in ("weights=none", "data.allow_pretraining_overlap=true"):
        assert load_recipe(recipe, [remedy]).datasets == (dataset,)


@pytest.mark.parametrize("dataset", ["dogs", "cub200", *NEVER[4:]])
def test_what_only_overlaps_is_not_refused(dataset: str) -> None:
    recipe = parse_recipe(recipe_text(dataset, "weights: imagenet")).to_mapping()
    assert load_recipe(recipe).weights == "imagenet"


def test_a_plan_knows_which_studies_began_with_imagenet() -> None:
    plan = planned("dogs", "{vgg16: none}")
    assert [study.pretrained_on for study in plan.studies] == ["imagenet", None]
    assert [len(overlap(study)) for study in plan.studies] == [1, 0]
    assert [s.pretrained_on for s in planned("dogs", "my.pth").studies] == [None, None]


def test_every_entry_says_what_is_known() -> None:
    known = {name for name, entry in DATASETS.items() if entry.in_imagenet}
    assert known == {"dogs", "cub200", *IMAGENET}
    assert {name for name, entry in DATASETS.items() if entry.is_imagenet} == set(IMAGENET)
    for name in NEVER:
        assert not any(overlap(study) for study in planned(name, "imagenet").studies)


@pytest.mark.parametrize(
    ("dataset", "fact"),
    [
        ("dogs", "Stanford Dogs was built from ImageNet's images."),
        ("cub200", "The authors of CUB-200-2011 warn that some of its images are in ImageNet."),
        ("imagenet_dogs", "Its images are ImageNet's."),
    ],
)
def test_plan_and_summary_say_it(dataset: str, fact: str) -> None:
    console = Console(width=400)
    with console.capture() as shown:
        console.print(plan_view(planned(dataset, "imagenet"), Rates(None, None, 1)))
    line = f"{fact} ImageNet weights may have been trained on images that validate or test here"
    assert f"{dataset}/vgg16: {line}" in shown.get()
    lines = said(pretrained(dataset, "resnet50"))
    assert [fact in line for line in lines].count(True) == 1


def pretrained(dataset: str, backbone: str) -> StudyPlan:
    return other_study(dataset, backbone, 10).model_copy(update={"pretrained_on": "imagenet"})


def said(*studies: StudyPlan) -> list[str]:
    state = simulate(campaign_plan(*studies))
    return notes(summarise(state, "complete"), state)


def test_a_summary_says_it_once_a_dataset() -> None:
    lines = said(other_study("dogs", "vgg16", 10), *(pretrained("dogs", b) for b in ("a", "b")))
    assert sum("ImageNet weights" in line for line in lines) == 1
    assert not any("ImageNet weights" in line for line in said(other_study("dogs", "vgg16", 10)))


def test_journals_from_before_say_nothing_and_strange_ones_are_refused() -> None:
    raw = planned("dogs", "imagenet").model_dump(mode="json")
    del raw["studies"][0]["pretrained_on"]
    assert read_plan(raw).studies[0].pretrained_on is None
    raw["studies"][0]["pretrained_on"] = "the moon"
    with pytest.raises(ValueError, match=r"pretrained_on"):
        read_plan(raw)
