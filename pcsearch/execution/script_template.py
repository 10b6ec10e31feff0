"""The `predict.py` of an exported folder. It reads the folder's JSON files and holds no names."""

from __future__ import annotations

_BUILT = {
    "torchvision": (
        "from torchvision import models, transforms",
        'models.get_model(config["backbone"], num_classes=len(names), **config["arguments"])',
    ),
    "timm": (
        "import timm\nfrom torchvision import transforms",
        'timm.create_model(\n    config["architecture"], num_classes=len(names), '
        '**config["backbone_options"]\n)',
    ),
    "pcsearch": (
        "from torchvision import transforms\n\nfrom pcsearch.models import build_backbone",
        'build_backbone(\n    config["backbone"], len(names), options=config["backbone_options"]\n'
        ").module",
    ),
}
"""Library → its import, and the network with random weights."""

_NEEDS = {
    "torchvision": "torch, torchvision and safetensors",
    "timm": "torch, torchvision, timm and safetensors",
    "pcsearch": "pcsearch, which has this network",
}

_SCRIPT = '''\
"""The five likeliest classes of images: python predict.py IMAGE...

Needs {needs}.
"""

import json
import sys
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
{imported}

here, FORMATS = Path(__file__).parent, ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
config = json.loads((here / "config.json").read_text("utf-8"))
names = json.loads((here / "class_names.json").read_text("utf-8"))
network = {built}
network.load_state_dict(load_file(here / "model.safetensors"))
network.eval()
how = config["preprocessing"]
prepare = transforms.Compose([
    transforms.Resize([how["resize"]] * 2 if how["aspect"] == "warp" else how["resize"]),
    transforms.CenterCrop(how["resize"]),
    transforms.CenterCrop(how["crop"]),
    transforms.ToTensor(),
    transforms.Normalize(how["mean"], how["std"]),
])
for path in sys.argv[1:]:
    image = prepare(ImageOps.exif_transpose(Image.open(path, formats=FORMATS)).convert("RGB"))
    with torch.no_grad():
        top = network(image[None]).softmax(1)[0].topk(min(5, len(names)))
    for p, number in zip(top.values.tolist(), top.indices.tolist()):
        print(f"{{path!r}}\\t{{100 * p:.1f}}\\t{{names[number]!r}}")
'''


def script_for(library: str) -> str | None:
    """The script for the networks of a library; None for a user's own network."""
    if library not in _BUILT:
        return None
    imported, built = _BUILT[library]
    return _SCRIPT.format(needs=_NEEDS[library], imported=imported, built=built)
