"""What cheaper filters change: the copies that are found, the pixels, a network's answers.

    python benchmarks/filters.py copies --data DIR                 `verify`'s near-duplicates
    python benchmarks/filters.py pixels --data DIR --weights FILE  PyTorch's resize, not Pillow's

DIR holds CUB_200_2011/, FILE is torchvision's MobileNetV2. `copies`: every ninth photograph,
changed in six ways, is looked for among the originals. `pixels`: decoding and resizing in turns,
on one thread; the values that differ at 256 pixels; and the answers, of 1,000 classes, that differ
at 224.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # tests/data/test_duplicates.py

from pcsearch.data.duplicates import fingerprint, near_duplicates
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.models.registry import build_backbone
from tests.data.test_duplicates import COPIES

ROUNDS, TIMED, RESIZE, CROP = 7, 600, 256, 224
BILINEAR, BOX = Image.Resampling.BILINEAR, Image.Resampling.BOX


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("copies", "pixels"))
    parser.add_argument("--data", type=Path, required=True, help="holds CUB_200_2011/")
    parser.add_argument("--weights", type=Path, help="of MobileNetV2, for its answers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted((options.data / "CUB_200_2011" / "images").glob("*/*.jpg"))
    if options.part == "copies":
        copies(files[::9][:300])
    else:
        pixels(files[::2], options.weights)


def copies(files: list[Path]) -> None:
    originals = [_opened(file) for file in files]
    for name, side, how in (
        ("bilinear", 128, BILINEAR),
        ("box", 128, BOX),
        ("bilinear", 256, BILINEAR),
    ):
        prints = _prints(originals, side, how)
        found = []
        for change, changed in COPIES.items():
            others = _prints([changed(image) for image in originals], side, how)
            clusters = near_duplicates(np.concatenate([prints, others]))
            share = (clusters[len(files) :] == clusters[: len(files)]).mean()
            found.append(f"{change} {100 * share:.1f} %")
        print(f"{name}, {side} pixels: {', '.join(found)}", flush=True)


def _prints(images: list[Image.Image], side: int, how: Image.Resampling) -> np.ndarray:
    return np.array([fingerprint(np.asarray(image.resize((side, side), how))) for image in images])


def pixels(files: list[Path], weights: Path | None) -> None:
    ways: dict[str, Callable[[Path], Tensor]] = {"Pillow": _by_pillow, "PyTorch": _by_torch}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name in list(ways) if number % 2 else reversed(list(ways)):
            began = time.perf_counter()
            for file in files[:TIMED]:
                ways[name](file)
            times[name].append(1e3 * (time.perf_counter() - began) / len(files[:TIMED]))
    for name, spent in times.items():
        print(f"{name}: {statistics.median(spent[1:]):.3f} ms an image", flush=True)
    pairs = [(_by_pillow(file), _by_torch(file)) for file in files]
    apart = [(one.int() - other.int()).abs() for one, other in pairs]
    share = torch.stack([(one > 0).float().mean() for one in apart]).mean().item()
    print(f"{100 * share:.2f} % of the values differ, by {max(int(one.max()) for one in apart)}")
    if weights is not None:
        answers = [_answers([pair[way] for pair in pairs], weights) for way in (0, 1)]
        differ = int((answers[0] != answers[1]).sum())
        print(f"{differ} of {len(files)} answers of MobileNetV2 differ")


def _by_pillow(file: Path) -> Tensor:
    image = _opened(file).resize((RESIZE, RESIZE), BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _by_torch(file: Path) -> Tensor:
    image = torch.from_numpy(np.array(_opened(file))).permute(2, 0, 1)[None]
    return F.interpolate(image, size=(RESIZE, RESIZE), mode="bilinear", antialias=True)[0]


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


@torch.inference_mode()
def _answers(images: list[Tensor], weights: Path) -> Tensor:
    network = build_backbone("mobilenet_v2", 1000, weights=str(weights)).module.eval()
    torch.set_num_threads(2)
    how, margin = Preprocessing(crop=CROP), (RESIZE - CROP) // 2
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (how.mean, how.std))
    found = []
    for start in range(0, len(images), 32):
        batch = torch.stack(images[start : start + 32])
        cut = batch[:, :, margin : margin + CROP, margin : margin + CROP]
        found.append(network((cut / 255 - mean) / std).argmax(dim=1))
    return torch.cat(found)


if __name__ == "__main__":
    main()
