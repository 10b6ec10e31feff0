"""Small networks and batches in memory, with the interfaces of the real ones."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.config import TrainConfig
from pcsearch.training.metrics import EpochRecord, Evaluation
from pcsearch.training.trainer import fit


@dataclass
class TinyBackbone:
    """A body and a linear head."""

    module: nn.Sequential

    def head_parameters(self) -> list[nn.Parameter]:
        return list(self.module[-1].parameters())

    def body_parameters(self) -> list[nn.Parameter]:
        return list(self.module[:-1].parameters())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def perceptron(
    classes: int = 3, *, dropout: float = 0.0, norm: bool = False, seed: int = 0
) -> TinyBackbone:
    """Images [B, 3, 4, 4] to logits through one hidden layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body: list[nn.Module] = [nn.Flatten(), nn.Linear(48, 16)]
        body += [nn.BatchNorm1d(16)] if norm else []
        body += [nn.ReLU(), nn.Dropout(dropout)]
        return TinyBackbone(nn.Sequential(*body, nn.Linear(16, classes)))


class MemoryBatches:
    """Images [n, 3, 4, 4] with learnable labels, shuffled anew each epoch."""

    def __init__(self, images: int = 40, batch_size: int = 8, classes: int = 3) -> None:
        prototypes = torch.randn(classes, 3, 4, 4, generator=seeded(7))
        self.labels = torch.arange(images) % classes
        noise = torch.randn(images, 3, 4, 4, generator=seeded(8))
        self.images = prototypes[self.labels] + 0.5 * noise
        self.batch_size = batch_size
        self.asked: list[int] = []

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        self.asked.append(epoch)
        order = torch.randperm(len(self.labels), generator=seeded(epoch))
        for chosen in order.split(self.batch_size):
            yield self.images[chosen], self.labels[chosen]


def settings(**values: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "seed": 0, "lr": 0.1, "batch_size": 8, **values})


def train(
    backbone: TinyBackbone,
    batches: MemoryBatches,
    chosen: TrainConfig,
    *,
    checkpoints: Path | Checkpoints | None = None,
    evaluate: Any = None,
    micro_batches: int = 1,
) -> Generator[EpochRecord]:
    """A folder of checkpoints has one written every epoch."""
    if isinstance(checkpoints, Path):
        checkpoints = Checkpoints(checkpoints, every_seconds=0.0)
    return fit(
        backbone,  # type: ignore[arg-type]
        batches,  # type: ignore[arg-type]
        chosen,
        device="cpu",
        evaluate=evaluate,
        checkpoints=checkpoints,
        micro_batches=micro_batches,
    )


def state(backbone: TinyBackbone) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def fixed_evaluation(top1: float = 50.0) -> Evaluation:
    values = {"top1": top1, "mean_class_top1": top1, "top5": 100.0, "nll": 1.0, "ece": 2.0}
    return Evaluation(values, images=10)
