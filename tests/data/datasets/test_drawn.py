from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.datasets.fieldguide import FieldguideImages
from pcsearch.data.fieldguide import FieldguideOptions, draw_bird, images_of_species, species_names

GUIDE = FieldguideOptions(species=4, images_per_species=10, size=32, imbalance=1.0)
OPTIONS = DataOptions(fieldguide=GUIDE)


def test_first_pictures_of_each_species_train() -> None:
    dataset = open_dataset("fieldguide", OPTIONS)
    assert dataset.class_names == species_names(GUIDE)
    assert dataset.test is not None
    train, test = dataset.train.images, dataset.test.images
    assert isinstance(train, FieldguideImages)
    assert isinstance(test, FieldguideImages)
    for species, count in enumerate(images_of_species(GUIDE)):
        first = [index for label, index in train.pictures if label == species]
        rest = [index for label, index in test.pictures if label == species]
        assert first + rest == list(range(count))
        assert len(first) == round(0.6 * count)
        assert len(first) >= 2
        assert len(rest) >= 1


def test_pictures_and_boxes_are_the_guides() -> None:
    images = open_dataset("fieldguide", OPTIONS).train.images
    assert isinstance(images, FieldguideImages)
    species, index = images.pictures[7]
    picture, box = draw_bird(GUIDE, species, index)
    assert (np.asarray(images.image(7)) == np.asarray(picture)).all()
    assert images.box(7) == box


def test_key_depends_on_the_options() -> None:
    images = open_dataset("fieldguide", OPTIONS).train.images
    assert pickle.loads(pickle.dumps(images)).key == images.key
    other = replace(OPTIONS, fieldguide=replace(GUIDE, seed=1))
    assert open_dataset("fieldguide", other).train.images.key != images.key


def test_class_selection_keeps_the_birds() -> None:
    names = species_names(GUIDE)
    dataset = open_dataset("fieldguide", replace(OPTIONS, classes=(4, names[1].lower())))
    assert dataset.class_names == (names[1], names[3])
    assert {species for species, _ in dataset.train.images.pictures} == {1, 3}
    assert set(dataset.train.labels.tolist()) == {0, 1}
