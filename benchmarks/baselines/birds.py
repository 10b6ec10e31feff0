"""What both baselines share: photographs, network, loss and one epoch, as people write them.

Every image is decoded whenever it is needed, by torchvision's transforms in a DataLoader.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

BATCH = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAMBDA_OVER_N = (0.05, 0.15)
LR = (0.001, 0.02)

Transform = Callable[[Image.Image], torch.Tensor]


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", required=True, help="CUB_200_2011/")
    parser.add_argument(
        "--classes", dest="numbers", type=int, nargs="+", required=True, help="their numbers"
    )
    parser.add_argument("--weights", help="SqueezeNet 1.1's state dict")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--loader-workers", type=int, default=2)
    parser.add_argument("--persistent-workers", action="store_true")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


class Birds(Dataset):
    """Image files with their labels, like torchvision's ImageFolder."""

    def __init__(self, files: Sequence[Path], labels: Sequence[int], transform: Transform) -> None:
        self.files, self.labels, self.transform = files, labels, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.open(self.files[index]).convert("RGB")
        return self.transform(image), self.labels[index]


def load_birds(folder: str, classes: Sequence[int]) -> tuple[Birds, Birds]:
    """The official training images of some classes, four fifths to train and one to validate."""

    def table(name: str) -> dict[str, str]:
        lines = (Path(folder) / name).read_text().splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    names, label_of = table("images.txt"), table("image_class_labels.txt")
    is_train = table("train_test_split.txt")
    wanted = {str(number): index for index, number in enumerate(classes)}
    images = [i for i in names if is_train[i] == "1" and label_of[i] in wanted]
    files = [Path(folder) / "images" / names[i] for i in images]
    labels = [wanted[label_of[i]] for i in images]
    train_files, val_files, train_labels, val_labels = train_test_split(
        files, labels, test_size=0.2, stratify=labels, random_state=0
    )
    to_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    resize = transforms.Resize((128, 128))
    flip = transforms.RandomHorizontalFlip()
    train = transforms.Compose([resize, transforms.RandomCrop(112), flip, *to_tensor])
    val = transforms.Compose([resize, transforms.CenterCrop(112), *to_tensor])
    return Birds(train_files, train_labels, train), Birds(val_files, val_labels, val)


def loaders(
    train: Birds, val: Birds, workers: int, persistent: bool
) -> tuple[DataLoader, DataLoader]:
    common = {
        "batch_size": BATCH,
        "num_workers": workers,
        "persistent_workers": persistent and workers > 0,
    }
    return DataLoader(train, shuffle=True, **common), DataLoader(val, **common)


def build_network(classes: int, weights: str | None) -> nn.Module:
    """SqueezeNet 1.1 with a new classifier."""
    network = models.squeezenet1_1()
    if weights:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        body = {key: value.float() for key, value in state.items() if key.startswith("features.")}
        network.load_state_dict(body, strict=False)
    network.classifier[1] = nn.Conv2d(512, classes, kernel_size=1)
    nn.init.normal_(network.classifier[1].weight, std=0.01)
    nn.init.zeros_(network.classifier[1].bias)
    return network


def pc_loss(logits: torch.Tensor, labels: torch.Tensor, lambda_: float) -> torch.Tensor:
    """Cross-entropy plus Pairwise Confusion between the halves of the batch."""
    half = len(labels) // 2
    p, q = logits.softmax(dim=1)[: 2 * half].split(half)
    differ = (labels[:half] != labels[half : 2 * half]).float()
    penalty = (differ * (p - q).pow(2).sum(dim=1)).mean()
    return F.cross_entropy(logits, labels) + lambda_ / 2 * penalty


def build_optimizer(
    network: nn.Module, lr: float, epochs: int, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD with half an epoch of warm-up and a linear decay."""
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    warmup = steps // 2 if epochs > 1 else 0
    total = epochs * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (total - step) / (total - warmup))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def train_epoch(
    network: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    lambda_: float,
    bfloat16: bool,
) -> float:
    """One epoch; the mean loss."""
    network.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits = network(images)
        loss = pc_loss(logits.float(), labels, lambda_)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        schedule.step()
        total += loss.item() * len(labels)
    mean = total / len(loader.dataset)
    if not math.isfinite(mean):
        raise RuntimeError("the loss is not finite")
    return mean


def validate(network: nn.Module, loader: DataLoader, bfloat16: bool) -> float:
    """Percent of the validation images that are classified right."""
    network.eval()
    correct = 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        for images, labels in loader:
            correct += (network(images).argmax(dim=1) == labels).sum().item()
    return 100 * correct / len(loader.dataset)
