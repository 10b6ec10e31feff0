"""Keeps what a retrained network answered, in the run, for the analysis afterwards.

A confirm trial keeps its answers to the test images. A finalist keeps those to the validation
images of its split, so that a temperature can be fitted without test images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pcsearch.data.loaders import EvalBatches, FeatureEvalBatches
from pcsearch.data.prepared import TrainingImages
from pcsearch.execution.run_files import RunFiles, why_unwritten
from pcsearch.execution.worker_data import WorkerContext, test_images
from pcsearch.search.trial import TrialSpec
from pcsearch.training.predictions_file import ImagePredictions, save_predictions

if TYPE_CHECKING:
    from pcsearch.training.evaluate import Answers


def keep_predictions(
    spec: TrialSpec,
    context: WorkerContext,
    files: RunFiles,
    training: TrainingImages,
    images: EvalBatches | FeatureEvalBatches,
    answers: Answers,
    attempt: int,
) -> dict[str, str]:
    """Write a trial's answers; the `sha256` of the file, or the `error` of writing it.

    Args:
        spec: The trial.
        context: What it needs besides.
        files: Of its run.
        training: For the names of the classes.
        images: What it was measured on: the test images in confirm.
        answers: Of its network.
        attempt: Number of earlier starts.

    Raises:
        UnwritableError: the disk is full.
        StorageError: the store does not answer, so the trial must be restarted.
    """
    names: tuple[str, ...] = ()
    if spec.phase == "confirm":
        dataset = spec.study.partition("/")[0]
        names = test_images(context.recipe, dataset, context.cache, context.data).names
    predictions = ImagePredictions(
        answers.log_probabilities,
        answers.predicted,
        answers.labels,
        images.rows.astype(np.int32),
        training.class_names,
        names,
    )
    path = files.predictions(spec.trial)
    try:
        sha256 = save_predictions(path, predictions)
        files.kept(path)
    except Exception as error:
        return {"error": why_unwritten(error, path, context, attempt)}
    return {"sha256": sha256}
