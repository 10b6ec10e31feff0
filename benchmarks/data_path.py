"""What the data path costs: the figures that the image cache, the batches and the trials must meet.

    python benchmarks/data_path.py all [--json FILE]          every figure, about an hour
    python benchmarks/data_path.py trial [--backbone compact_cnn --crop 32] [--epochs 10]
    python benchmarks/data_path.py trial --device cuda --backbone resnet50 --crop 224
    python benchmarks/data_path.py pc [--foursomes 100]
    python benchmarks/data_path.py search [--size 500x375] [--repeats 3]
    python benchmarks/data_path.py frozen [--backbone mobilenet_v2] [--only epoch|curve]
    python benchmarks/data_path.py gap | memory | cache | startup

Photographs: `--data FOLDER`, which holds CUB_200_2011/, by default ../shared/data beside the
repository; where that is not there, generated JPEGs. What each figure means and how it is taken is
said at the top of its file in data_path_parts/. `trial`, `pc` and `cache` need neither Ray nor
Optuna (without an installed pcsearch: PYTHONPATH=.). What is compared takes turns within one run;
nothing else should be running. Options: `python benchmarks/data_path.py NAME --help`.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType

from data_path_parts.figures import Figure, machine, table, write_json

PARTS = ("trial", "pc", "frozen", "search", "gap", "memory", "cache", "startup")
ALL: tuple[tuple[str, ...], ...] = (
    ("trial",),
    ("trial", "--backbone", "compact_cnn", "--crop", "32", "--epochs", "20"),
    ("pc",),
    ("pc", "--backbone", "compact_cnn", "--crop", "32", "--block", "8"),
    ("frozen",),
    ("search",),
    ("search", "--size", "500x375"),
    ("gap",),
    ("memory",),
    ("cache",),
    ("cache", "--size", "500x375"),
    ("startup",),
)


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    facts = machine()
    for key, value in facts.items():
        print(f"{key:13} {value}")
    print(flush=True)
    if options.part == "all":
        shared = [f"--seed={options.seed}"]
        shared += [f"--data={options.data}"] if options.data else []
        parts = [_parser().parse_args([*part, *shared]) for part in ALL]
    else:
        parts = [options]
    figures: list[Figure] = []
    for part in parts:
        figures += _measured(part, options.keep)
        if options.json:
            write_json(options.json, figures, facts)  # after each part, should a later one fail
    print()
    print(table(figures))
    if any(figure.name.endswith("FAILED") for figure in figures):
        raise SystemExit(1)


def _measured(options: argparse.Namespace, keep: bool) -> list[Figure]:
    """The figures of one part, in a scratch folder of its own; a failure is a figure, too."""
    started = time.monotonic()
    print(f"{options.part}: {_module(options.part).__doc__.splitlines()[0]}", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"pcsearch-{options.part}-"))
    try:
        figures: list[Figure] = _module(options.part).measure(options, scratch)
    except (Exception, SystemExit) as error:  # the other parts can still be measured
        print(error if isinstance(error, SystemExit) else traceback.format_exc())
        print(f"  failed; its files are kept in {scratch}\n", flush=True)
        return [Figure(f"{options.part}: FAILED", None, note="see above")]
    except KeyboardInterrupt:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if keep:
        print(f"  files: {scratch}")
    else:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"  took {time.monotonic() - started:.0f} s\n", flush=True)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = parser.add_subparsers(dest="part", required=True, metavar="NAME")
    for name in (*PARTS, "all"):
        own = names.add_parser(name)
        own.add_argument("--data", type=Path, help="the folder that holds CUB_200_2011/")
        own.add_argument("--json", type=Path, help="write everything that was measured here")
        own.add_argument("--seed", type=int, default=0)
        own.add_argument("--keep", action="store_true", help="keep the scratch folder")
        if name in PARTS:
            _module(name).add_arguments(own)
    return parser


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"data_path_parts.{name}")


if __name__ == "__main__":
    main()
