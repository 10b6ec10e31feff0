"""The paper's two subsets of ImageNet for training from scratch: dogs, and random classes."""

from __future__ import annotations

import numpy as np

from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset
from pcsearch.data.datasets.imagenet import (
    BY_HAND,
    CITATION,
    CLASSES,
    FOLDERS,
    HOMEPAGE,
    TERMS,
    VALIDATION_IMAGES_PER_CLASS,
    imagenet_folder,
    is_imagenet,
    read_classes,
)
from pcsearch.errors import UserError

SUBSET_CLASSES = 117
_DRAW = 0x1A6E7

_DOGS = """
    n02085620 n02085782 n02085936 n02086079 n02086240 n02086646 n02086910 n02087046 n02087394
    n02088094 n02088238 n02088364 n02088466 n02088632 n02089078 n02089867 n02089973 n02090379
    n02090622 n02090721 n02091032 n02091134 n02091244 n02091467 n02091635 n02091831 n02092002
    n02092339 n02093256 n02093428 n02093647 n02093754 n02093859 n02093991 n02094114 n02094258
    n02094433 n02095314 n02095570 n02095889 n02096051 n02096177 n02096294 n02096437 n02096585
    n02097047 n02097130 n02097209 n02097298 n02097474 n02097658 n02098105 n02098286 n02098413
    n02099267 n02099429 n02099601 n02099712 n02099849 n02100236 n02100583 n02100735 n02100877
    n02101006 n02101388 n02101556 n02102040 n02102177 n02102318 n02102480 n02102973 n02104029
    n02104365 n02105056 n02105162 n02105251 n02105412 n02105505 n02105641 n02105855 n02106030
    n02106166 n02106382 n02106550 n02106662 n02107142 n02107312 n02107574 n02107683 n02107908
    n02108000 n02108089 n02108422 n02108551 n02108915 n02109047 n02109525 n02109961 n02110063
    n02110185 n02110627 n02110806 n02110958 n02111129 n02111277 n02111500 n02111889 n02112018
    n02112137 n02112350 n02112706 n02113023 n02113186 n02113624 n02113712 n02113799 n02113978
"""
DOGS = tuple(_DOGS.split())
"""The breeds that ImageNet shares with Stanford Dogs, by WordNet id.

The paper says "117 dog classes" and does not list them. ImageNet has 118 breeds, its classes 151
to 268. Stanford Dogs was taken from ImageNet. It has all of these breeds except the dalmatian
(n02110341), and three wild dogs (dingo, dhole, African hunting dog). So they share 117 breeds.
"""


def read_dogs(options: DataOptions) -> Dataset:
    """The classes `DOGS`. In `data.classes` they have ImageNet's numbers, from 0.

    Raises:
        UserError: ImageNet or one of these classes is missing.
    """
    found = imagenet_folder(DOGS_ENTRY, options.root)
    if missing := sorted(set(DOGS) - set(found.wnids)):
        raise UserError(
            f"{found.images / 'train'} lacks {len(missing)} of the {len(DOGS)} dog classes "
            f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}): unpack them too."
        )
    return read_classes(DOGS_ENTRY, found, DOGS, options)


def read_random(options: DataOptions) -> Dataset:
    """117 of ImageNet's classes, drawn by `options.instance`; numbers as in `read_dogs`.

    Raises:
        UserError: ImageNet or some of its 1,000 classes are missing: fewer would change the draw.
    """
    found = imagenet_folder(RANDOM_ENTRY, options.root)
    if len(found.wnids) != CLASSES:
        raise UserError(
            f"{found.images / 'train'} holds {len(found.wnids)} class folders; drawing from them "
            f"needs all {CLASSES}: unpack the rest."
        )
    drawn = [found.wnids[position] for position in draw_classes(options.instance)]
    return read_classes(RANDOM_ENTRY, found, drawn, options)


def draw_classes(instance: int) -> list[int]:
    """The ascending positions of one instance's classes among all classes in WordNet id order."""
    if instance < 0:
        raise UserError(f"data.instance: {instance} is no number of a draw; give 0, 1, 2, ...")
    order = np.random.default_rng((_DRAW, instance)).permutation(CLASSES)
    return sorted(order[:SUBSET_CLASSES].tolist())


_TEST_IMAGES = {"test": SUBSET_CLASSES * VALIDATION_IMAGES_PER_CLASS}

DOGS_ENTRY = CatalogEntry(
    id="imagenet_dogs",
    title="ImageNet-Dogs",
    classes=SUBSET_CLASSES,
    reader=read_dogs,
    description="the 117 dog breeds that ImageNet shares with Stanford Dogs (the paper states "
    "the number, not the list: this is our reading of it); the 5,850 ImageNet validation images "
    "of these classes are the test part. No count of training images is published for these "
    "classes; the paper's own selection has 116,000 images in total.",
    citation=CITATION,
    terms=TERMS,
    homepage=HOMEPAGE,
    images=_TEST_IMAGES,
    folder=FOLDERS[0],
    other_folders=FOLDERS[1:],
    is_in=is_imagenet,
    by_hand=BY_HAND,
    in_imagenet="its images are ImageNet's",
    is_imagenet=True,
)

RANDOM_ENTRY = CatalogEntry(
    id="imagenet_random",
    title="ImageNet-Random",
    classes=SUBSET_CLASSES,
    reader=read_random,
    description="117 random classes of ImageNet, drawn by data.instance (0, 1 and 2 stand for "
    "the paper's three instances, whose draws are unpublished and therefore differ); the 5,850 "
    "ImageNet validation images of these classes are the test part. The number of training images "
    "depends on the draw, 732 to 1,300 a class; the paper's draws have about 116,000 images in "
    "total.",
    citation=CITATION,
    terms=TERMS,
    homepage=HOMEPAGE,
    images=_TEST_IMAGES,
    folder=FOLDERS[0],
    other_folders=FOLDERS[1:],
    is_in=is_imagenet,
    by_hand=BY_HAND,
    in_imagenet="its images are ImageNet's",
    is_imagenet=True,
)
