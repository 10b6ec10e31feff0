"""Whether what a recipe reads is where every node has it, as far as a cluster file tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pcsearch.cluster.check_storage import SHARED
from pcsearch.cluster.file import Config, at_home, commands, on_kubernetes
from pcsearch.cluster.finding import Finding
from pcsearch.cluster.pods import filled_folders
from pcsearch.recipe.schema import Recipe

_FILLS = re.compile(
    r"\baws s3 (sync|cp)\b|\bgsutil\b|\bgcloud storage (rsync|cp)\b|\brclone\b|\bmountpoint\b"
)


def data(config: Config, recipes: Sequence[Recipe]) -> Iterator[Finding]:
    pods = on_kubernetes(config)
    folders = filled_folders(config["spec"]) if pods else _folders(config)
    if not folders:
        return  # how images come to the nodes cannot be told
    for recipe in recipes:
        for key, stated in _read_by(recipe):
            path = stated if pods else _there(config, stated)
            if not any(path.is_relative_to(folder) for folder in folders):
                yield Finding(
                    "warning" if pods else "problem",  # an image may hold them, too
                    f"{recipe.name} reads {key} {path}, which is not in what every node has: "
                    f"{', '.join(folders)}",
                    f"{key}={folders[0]}, if it is there on the nodes",
                )


def _read_by(recipe: Recipe) -> Iterator[tuple[str, PurePosixPath]]:
    from pcsearch.data.catalog import DATASETS

    stated = {"images": recipe.data.images, "manifest": recipe.data.manifest}
    if any(DATASETS[name].folder for name in recipe.datasets):
        yield "data.root", PurePosixPath(recipe.data.root)
    for name, path in stated.items():
        if name in recipe.datasets and path is not None:
            yield f"data.{name}", PurePosixPath(path)
    weights = {recipe.weights_for(backbone) for backbone in recipe.backbones}
    for file in sorted(weights - {"imagenet", "none"}):
        yield "weights", PurePosixPath(file)


def _folders(config: Config) -> list[str]:
    """Folders that commands mount, or fill, on every node, and those that are copied to all."""
    found: list[str] = []
    for line in commands(config, "initialization_commands", "setup_commands"):
        if SHARED.search(line) or _FILLS.search(line):
            words = [word.strip("'\"") for word in line.split()]
            found += [word for word in words if word.startswith(("/", "~/"))][-1:]
    found += [str(there) for there in config.get("file_mounts") or {} if _is_folder(str(there))]
    return [at_home(config, folder) for folder in found]


def _there(config: Config, path: PurePosixPath) -> PurePosixPath:
    """What lies in the home folder here is looked for in the home there, as `submit` sends it."""
    here = Path.home()
    if not path.is_relative_to(here):
        return path
    return PurePosixPath(at_home(config, f"~/{path.relative_to(here)}"))


def _is_folder(there: str) -> bool:
    name = PurePosixPath(there)
    return not name.suffix and name.parent.name not in (".ray", ".ssh", ".aws")
