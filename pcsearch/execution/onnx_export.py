"""A trained network as ONNX, checked with ONNX Runtime; the extra `onnx` brings both."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.training.export import NetworkFacts

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_RANDOM = 16
"""Random images that both programs must answer alike, without test images."""
_TOLERANCE = 1e-3


def write_onnx(
    module: nn.Module, facts: NetworkFacts, path: Path, test: Iterable[Tensor] | None
) -> str:
    """Write the network as one file of ONNX; returns a sentence on how it was checked.

    Input `images` `[B, 3, crop, crop]`, normalised; output `logits` `[B, N]`, for any B.

    Args:
        module: The network.
        facts: What is needed to use it.
        path: The file.
        test: Batches of the test images, on which both programs must agree; None takes random ones.

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
    images = torch.randn(_RANDOM, 3, crop, crop, generator=torch.Generator().manual_seed(0))
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
    except Exception as error:  # the exporter raises errors of many kinds
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{facts.backbone} cannot be written as ONNX ({type(error).__name__}: {reason}); leave "
            "out --onnx"
        ) from error
    checked = _check(module, path, [images] if test is None else test)
    what = "random" if test is None else "test"
    return f"ONNX Runtime gives the same answers as PyTorch to {checked:,} {what} images."


@torch.no_grad()
def _check(module: nn.Module, path: Path, batches: Iterable[Tensor]) -> int:
    """Compare both programs; returns the number of images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = 0
    for batch in batches:
        expected = module(batch).numpy()
        found = np.asarray(session.run(["logits"], {"images": batch.contiguous().numpy()})[0])
        size = max(1.0, float(np.abs(expected).max()))
        apart = float(np.abs(found - expected).max()) / size
        if not apart <= _TOLERANCE:
            raise UserError(
                f"ONNX Runtime gives other answers than PyTorch: logits differ by {apart:.2g} of "
                "their size; leave out --onnx"
            )
        likeliest = expected.argmax(axis=1)
        rows = np.arange(len(batch))
        # a tie within rounding may be broken either way
        tied = expected.max(axis=1) - expected[rows, found.argmax(axis=1)] <= _TOLERANCE * size
        if not ((found.argmax(axis=1) == likeliest) | tied).all():
            raise UserError("ONNX Runtime names other classes than PyTorch; leave out --onnx")
        images += len(batch)
    return images


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
