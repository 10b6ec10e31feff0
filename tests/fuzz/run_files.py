"""`python -m tests.fuzz.run_files KIND FIRST LAST FOLDER`: read the files of these seeds, guarded.

Prints a line for each that ends otherwise than in a result or in one clear error, then the counts.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import re
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from pcsearch.cli.cluster.check import print_findings
from pcsearch.cli.console import PrintableStream, console
from pcsearch.cli.views.verify import report_view
from pcsearch.cluster.files.check import check_cluster_file
from pcsearch.cluster.files.cluster_file import load_cluster_file
from pcsearch.data.dataset import DataOptions
from pcsearch.data.download.archive import unpack
from pcsearch.data.layouts.manifest_table import read_manifest
from pcsearch.data.verify import inspect, report_on, write_manifest
from pcsearch.errors import UserError
from pcsearch.models.weights import read_state_dict
from tests.fuzz.file_cases import KINDS, SHIPPED_CLUSTERS
from tests.fuzz.guard import UNSEEN, Guard


def images(folder: Path) -> None:
    _verified("images", DataOptions(images=folder / "images", cache=folder / "cache"))


def manifest(folder: Path) -> None:
    options = DataOptions(manifest=folder / "list.csv", cache=folder / "cache")
    copy = folder / "copy.csv"
    inspected = inspect("manifest", options, workers=1)
    labels = {inspected.dataset.class_names[i] for i in inspected.dataset.train.labels.tolist()}
    _show(inspected)
    if write_manifest(inspected, copy):
        again = set(read_manifest(copy).columns["label"])
        assert again <= labels, "a label is not read back as it was written"
        assert not re.search(r'(^|[,"])[=+@]', copy.read_text(errors="replace")), "a formula"


def _verified(dataset: str, options: DataOptions) -> None:
    _show(inspect(dataset, options, workers=1))


def _show(inspected: object) -> None:
    report = report_on(inspected)  # type: ignore[arg-type]
    console().print(report_view(report))


def cluster(folder: Path) -> None:
    print_findings(
        list(check_cluster_file(load_cluster_file(folder / "cluster.yaml"), folder=folder))
    )


def weights(folder: Path) -> None:
    for path in folder.glob("w.*"):
        read_state_dict(path)


def archive(folder: Path) -> None:
    unpack(folder / "archive", folder / "out", lambda done, total: None)


STEPS: dict[str, Callable[[Path], None]] = {
    "images": images,
    "manifest": manifest,
    "cluster": cluster,
    "weights": weights,
    "archive": archive,
}


def outcome(kind: str, folder: Path, guard: Guard) -> str:
    shown = io.StringIO()
    sys.stdout = PrintableStream(shown)  # type: ignore[assignment]
    try:
        with guard.case(folder):
            STEPS[kind](folder)
    except UserError as error:
        message = str(error)
        shown.write(message)
        if not 0 < len(message) < 100_000:
            raise AssertionError(f"the message has {len(message)} characters") from None
        return "refused"
    finally:
        sys.stdout = sys.__stdout__
        found = UNSEEN.search(shown.getvalue())
        assert found is None, f"{found and found[0]!r} is shown"
    return "done"


def main() -> None:
    kind, first, last, base = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    logging.disable()
    Image.init()
    if kind == "cluster":
        for path in SHIPPED_CLUSTERS:  # for all that is imported late
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(UserError):
                print_findings(list(check_cluster_file(load_cluster_file(path), folder=base)))
    guard, counts = Guard(), Counter[str]()
    for seed in range(first - 4, last):  # the first ones for that, too
        if seed == first:
            guard.install()
        folder = base / str(seed)
        folder.mkdir()
        KINDS[kind](folder, random.Random(f"{kind} {seed}"))
        os.chdir(folder)
        try:
            ended = outcome(kind, folder, guard)
            counts[ended] += seed >= first
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if "/pcsearch/" in frame.filename] or frames
            told, where = f"{type(error).__name__}: {error}"[:300], own[-1]
            if seed >= first:
                print(f"{kind} {seed}: {told!r} ({where.filename}:{where.lineno})", flush=True)  # noqa: T201
        if any((base / str(seed)).rglob("EXECUTED")) or set(os.listdir(base)) != {str(seed)}:  # noqa: PTH208
            print(f"{kind} {seed}: something was run, or written beside the folder", flush=True)  # noqa: T201
        os.chdir(base)
        shutil.rmtree(folder)
    print(dict(counts))  # noqa: T201


if __name__ == "__main__":
    main()
