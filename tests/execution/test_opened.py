"""What the trials of a process share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pcsearch.execution import worker_data as opened
from pcsearch.execution.preflight.datasets import open_datasets, prepare_datasets, split_of
from pcsearch.execution.worker_data import load_recipe_cached, publish_labels, training_images
from pcsearch.recipe import load_recipe


def test_recipe_text_is_read_as_it_was_written() -> None:
    words = {"name": "2024-05-01", "data.classes": "[yes, no, on, 1:30]", "data.root": "0x1F"}
    recipe = load_recipe("cub200", [f"{key}={value}" for key, value in words.items()])
    assert recipe.data.classes == ("yes", "no", "on", "1:30")
    assert load_recipe_cached(recipe.dump_yaml()) == recipe


def test_workers_open_what_was_handed_over_and_fall_back_on_the_dataset(tmp_path: Path) -> None:
    recipe = load_recipe(
        {
            "datasets": ["digits"],
            "backbones": ["compact_cnn"],
            "weights": "none",
            "asha": {"max_epochs": 1},
            "image": {"resize": 12, "crop": 8},
        }
    )
    cache = tmp_path / "cache"
    (prepared,) = prepare_datasets(recipe, open_datasets(recipe), cache, lambda *_: None)
    publish_labels(prepared, tmp_path)
    text = recipe.dump_yaml()
    handed = training_images(text, "digits", str(cache), str(tmp_path))
    assert handed.store.path == prepared.training.store.path
    assert np.array_equal(handed.labels, prepared.training.labels)
    assert opened.test_images(text, "digits", str(cache), str(tmp_path)).labels.shape == (359,)
    splits = [split_of(recipe, handed, repeat) for repeat in (0, 1, 0)]
    assert splits[0] is splits[2], "the next trial of this worker does not split the images anew"
    assert len({split.hash for split in splits}) == 2

    # another node: the same files, but nothing decoded yet
    other = str(tmp_path / "other")
    decoded = training_images(text, "digits", other, str(tmp_path))
    assert decoded.store.path.parent == tmp_path / "other"
    assert np.array_equal(decoded.labels, handed.labels)
    assert np.array_equal(decoded.store.images, handed.store.images)

    # divided otherwise before: the same labels, and so the same split, under another name
    for held_out in ("0" * 16, "1" * 16):
        divided = replace(handed, held_out=held_out, splits={})
        split = split_of(recipe, divided, 0)
        assert np.array_equal(split.fit, splits[0].fit)
        assert split.hash not in {one.hash for one in splits}
        splits.append(split)

    # nothing was handed over at all
    bare = training_images(text, "digits", other, str(tmp_path / "nothing"))
    assert np.array_equal(bare.labels, handed.labels)
