"""Exported weights: a safetensors file with the metadata needed to use it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save

from pcsearch.io import replacing
from pcsearch.printable import encodable

if TYPE_CHECKING:
    from pcsearch.models import Backbone

_FORMAT = {"format": "pt"}  # what other tools look for in a safetensors file of PyTorch weights


def save_weights(path: Path, backbone: Backbone, metadata: Mapping[str, Any]) -> None:
    """Write the network's state dict to `path` as safetensors, atomically.

    The same network and metadata give the same bytes, in every process. Each value of `metadata`
    (class names, preprocessing, λ, ...) is stored as JSON under its key. Tensors that share memory
    are written once each. The file can serve as a backbone's weights.

    Raises:
        TypeError: JSON cannot hold a value.
        ValueError: the metadata key "format", which belongs to the file format.
    """
    if "format" in metadata:
        raise ValueError('the metadata key "format" belongs to the file format; use another key')
    texts = {
        key: encodable(json.dumps(value, ensure_ascii=False)) for key, value in metadata.items()
    }
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in backbone.module.state_dict().items()
    }
    content = _in_order(save(tensors, metadata={**texts, **_FORMAT}))
    with replacing(path) as written:
        written.write_bytes(content)  # safetensors' save_file would give it the mode 0600


def _in_order(content: bytes) -> bytes:
    """The same file with sorted metadata: safetensors writes them in another order each time.

    A file begins with the length of its header (8 bytes, little-endian). The header is JSON, padded
    with spaces to a multiple of 8 bytes. Tensor offsets count from the header's end.
    """
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[end:]
