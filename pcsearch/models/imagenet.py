"""torchvision's published ImageNet weights: the cached file, else one attempt to download it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from torchvision.models import get_model_weights

from pcsearch.errors import UserError

PREFERRED = ("IMAGENET1K_V1", "IMAGENET1K_SWAG_LINEAR_V1")
"""The original recipe's weights come first: they are the ones in published comparisons, and
`_V2` weights, trained with strong regularisation, would mix that in with what is compared."""

CONNECT_SECONDS = 10.0


def imagenet_file(name: str) -> Path:
    """Path of the ImageNet weights of torchvision's `name`, downloaded if they are not cached.

    torchvision's own cache is used: `torch.hub.get_dir()/checkpoints` (see `TORCH_HOME`).

    Raises:
        UserError: neither cached nor to be had; says where the file is looked for.
    """
    url = _entry(name).url
    file = cached_file(name)
    if file.is_file():
        return file
    digest = re.search(r"-([a-f0-9]{8,})\.", file.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _check_connection(url)
        torch.hub.download_url_to_file(
            url, str(file), hash_prefix=digest and digest.group(1), progress=False
        )
    except (OSError, HTTPException, RuntimeError) as error:
        raise UserError(
            f"weights: imagenet: the file of {name} is not in the cache and cannot be downloaded "
            f"({error}).\n"
            f"  Looked for: {file}\n"
            f"  Source:     {url}\n"
            "Put that file there (from a machine with a network), or give `weights: PATH` to a "
            "state dict of your own, or `weights: none` to train from scratch."
        ) from error
    return file


def cached_file(name: str) -> Path:
    """Where torchvision keeps the ImageNet weights of `name`, whether they are there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(_entry(name).url).path).name


@dataclass(frozen=True)
class Normalisation:
    """What images are normalised with: means and standard deviations of red, green and blue."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def expected_normalisation(name: str) -> Normalisation:
    """What the ImageNet weights of torchvision's `name` were trained with, as torchvision says."""
    transforms = _entry(name).transforms()
    return Normalisation(tuple(transforms.mean), tuple(transforms.std))


def _entry(name: str) -> Any:
    entries = {entry.name: entry for entry in get_model_weights(name)}
    chosen = next((key for key in PREFERRED if key in entries), None)
    return entries[chosen] if chosen else get_model_weights(name).DEFAULT


def _check_connection(url: str) -> None:
    """The downloader waits without limit, so a cut-off machine is found out here, in seconds."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=CONNECT_SECONDS):
            pass
    except HTTPError:
        pass  # A server answered; the download itself gives the reason.
