"""The way of Ray's own PyTorch example: a function trainable that loads its data and trains.

As in `ray/tune/examples/cifar10_pytorch.py` and Ray's walk-through "How to use Tune with PyTorch":
network, optimizer, data and loaders are made inside the trainable, each epoch reports its metrics
with a checkpoint, libraries are imported at the top of the script, and the Tuner has an
ASHAScheduler. OptunaSearch is added as Ray's `optuna_example.py` does.

Its last line of output is JSON: epochs trained, images an epoch, the best validation top-1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import ray
import torch
from birds import (
    LAMBDA_OVER_N,
    LR,
    arguments,
    build_network,
    build_optimizer,
    load_birds,
    loaders,
    train_epoch,
    validate,
)
from ray import tune
from ray.tune import Checkpoint
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch


def train_birds(config: dict, options: argparse.Namespace) -> None:
    classes = len(options.numbers)
    network = build_network(classes, options.weights)
    train, val = load_birds(options.folder, options.numbers)
    train_loader, val_loader = loaders(
        train, val, options.loader_workers, options.persistent_workers
    )
    optimizer, schedule = build_optimizer(network, config["lr"], options.epochs, len(train_loader))
    if tune.get_checkpoint():
        with tune.get_checkpoint().as_directory() as folder:
            network_state, optimizer_state = torch.load(Path(folder) / "checkpoint.pt")
        network.load_state_dict(network_state)
        optimizer.load_state_dict(optimizer_state)
    for _ in range(options.epochs):
        lambda_ = config["lambda_over_n"] * classes
        train_epoch(network, train_loader, optimizer, schedule, lambda_, options.bfloat16)
        accuracy = validate(network, val_loader, options.bfloat16)
        with tempfile.TemporaryDirectory() as folder:
            torch.save(
                (network.state_dict(), optimizer.state_dict()), Path(folder) / "checkpoint.pt"
            )
            tune.report({"accuracy": accuracy}, checkpoint=Checkpoint.from_directory(folder))


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    ray.init()
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(train_birds, options=options), resources={"cpu": 1}
        ),
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=options.trials,
            search_alg=OptunaSearch(seed=options.seed),
            scheduler=ASHAScheduler(max_t=options.epochs, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(storage_path=str(Path.cwd() / "ray_results")),
        param_space={
            "lambda_over_n": tune.uniform(*LAMBDA_OVER_N),
            "lr": tune.loguniform(*LR),
        },
    )
    results = tuner.fit()
    if results.errors:
        raise SystemExit(f"{len(results.errors)} trials failed: {results.errors[0]}")
    histories = [result.metrics_dataframe for result in results]
    train, val = load_birds(options.folder, options.numbers)
    result = {
        "epochs": sum(len(history) for history in histories),
        "best": float(max(history["accuracy"].max() for history in histories)),
        "images": [len(train), len(val)],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
