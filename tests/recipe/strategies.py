"""Strategies: valid recipes, junk values, and recipes with mistakes in them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from pcsearch.arms import ARMS
from pcsearch.recipe import load_recipe

QUICKSTART = load_recipe("quickstart").to_mapping()

TEXT = st.text(min_size=1, max_size=12).filter(lambda t: t.isprintable() and t.strip() == t)
SMALL = st.floats(1e-6, 0.4, allow_nan=False)
SPACES = st.one_of(
    SMALL,
    st.tuples(SMALL, st.floats(0.5, 0.9)).map(list),
    st.builds(lambda low, log: {"low": low, "high": 0.9, "log": log}, SMALL, st.booleans()),
    st.lists(SMALL, min_size=1, max_size=3, unique=True).map(lambda c: {"choices": c}),
)
RECIPES = st.fixed_dictionaries(
    {
        "datasets": st.just(["digits", "fieldguide"]),
        "backbones": st.just(["resnet50", "vgg16", "my_models:net"]),
        "asha": st.fixed_dictionaries(
            {"max_epochs": st.integers(5, 90), "grace_epochs": st.just(4)}
        ),
    },
    optional={
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True),
        "weights": st.one_of(TEXT.map(lambda t: f"./{t}"), st.just({"vgg16": "1e-4"})),
        "metric": st.sampled_from(["top1", "mean_class_top1"]),
        "data": st.fixed_dictionaries(
            {},
            optional={
                "root": TEXT,
                "classes": st.lists(st.one_of(TEXT, st.integers(0, 300)), min_size=2, unique=True),
            },
        ),
        "image": st.fixed_dictionaries(
            {}, optional={"per_dataset": st.just({"digits": {"flip": False}})}
        ),
        "backbone_options": st.just({})
        | st.builds(
            lambda v: {"my_models:net": {"a": v}}, st.one_of(TEXT, SMALL, st.none(), st.booleans())
        ),
        "search": st.fixed_dictionaries(
            {},
            optional={
                "lr": SPACES | st.just("auto"),
                "weight_decay": st.none() | SPACES,
                "lambda_over_n": SPACES,
                "label_smoothing": SPACES,
                "per_backbone": st.builds(
                    lambda s: {"vgg16": {"lr": s}}, st.none() | SPACES | st.just("auto")
                ),
                "arms": st.lists(st.sampled_from(list(ARMS)[1:]), unique=True),
                "startup_trials": st.none() | st.integers(1, 20),
                "prior": st.lists(st.sampled_from(["a", "runs/b", "s3://c/d"]), unique=True),
            },
        ),
        "train": st.fixed_dictionaries(
            {},
            optional={
                "lr": SMALL,
                "clip_norm": st.none() | SMALL,
                "per_backbone": st.builds(lambda v: {"vgg16": {"lr": v}}, SMALL),
            },
        ),
        "resources": st.fixed_dictionaries({"max_concurrent": st.just("auto") | st.integers(1, 9)}),
        "budget": st.fixed_dictionaries({"hours": st.none() | SMALL})
        | st.fixed_dictionaries({"cost": SMALL, "price_per_node_hour": SMALL}),
    },
)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1e400", "9" * 5000, "nan", "01", "-1", "yes"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid recipe in which some values became junk and some keys were lost or added."""
    data = copy.deepcopy(QUICKSTART)
    for _ in range(draw(st.integers(1, 4))):
        target: Any = data
        while True:
            key = draw(st.sampled_from(sorted(target)))
            if not isinstance(target[key], dict) or not target[key] or draw(st.integers(0, 3)) == 0:
                break
            target = target[key]
        action = draw(st.sampled_from(["junk", "junk", "junk", "drop", "add"]))
        if action == "drop" and len(target) > 1:
            del target[key]
        elif action == "add":
            target[draw(st.text(max_size=6))] = draw(JUNK)
        else:
            target[key] = draw(JUNK)
    return data
