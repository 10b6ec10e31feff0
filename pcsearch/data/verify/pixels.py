"""What pixels and kinds of files say about a dataset: black images, and classes told by files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcsearch.data.dataset import Int64Array
from pcsearch.data.pixel_range import range_fault
from pcsearch.data.verify.scan import Scanned

LEAST_CONTRAST = 32
"""A photograph with a smaller difference between its values, of 0 to 255, is nearly one colour."""

_DISTINCT = 0.5
_FEW_FILES = 3


@dataclass(frozen=True)
class ClassFiles:
    """A class whose files differ in kind from those of the other classes.

    Attributes:
        name: the class.
        kind: format and mode that distinguish it most, for example `PNG, L, 16-bit`.
        share: share of this kind in the class.
        elsewhere: share of this kind in the other classes.
    """

    name: str
    kind: str
    share: float
    elsewhere: float


def range_faults(names: Sequence[str], tested: Sequence[bool], scanned: list[Scanned]) -> list[str]:
    """The faults for which a campaign refuses the training or the test images, in sentences.

    Args:
        names: each image's name.
        tested: whether each is a test image.
        scanned: their facts.
    """
    faults = []
    for in_test in (False, True):
        own = [i for i, there in enumerate(tested) if there == in_test]
        deep = [(names[i], one) for i in own if (one := scanned[i].values) is not None]
        if (fault := range_fault(deep, len(own))) is not None:
            faults.append(fault)
    return faults


def distinct_files(
    labels: Int64Array, class_names: Sequence[str], scanned: list[Scanned]
) -> list[ClassFiles]:
    """The classes that a network could tell by the kind of file, in their order.

    These are classes for which the shares of the kinds differ from those in all other classes by
    half of the images or more (total variation).

    Args:
        labels: [m] class numbers.
        class_names: N names.
        scanned: the m images' facts.
    """
    known = [i for i, one in enumerate(scanned) if one.file_kind]
    kinds, columns = np.unique([scanned[i].file_kind for i in known], return_inverse=True)
    counts = np.zeros((len(class_names), len(kinds)))
    np.add.at(counts, (labels[known], columns.reshape(-1)), 1)
    total = counts.sum(axis=0)
    found = []
    for name, row in zip(class_names, counts, strict=True):
        rest = total - row
        if row.sum() < _FEW_FILES or rest.sum() == 0:
            continue
        share, elsewhere = row / row.sum(), rest / rest.sum()
        if np.abs(share - elsewhere).sum() / 2 >= _DISTINCT:
            most = int(np.argmax(share - elsewhere))
            found.append(
                ClassFiles(name, str(kinds[most]), float(share[most]), float(elsewhere[most]))
            )
    return found
