"""Print the licences of all that a run-time installation of pcsearch brings, as a Markdown table.

    python scripts/licences.py > docs/licences.md

Follows the requirements of the installed distributions, as they apply here, from pcsearch on. Test
and development tools are left out. Each licence is what its distribution states of itself: the
SPDX expression, else the classifiers, else the first line of the field.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = {"pcsearch": {"aws"}}
"""Extras of pcsearch that a user may install to run it."""

MISSING = "(not installed here)"


def closure(root: str) -> dict[str, Distribution | None]:
    """Every distribution that `root` needs here, itself left out; None for one that is absent."""
    found: dict[str, Distribution | None] = {}
    waiting = [(root, frozenset(EXTRAS.get(root, ())))]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        try:
            here = distribution(name)
        except PackageNotFoundError:
            found[name] = None
            continue
        found[name] = here
        for text in here.requires or ():
            needed = Requirement(text)
            asked = [{"extra": extra} for extra in ("", *extras)]
            if needed.marker is None or any(map(needed.marker.evaluate, asked)):
                step = (canonicalize_name(needed.name), frozenset(needed.extras))
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
    del found[root]
    return found


def licence(of: Distribution | None) -> str:
    """What the distribution states."""
    if of is None:
        return MISSING
    stated = of.metadata
    if expression := stated.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in stated.get_all("Classifier", ())
        if line.startswith("License :: ") and not line.endswith(":: OSI Approved")
    ]
    return ", ".join(classifiers) or (stated.get("License") or "").strip().partition("\n")[0] or "?"


def main() -> None:
    print("# Licences\n")
    print("What a run-time installation of pcsearch brings, the extra `aws` included, and the")
    print("licence that each distribution states of itself. Made by `make licences` on Linux.\n")
    print("| distribution | version | licence |\n| --- | --- | --- |")
    for name, found in sorted(closure("pcsearch").items()):
        version = "" if found is None else found.version
        print(f"| {name} | {version} | {licence(found).replace('|', '/')} |")


if __name__ == "__main__":
    main()
