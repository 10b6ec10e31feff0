"""Predictions in a file: what a network answered to each image, for the analysis afterwards.

Log-probabilities are kept in float16, because probabilities below 6e-8 would become 0 there. Then
neither a log-likelihood nor a temperature could be computed. The likeliest class is kept too:
rounding may make the first two equal.

The file is one of safetensors, which holds numbers and nothing that runs. The journal holds its
SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from pcsearch.io import LARGEST_BYTES, human_bytes, replacing

_Ints = npt.NDArray[np.int32]
_Halves = npt.NDArray[np.float16]

LOWEST = float(np.finfo(np.float16).min)
"""Lowest log-probability that is kept, in nats."""

_KINDS = {
    "log_probabilities": (np.float16, 2),
    "predicted": (np.int32, 1),
    "labels": (np.int32, 1),
    "rows": (np.int32, 1),
    "names": (np.uint8, 1),
}


@dataclass(frozen=True)
class ImagePredictions:
    """What one network answered to I images, single crop.

    Attributes:
        log_probabilities: [I, N] in nats.
        predicted: [I] likeliest class.
        labels: [I] correct class.
        rows: [I] the images' rows among the decoded images.
        class_names: N names.
        image_names: I names; empty if none were known.
    """

    log_probabilities: _Halves
    predicted: _Ints
    labels: _Ints
    rows: _Ints
    class_names: tuple[str, ...]
    image_names: tuple[str, ...] = ()


def save_predictions(path: Path, predictions: ImagePredictions) -> str:
    """Write the file atomically; returns its SHA-256 in hex.

    Raises:
        OSError: it cannot be written.
        ValueError: it would be larger than readers accept.
    """
    names = [list(predictions.class_names), list(predictions.image_names)]
    content = save(
        {
            "log_probabilities": np.ascontiguousarray(predictions.log_probabilities),
            "predicted": predictions.predicted,
            "labels": predictions.labels,
            "rows": predictions.rows,
            "names": np.frombuffer(json.dumps(names).encode(), np.uint8),
        }
    )
    if len(content) > LARGEST_BYTES:
        raise ValueError(
            f"the predictions take {human_bytes(len(content))}, but at most "
            f"{human_bytes(LARGEST_BYTES)} are kept"
        )
    with replacing(path) as written:
        written.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_predictions(content: bytes, sha256: str) -> ImagePredictions:
    """The predictions of a file with this content.

    Raises:
        ValueError: it is another file than the one with this SHA-256, or is damaged.
    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("it is not the file that the journal names")
    try:
        arrays = load(content)
    except Exception as error:  # safetensors raises several kinds
        raise ValueError(f"it is no safetensors file ({error})") from error
    for name, (kind, dimensions) in _KINDS.items():
        array = arrays.get(name)
        if array is None or array.dtype != kind or array.ndim != dimensions:
            raise ValueError(f"its {name} are missing or of another type")
    class_names, image_names = _names(arrays["names"])
    images, classes = arrays["log_probabilities"].shape
    for name in ("predicted", "labels", "rows"):
        if len(arrays[name]) != images:
            raise ValueError(f"its {name} are not one for each of {images} images")
    for name in ("predicted", "labels"):
        if images and not (arrays[name].min() >= 0 and arrays[name].max() < classes):
            raise ValueError(f"its {name} are not below {classes}")
    if not images or len(class_names) != classes or len(image_names) not in (0, images):
        raise ValueError(f"it does not name {images} images of {classes} classes")
    if np.isnan(arrays["log_probabilities"]).any() or arrays["log_probabilities"].max() > 0:
        raise ValueError("its log_probabilities are not 0 or less")
    return ImagePredictions(
        arrays["log_probabilities"],
        arrays["predicted"],
        arrays["labels"],
        arrays["rows"],
        class_names,
        image_names,
    )


def _names(array: npt.NDArray[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        classes, images = json.loads(array.tobytes())
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("its names are no JSON") from error
    for names in (classes, images):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("its names are no list of texts")
    return tuple(classes), tuple(images)
