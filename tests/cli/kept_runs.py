"""Runs whose networks have known weights, without training: the rest is as a campaign writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from pcsearch.models.registry import build_backbone
from pcsearch.runs.folder import new_run
from pcsearch.search.journal.journal_file import FileJournal
from pcsearch.search.plan import Plan
from pcsearch.search.trial import weights_file
from pcsearch.training.export import save_weights
from tests.cli.campaigns import arm, drive, plan, silent

CLASSES = ("azure", "crimson", "emerald")
HOW: dict[str, Any] = {
    "resize": 40, "aspect": "warp", "crop": 32, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3],
}  # fmt: skip
STUDY = "images/compact_cnn"


def one_study(name: str = STUDY, **changes: Any) -> Plan:
    return plan((name,), (arm("control", 2), arm("pc", 2)), finalists=(1, 2), **changes)


def write_kept_run(
    folder: Path,
    name: str = "kept",
    one: Plan | None = None,
    *,
    arms: Sequence[str] = ("control", "pc"),
    classes: Sequence[str] = CLASSES,
    how: Mapping[str, Any] = HOW,
    options: Mapping[str, object] | None = None,
    status: str = "complete",
    **driven: Any,
) -> Path:
    """A campaign under FOLDER/runs whose `arms` have weights: the arm's number seeds them."""
    with (
        new_run(folder / "runs", name, "name: demo\n", {"weights": ["none"]}) as run,
        FileJournal(run.journal) as journal,
    ):
        campaign = drive(one or one_study(), listener=silent, journal=journal, **driven)
        if status:
            campaign.end(status)  # type: ignore[arg-type]
        for trial in campaign.state.trials.values():
            spec = trial.spec
            if not spec.keep_weights or spec.arm not in arms or trial.state != "COMPLETE":
                continue
            dataset, backbone = spec.study.split("/", 1)
            network = build_backbone(
                backbone, len(classes), options=options or {}, seed=arms.index(spec.arm)
            )
            with torch.no_grad():  # random heads of random bodies answer nearly alike
                for parameter in network.head_parameters():
                    parameter.mul_(30)
            metadata = {
                "backbone": backbone, "backbone_options": options or {}, "dataset": dataset,
                "class_names": list(classes), "preprocessing": dict(how), "trial": spec.trial,
                "config": spec.config, "variant": spec.variant,
            }  # fmt: skip
            save_weights(run.weights / weights_file(spec), network, metadata)
    return run.path


def answers(backbone: str, weights: Path, files: Sequence[Path], how: Any = HOW) -> Tensor:
    """Probabilities [n, N] as anyone would compute them: torchvision's transforms, image by image.

    Without the product's decoder, loader and checks; the files must be plain RGB.
    """
    from safetensors.torch import load_file

    side = how["resize"]
    prepare = transforms.Compose(
        [
            transforms.Resize((side, side) if how["aspect"] == "warp" else side),
            transforms.CenterCrop(side),
            transforms.CenterCrop(how["crop"]),
            transforms.ToTensor(),
            transforms.Normalize(how["mean"], how["std"]),
        ]
    )
    state = load_file(weights)
    network = build_backbone(backbone, len(CLASSES)).module
    network.load_state_dict(state)
    network.eval()
    with torch.no_grad():
        return torch.cat(
            [network(prepare(Image.open(file))[None]).double().softmax(1) for file in files]
        )


def save_odd_images(folder: Path) -> None:
    """Images with alpha, 16 bits, one pixel, EXIF orientation and odd names; two broken ones."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.new("RGBA", (50, 40), (200, 10, 10, 30)).save(folder / "alpha.png")
    deep = (rng.random((40, 50)) * 65535).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.new("RGB", (1, 1), (1, 2, 3)).save(folder / "one.png")
    Image.new("RGB", (30, 30)).save(folder / '=1+1 "q",x.png')
    Image.new("RGB", (30, 30)).save(str(folder).encode() + b"/m\xf6we.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0junk")
    (folder / "empty.jpg").write_bytes(b"")
