"""Trained weights: a safetensors file with the metadata needed to use it, written and read."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from pcsearch.data.cache import Aspect
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.errors import UserError
from pcsearch.io import expanded, open_regular, replacing
from pcsearch.models.registry import build_backbone
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


@dataclass(frozen=True)
class NetworkFacts:
    """What is needed to use a trained network, besides its weights.

    Attributes:
        backbone: Its name, as in recipes.
        options: The backbone's own options.
        class_names: N names; output i means class_names[i].
        resize: Side in pixels to which an image is brought first.
        aspect: How it becomes a square, `warp` or `keep`; see `resized`.
        preprocessing: The central crop and the normalisation.
        trial: The trial that trained it; "" if unknown.
        dataset: The dataset that it was trained on; "" if unknown.
        config: Hyperparameters and seeds of that trial.
    """

    backbone: str
    options: Mapping[str, object]
    class_names: tuple[str, ...]
    resize: int
    aspect: Aspect
    preprocessing: Preprocessing
    trial: str = ""
    dataset: str = ""
    config: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON, without the class names; `facts_of` reads it."""
        return {
            "backbone": self.backbone,
            "backbone_options": dict(self.options),
            "dataset": self.dataset,
            "preprocessing": {
                "resize": self.resize,
                "aspect": self.aspect,
                "crop": self.preprocessing.crop,
                "mean": list(self.preprocessing.mean),
                "std": list(self.preprocessing.std),
            },
            "trial": self.trial,
            "config": dict(self.config),
        }


_MOST_CLASSES, _LONGEST_NAME, _LARGEST_SIDE = 100_000, 10_000, 10_000


def facts_of(stated: Mapping[str, Any], where: str) -> NetworkFacts:
    """The facts in the metadata of a weights file or in the config.json of an exported network.

    Raises:
        UserError: a fact is missing or impossible; the text names it and `where` it was read.
    """
    try:
        how = stated["preprocessing"]
        names = tuple(_text(name) for name in stated["class_names"])
        resize, crop = int(how["resize"]), int(how["crop"])
        mean, std = (tuple(float(value) for value in how[key]) for key in ("mean", "std"))
        if not 1 <= len(names) <= _MOST_CLASSES:
            raise ValueError(f"class_names has {len(names)} names")
        if not 1 <= crop <= resize <= _LARGEST_SIDE:
            raise ValueError(f"preprocessing has a crop of {crop} from {resize} pixels")
        finite = all(math.isfinite(value) for value in (*mean, *std))
        if len(mean) != 3 or len(std) != 3 or not finite or min(std) <= 0:
            raise ValueError("preprocessing has no mean and std of three colours")
        aspect = how.get("aspect", "warp")  # the only one of the first versions
        if aspect not in ("warp", "keep"):
            raise ValueError(f"preprocessing has the aspect {aspect!r}")
        return NetworkFacts(
            _text(stated["backbone"]),
            dict(stated.get("backbone_options") or {}),
            names,
            resize,
            aspect,
            Preprocessing(crop, mean=mean, std=std),
            _text(stated.get("trial") or ""),
            _text(stated.get("dataset") or ""),
            dict(stated.get("config") or {}),
        )
    except KeyError as error:
        raise UserError(
            f"{where} does not say its {error.args[0]}: it is not one that pcsearch wrote, or it "
            "is damaged; export it again, or restore the run from a copy"
        ) from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{where} is damaged: {error}; export it again, or restore the run from a copy"
        ) from error


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise ValueError(f"a name is {str(value)[:60]!r}")
    return value


def read_facts(path: Path) -> NetworkFacts:
    """The facts in the metadata of a weights file of `save_weights`.

    Raises:
        UserError: the file is missing, damaged, or another program's.
    """
    try:
        with (
            open_regular(path) as content,
            # safe_open takes a path; this one is the open file
            safe_open(f"/dev/fd/{content.fileno()}", framework="pt") as file,
        ):
            stated = dict(file.metadata() or {})
        stated.pop("format", None)
        return facts_of({key: json.loads(text) for key, text in stated.items()}, str(path))
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}; restore it from a copy") from error
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read as weights ({error}); restore it from a copy"
        ) from error


def load_trained(facts: NetworkFacts, weights: Path) -> nn.Module:
    """The network with its weights, on the CPU, in evaluation mode.

    Images `[B, 3, crop, crop]`, normalised, give logits `[B, N]`. Nothing in the file is run; a
    network written `module:function` is the user's code and needs consent (`--allow-code`).

    Raises:
        UserError: the weights are not those of the stated network, or the network cannot be built.
    """
    names = len(facts.class_names)
    try:
        backbone = build_backbone(
            facts.backbone, names, weights=str(weights.absolute()), options=facts.options
        )
    except (RuntimeError, MemoryError, ValueError, TypeError) as error:  # sizes that cannot be
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the network {facts.backbone} of {weights} cannot be built: {reason}; restore the "
            "file from a copy"
        ) from error
    report = backbone.loading
    if wrong := (*report.missing, *report.dropped):
        raise UserError(
            f"{weights} does not hold the whole network {facts.backbone} for "
            f"{names} classes: {', '.join(wrong[:3])} "
            f"{'differs' if len(wrong) == 1 else 'differ'}; restore it from a copy"
        )
    return backbone.module.eval()


@dataclass(frozen=True)
class LoadedNetwork:
    """A trained network and what is needed to use it; see `load_trained`."""

    module: nn.Module
    facts: NetworkFacts


def load_network(path: str | Path) -> LoadedNetwork:
    """The network in a weights file of a run, `runs/NAME/weights/*.safetensors`.

        network = pcsearch.load_network("runs/first-try/weights/images.compact_cnn.pc.safetensors")
        network.module(images)        # [B, 3, crop, crop], normalised → logits [B, N]
        network.facts.class_names

    Works for every backbone, `compact_cnn` and `bilinear_cnn` included. Also takes
    `model.safetensors` of an exported folder.

    Raises:
        UserError: the file is missing or damaged, or is another program's.
    """
    file = expanded(path)
    facts = read_facts(file)
    return LoadedNetwork(load_trained(facts, file), facts)
