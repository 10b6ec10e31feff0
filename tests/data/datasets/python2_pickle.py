"""Pickles as Python 2 wrote them, opcode by opcode: what CIFAR's official files are."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np


def dumps(value: Any) -> bytes:
    """Protocol 2, as cPickle of Python 2.7 with numpy: text is byte strings."""
    return b"\x80\x02" + _value(value) + b"."


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return b"\x88" if value else b"\x89"
        case None:
            return b"N"
        case int():
            return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
        case str():
            return _value(value.encode("latin1"))
        case bytes() if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case list():
            return b"](" + b"".join(map(_value, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(_value, value)) + b"t"
        case dict():
            items = b"".join(_value(key) + _value(item) for key, item in value.items())
            return b"}(" + items + b"u"
        case np.ndarray():
            return _array(value)
    raise TypeError(type(value))


def _array(array: np.ndarray[Any, np.dtype[Any]]) -> bytes:
    kind = array.dtype.str[1:]
    order = "|" if array.dtype.itemsize == 1 else "<"
    dtype = (
        b"cnumpy\ndtype\n"
        + _value((kind, 0, 1))
        + b"R"
        + _value((3, order, None, None, None, -1, -1, 0))
    )
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        + _value((0,))
        + _value("b")
        + b"tR("
        + _value(1)
        + _value(array.shape)
        + (dtype + b"b")
        + _value(False)
        + _value(array.tobytes())
        + b"tb"
    )
