"""A trained network as ONNX, checked with ONNX Runtime; the extra `onnx` brings both."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pcsearch.errors import UserError
from pcsearch.training.export import NetworkFacts

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_CHECKED = 16
"""Random images that both programs must answer alike."""
_TOLERANCE = 1e-3
_Floats = npt.NDArray[np.float32]


def write_onnx(module: nn.Module, facts: NetworkFacts, path: Path) -> str:
    """Write the network as one file of ONNX; returns a sentence on how it was checked.

    Input `images` `[B, 3, crop, crop]`, normalised; output `logits` `[B, N]`, for any B.

    Raises:
        UserError: the extra is missing, or the network cannot be written, or ONNX Runtime gives
            other answers.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--onnx needs {', '.join(missing)}: pip install 'pcsearch[onnx]', or leave out --onnx"
        )
    crop = facts.preprocessing.crop
    images = torch.randn(_CHECKED, 3, crop, crop, generator=torch.Generator().manual_seed(0))
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.cpu().eval(),
                (images[:2],),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
            if program is None:
                raise RuntimeError("the exporter returned nothing")
            program.save(str(path), external_data=False)
            expected = module(images).numpy()
    except Exception as error:  # the exporter raises errors of many kinds
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{facts.backbone} cannot be written as ONNX ({type(error).__name__}: {reason}); leave "
            "out --onnx"
        ) from error
    return _checked(path, images.numpy(), expected)


def _checked(path: Path, images: _Floats, expected: _Floats) -> str:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(["logits"], {"images": images})[0])
    apart = float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
    if apart > _TOLERANCE or (found.argmax(axis=1) != expected.argmax(axis=1)).any():
        raise UserError(
            f"ONNX Runtime gives other answers than PyTorch: logits differ by {apart:.2g} of their "
            "size; leave out --onnx"
        )
    return f"ONNX Runtime gives the same answers as PyTorch to {len(images)} random images."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and warnings, which are for its developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
