"""The plain way: an Optuna study, one trial after another, torch's own threads.

Its last line of output is JSON: epochs trained, images an epoch, the best validation top-1.
"""

from __future__ import annotations

import json

import optuna
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


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    torch.manual_seed(options.seed)
    train, val = load_birds(options.folder, options.numbers)
    classes = len(options.numbers)
    accuracies: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        lambda_ = trial.suggest_float("lambda_over_n", *LAMBDA_OVER_N) * classes
        lr = trial.suggest_float("lr", *LR, log=True)
        train_loader, val_loader = loaders(
            train, val, options.loader_workers, options.persistent_workers
        )
        network = build_network(classes, options.weights)
        optimizer, schedule = build_optimizer(network, lr, options.epochs, len(train_loader))
        for epoch in range(1, options.epochs + 1):
            train_epoch(network, train_loader, optimizer, schedule, lambda_, options.bfloat16)
            accuracy = validate(network, val_loader, options.bfloat16)
            accuracies.append(accuracy)
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=options.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )
    study.optimize(objective, n_trials=options.trials)
    result = {"epochs": len(accuracies), "best": max(accuracies), "images": [len(train), len(val)]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
