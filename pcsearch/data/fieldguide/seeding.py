"""Independent random streams named by (seed, purpose, indices): no order of calls matters."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for, so that no two uses ever share one."""

    GENUS = 0
    SPECIES = 1
    IMAGE = 2
    NAMES = 3


def stream(seed: int, purpose: Purpose, *indices: int) -> np.random.Generator:
    """A generator that depends on its arguments alone."""
    # The spawn key keeps (1, 2) and (1, 2, 0) apart, which padding the entropy would not.
    key = (int(purpose), len(indices), *indices)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
