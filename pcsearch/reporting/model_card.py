"""The model card of an exported network: a README of data, protocol, numbers, limits, licences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pcsearch.arms import CONTROL
from pcsearch.data.catalog import DATASETS
from pcsearch.printable import printable
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import StudySummary, Summary
from pcsearch.search.plan import StudyPlan


def model_card(
    summary: Summary,
    study: StudyPlan,
    arm: str,
    network: Mapping[str, Any],
    environment: str | None,
    *,
    library: str,
    onnx: bool,
) -> str:
    """The card as Markdown.

    Args:
        summary: The run's summary.
        study: The study of the network.
        arm: The arm that trained it.
        network: Its facts, as in config.json.
        environment: The run's environment.json, if it can be read.
        library: What builds the network: torchvision, timm, pcsearch or own.
        onnx: Whether the folder holds `model.onnx`.
    """
    of_study = next(one for one in summary.studies if one.id == study.id)
    sections = {
        "Use": _use(network, library, onnx=onnx),
        "Data": _data(study),
        "Training": _training(of_study, arm, network),
        "Results": _results(of_study, arm, network["config"].get("seed")),
        "Limits": _limits(study),
        "Licences": _licences(study, environment),
        "Notes of the run": [f"- {_safe(note)}" for note in summary.notes] or ["None."],
    }
    title = f"# {_safe(study.backbone)} for {study.num_classes} classes of {_safe(study.dataset)}"
    head = (
        f"Trained by pcsearch in the campaign `{_safe(summary.campaign)}`, which was "
        f"{summary.status} when this was exported. Study `{_safe(study.id)}`, arm "
        f"{fmt.label(arm)}, trial `{_safe(network['trial'])}`."
    )
    parts = [title, head]
    for heading, lines in sections.items():
        parts += [f"## {heading}", "\n".join(lines)]
    edit = (
        "You may edit this file. The others are guarded by hashes in `config.json`: pcsearch "
        "refuses the folder if one of them was changed."
    )
    return "\n\n".join([*parts, edit]) + "\n"


def _safe(text: object) -> str:
    """A text from a run on one line, without Markdown's own characters."""
    return "".join(f"\\{c}" if c in "`|<>[]*" else c for c in printable(str(text)))


def _use(network: Mapping[str, Any], library: str, *, onnx: bool) -> list[str]:
    how = network["preprocessing"]
    shape = "squeezed to a square" if how["aspect"] == "warp" else "cropped to a square"
    lines = [
        f"Images are {shape} of {how['resize']} pixels (bilinear, antialiased) and cropped at the "
        f"centre to {how['crop']}. Values from 0 to 1 are normalised by mean {how['mean']} and std "
        f"{how['std']}. Output i means entry i of `class_names.json`.",
        "",
        "- `pcsearch predict FOLDER photo.jpg`, or `pcsearch evaluate FOLDER LABELLED`",
    ]
    if library != "own":
        lines.append("- `python predict.py photo.jpg`, for images of 8 bits a channel")
    if library == "timm":
        lines.append('- `timm.create_model("local-dir:FOLDER", pretrained=True)`')
    if onnx:
        lines.append("- `model.onnx`: input `images`, prepared as above; output `logits`")
    return lines


def _data(study: StudyPlan) -> list[str]:
    images, entry = study.images, DATASETS.get(study.dataset)
    title = entry.title if entry else study.dataset
    lines = [
        f"- Data set: {_safe(title)} (`{_safe(study.dataset)}`), {study.num_classes} classes",
        f"- {images.train:,} training images, of which the search kept {images.val:,} for "
        "validation; this network was trained on all of them",
        f"- {images.test:,} test images, opened after the choice of configurations",
        f"- Hash of the split: `{study.split_hash}`",
    ]
    if entry and entry.citation:
        lines.append(f"- Publication: {_safe(entry.citation)}")
    lines += [f"- {_safe(line)}" for line in (*images.left_out(), *images.leaked(study.dataset))]
    if study.pretrained_on:
        lines.append("- Began with weights trained on ImageNet")
    return lines


def _training(study: StudySummary, arm: str, network: Mapping[str, Any]) -> list[str]:
    config = network["config"]
    loss = "" if arm == CONTROL else f", loss variant {study.arms[arm].variant}"
    lines = [
        f"The arm {fmt.label(arm)}{loss}. Its configuration was chosen on "
        "validation images, then trained on all training images with fresh seeds. This is the "
        "network of the first of them.",
        "",
        "| setting | value |",
        "| --- | --- |",
    ]
    return lines + [f"| {_safe(key)} | {_safe(value)} |" for key, value in config.items()]


def _results(study: StudySummary, arm: str, seed: object) -> list[str]:
    lines = [
        "In percent on the test images: mean and standard deviation over the confirm seeds. A gain "
        "is against the control, in points, paired by seed; its interval covers seeds, the luck of "
        "the search and the choice of test images, as far as they were measured.",
        "",
        "| arm | test | seeds | gain | level | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in study.arms.items():
        scores, gain, verdict = one.test_top1, one.gain, one.verdict
        word: str = "" if verdict is None else verdict.word
        if verdict is not None and verdict.reason:
            word += f": {_safe(verdict.reason)}"
        cells = (
            f"**{fmt.label(name)}** (this network)" if name == arm else fmt.label(name),
            fmt.scores(scores),
            str(len(scores.values)) if scores else "0",
            "" if name == CONTROL else fmt.gain_text(gain).replace("[", "\\["),
            "" if gain is None else fmt.level(gain),
            word,
        )
        lines.append(f"| {' | '.join(cells)} |")
    measured = study.arms[arm].test_top1
    own = None if measured is None else measured.by_seed().get(seed)  # type: ignore[call-overload]
    if own is not None:
        lines += ["", f"This network itself: {own:.2f} % on the test images."]
    return lines


def _limits(study: StudyPlan) -> list[str]:
    lines = [
        "- It names one of its classes for every image, also for an image of none of them.",
        "- Its probabilities are not calibrated: they are usually too high.",
        "- The test images come from the same source as the training images. Photographs of "
        "another camera, place or season are usually harder: `pcsearch evaluate` measures them.",
    ]
    if study.dataset in ("images", "manifest"):
        lines.append(
            "- Train and test parts were divided by the owner of the images, or by chance."
        )
    return lines


def _licences(study: StudyPlan, environment: str | None) -> list[str]:
    entry = DATASETS.get(study.dataset)
    terms = entry.terms if entry else "unknown"
    terms = "those of the owner of the images" if terms == "yours" else _safe(terms)
    return [f"- Data: {terms}", f"- Weights that it began with: {_source(study, environment)}"]


def _source(study: StudyPlan, environment: str | None) -> str:
    """Where the network's first weights came from, as the run's environment.json says.

    Of a file's path only the name is shown: the folders of a machine are nobody's business.
    """
    try:
        lines = [str(line) for line in json.loads(environment or "")["weights"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "unknown: the run's environment.json cannot be read"
    loaded = [line for line in lines if line.startswith(f"{study.backbone}: the head")]
    if not loaded:
        return "none, it was trained from random weights"
    source = loaded[0].rpartition(" from ")[2].rpartition("/")[2]
    return f"{_safe(source)}; their licence is that of their publisher"
