"""Writes a trained network as a folder that others can use, see `exported_folder`."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pcsearch.code_consent import is_reference
from pcsearch.data.cache import default_cache_folder
from pcsearch.data.labels_file import load_test
from pcsearch.data.loaders import EvalBatches
from pcsearch.errors import UserError
from pcsearch.execution.exported_folder import (
    CARD,
    CLASS_NAMES,
    CONFIG,
    FORMAT,
    ONNX,
    SCRIPT,
    WEIGHTS,
    file_digest,
    read_exported,
    sealed,
)
from pcsearch.execution.kept_networks import KeptNetwork, KeptStudy
from pcsearch.execution.onnx_export import write_onnx
from pcsearch.execution.script_template import script_for
from pcsearch.io import expanded
from pcsearch.models.names import OURS, TIMM
from pcsearch.models.torchvision import builder_arguments
from pcsearch.reporting.model_card import model_card
from pcsearch.training.export import NetworkFacts
from pcsearch.version import __version__

_BATCH = 32


@dataclass(frozen=True)
class Exported:
    """A folder that was written: its files, and a sentence on which network it holds."""

    folder: Path
    why: str
    files: tuple[str, ...]
    notes: tuple[str, ...]


def export_network(kept: KeptStudy, to: str | Path, *, onnx: bool = False) -> Exported:
    """Write the chosen network of a study to a new or empty folder.

    The folder appears whole or not at all.

    Args:
        kept: The study of a run; its arm `best` is written.
        to: The folder.
        onnx: Also write `model.onnx`, and check it with ONNX Runtime.

    Raises:
        UserError: the folder is not empty or cannot be written, or the extra `onnx` is missing.
    """
    if kept.state is None or kept.folder is None:
        raise UserError(
            f"{kept.network.file.parent} is an exported network already: copy the folder, or name "
            "the run"
        )
    target, network = expanded(to), kept.network
    _check_target(target)
    module, notes = network.load(), []
    try:
        with _beside(target) as folder:
            shutil.copyfile(network.file, folder / WEIGHTS)
            _write_json(folder / CLASS_NAMES, list(network.facts.class_names))
            script = script_for(framework_of(network.facts))
            if script is None:
                notes.append(
                    f"There is no {SCRIPT}: {network.facts.backbone} is your own code. Use "
                    "pcsearch.load_network, or your own program with the state dict."
                )
            else:
                (folder / SCRIPT).write_text(script, encoding="utf-8")
            if onnx:
                test = _test_batches(kept, network.facts)
                notes.append(write_onnx(module, network.facts, folder / ONNX, test))
            (folder / CARD).write_text(_card(kept, network, onnx=onnx), encoding="utf-8")
            _write_json(folder / CONFIG, sealed(_config(kept, network, folder)))
            read_exported(folder)
            files = tuple(sorted(path.name for path in folder.iterdir()))
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
    return Exported(target, kept.why, files, tuple(notes))


def _test_batches(kept: KeptStudy, facts: NetworkFacts) -> Iterator[Tensor] | None:
    """The run's test images as the network gets them; None if this machine has not decoded them."""
    if kept.folder is None:
        return None
    name = f"data/{facts.dataset}.test.npz"
    with tempfile.TemporaryDirectory(prefix="pcsearch-") as downloads:
        file = kept.folder.file(name, Path(downloads))
        test = None if file is None else load_test(file, default_cache_folder())
    if test is None or test.store.images.shape[1] != facts.resize:
        return None
    batches = EvalBatches(
        test.store.images,
        test.labels,
        None,
        facts.preprocessing,
        batch_size=_BATCH,
        device="cpu",
        residency="host",
    )
    return (images for images, _ in batches)


def framework_of(facts: NetworkFacts) -> str:
    """The library that builds a network: torchvision, timm, pcsearch, or own."""
    if is_reference(facts.backbone):
        return "own"
    if facts.backbone in OURS:
        return "pcsearch"
    return "timm" if facts.backbone.startswith(TIMM) else "torchvision"


def _check_target(target: Path) -> None:
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise UserError(f"--to {target} is a file or a link; choose a new folder")
        if target.is_dir() and any(target.iterdir()):
            raise UserError(f"--to {target} is not empty; choose a new folder")
        if not target.absolute().parent.is_dir():
            raise UserError(f"--to {target}: there is no folder {target.absolute().parent}")
    except OSError as error:
        raise UserError(f"--to {target} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder that takes the name `target` if the block succeeds, and is removed if it fails."""
    parent = target.absolute().parent
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=parent))
    try:
        folder.chmod(0o755)  # mkdtemp lets nobody else read it
        yield folder
        folder.replace(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_json(path: Path, content: object) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _config(kept: KeptStudy, network: KeptNetwork, folder: Path) -> dict[str, Any]:
    facts = network.facts
    name, classes = facts.backbone, len(facts.class_names)
    config: dict[str, Any] = {
        "format": FORMAT,
        "pcsearch": __version__,
        "study": kept.study,
        "arm": network.arm,
        **facts.to_json(),
        "num_classes": classes,
        "library": framework_of(facts),
    }
    if config["library"] == "torchvision":
        config["arguments"] = builder_arguments(name, facts.options)
    if config["library"] == "timm":  # what timm.create_model("local-dir:FOLDER") reads
        crop = facts.preprocessing.crop
        config |= {
            "architecture": name.removeprefix(TIMM).partition(".")[0],
            "model_args": dict(facts.options),
            "pretrained_cfg": {
                "num_classes": classes,
                "input_size": [3, crop, crop],
                "mean": list(facts.preprocessing.mean),
                "std": list(facts.preprocessing.std),
                "interpolation": "bilinear",
                "crop_pct": crop / facts.resize,
                "crop_mode": "squash" if facts.aspect == "warp" else "center",
            },
        }
    hashed = sorted(path.name for path in folder.iterdir() if path.name != CARD)
    return {**config, "files": {one: file_digest(folder / one) for one in hashed}}


def _card(kept: KeptStudy, network: KeptNetwork, *, onnx: bool) -> str:
    if kept.state is None or kept.folder is None or kept.summary is None:
        raise ValueError("a model card needs the run")
    return model_card(
        kept.summary,
        kept.state.plan.study(kept.study),
        network.arm,
        network.facts.to_json(),
        kept.folder.read_text("environment.json"),
        library=framework_of(network.facts),
        onnx=onnx,
    )
