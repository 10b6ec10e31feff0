"""Oxford 102 Flowers, from its archive and its two label files."""

from __future__ import annotations

import numpy as np

from pcsearch.data.dataset import Archive, CatalogEntry, DataOptions, Dataset, Int64Array
from pcsearch.data.layouts.matlab import MatFile, read_mat
from pcsearch.data.layouts.official import (
    Listing,
    assemble,
    dataset_folder,
    holds,
    labels_of_numbers,
)
from pcsearch.errors import UserError

_NEEDED = ("imagelabels.mat", "setid.mat", "jpg/")
_SITE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_NAMES = """
pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger
lily, moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king
protea, spear thistle, yellow iris, globe-flower, purple coneflower, peruvian lily, balloon
flower, giant white arum lily, fire lily, pincushion flower, fritillary, red ginger, grape
hyacinth, corn poppy, prince of wales feathers, stemless gentian, artichoke, sweet william,
carnation, garden phlox, love in the mist, mexican aster, alpine sea holly, ruby-lipped
cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy, daffodil,
sword lily, poinsettia, bolero deep blue, wallflower, marigold, buttercup, oxeye daisy, common
dandelion, petunia, wild pansy, primula, sunflower, pelargonium, bishop of llandaff, gaura,
geranium, orange dahlia, pink-yellow dahlia, cautleya spicata, japanese anemone, black-eyed
susan, silverbush, californian poppy, osteospermum, spring crocus, bearded iris, windflower,
tree poppy, gazania, azalea, water lily, rose, thorn apple, morning glory, passion flower,
lotus, toad lily, anthurium, frangipani, clematis, hibiscus, columbine, desert-rose, tree
mallow, magnolia, cyclamen, watercress, canna lily, hippeastrum, bee balm, ball moss, foxglove,
bougainvillea, camellia, mallow, mexican petunia, bromelia, blanket flower, trumpet creeper,
blackberry lily
"""
CLASS_NAMES = tuple(" ".join(_NAMES.split()).split(", "))
"""The 102 names in the order of the labels. The label files do not contain them."""


def read(options: DataOptions) -> Dataset:
    """The official images, split and labels of all classes.

    The official validation images follow the training images; `given_val` has their rows.

    Raises:
        UserError: files are missing or disagree, or `data.classes` is wrong.
    """
    folder = dataset_folder(ENTRY, options.root, _NEEDED)
    label_file, set_file = read_mat(folder / "imagelabels.mat"), read_mat(folder / "setid.mat")
    numbers = label_file.numbers("labels")
    labels = labels_of_numbers(numbers.tolist(), len(CLASS_NAMES), label_file.path)

    def part(*sets: str) -> Listing:
        rows = np.concatenate([_rows(set_file, name, len(labels)) for name in sets])
        return Listing([f"jpg/image_{row + 1:05}.jpg" for row in rows], labels[rows])

    train = part("trnid", "valid")
    given_val = np.arange(len(set_file.numbers("trnid")), len(train.files), dtype=np.int64)
    return assemble(
        ENTRY.id, folder, CLASS_NAMES, train, part("tstid"), options, given_val=given_val
    )


def _rows(set_file: MatFile, name: str, images: int) -> Int64Array:
    """The images of a set, counted from 0."""
    rows = set_file.numbers(name) - 1
    if np.any((rows < 0) | (rows >= images)):
        raise UserError(
            f"{set_file.path}: {name} goes from image {rows.min() + 1} to {rows.max() + 1}, but "
            f"imagelabels.mat has the labels of images 1 to {images}; download both files again."
        )
    return rows


def _file(name: str, size_bytes: int, md5: str, *, unpack: bool) -> Archive:
    return Archive(name, (f"{_SITE}{name}",), size_bytes, f"md5:{md5}", "flowers-102", unpack)


ENTRY = CatalogEntry(
    id="flowers102",
    title="Oxford 102 Flowers",
    classes=102,
    reader=read,
    description="8,189 photographs of 102 flowers that are common in the United Kingdom; "
    "official split: 1,020 train, 1,020 validation, 6,149 test.",
    citation="M.-E. Nilsback, A. Zisserman. Automated Flower Classification over a Large Number "
    "of Classes. Indian Conference on Computer Vision, Graphics and Image Processing, 2008.",
    terms="no licence stated; the photographs belong to their authors",
    homepage=_SITE,
    images={"train": 1020, "val": 1020, "test": 6149},
    folder="flowers-102",
    is_in=holds(*_NEEDED),
    archives=(
        _file("102flowers.tgz", 344_862_509, "52808999861908f626f3c1f4e79d11fa", unpack=True),
        _file("imagelabels.mat", 502, "e0620be6f572b9609742df49c70aed4d", unpack=False),
        _file("setid.mat", 14_989, "a5357ecc9cb78c4bef273ce3793fc85c", unpack=False),
    ),
    samples_per_class=10,
)
