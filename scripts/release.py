"""Say what keeps this checkout from being released; `make release` builds only if nothing does.

    python scripts/release.py [FOLDER]

The version is `pcsearch/version.py`'s, and a release is a commit whose tag is that version. It is
not made from the tag: cluster files name the wheel by its version, and the nodes of a cluster
refuse a campaign of another one. A version that changes at each commit would break both.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

MADE_UP = re.compile(r"example\.|localhost|127\.0\.0\.1|owner/|your-|fill.?in", re.IGNORECASE)


def problems(root: Path) -> Iterator[str]:
    """What is wrong with a release of the checkout `root`, a sentence each."""
    (version,) = re.findall(r'__version__ = "(.+)"', (root / "pcsearch/version.py").read_text())
    tags = _git(root, "tag", "--points-at", "HEAD").split()
    if tags != [f"v{version}"]:
        yield (
            f"pcsearch/version.py says {version}, but this commit has "
            f"{'the tag ' + ', '.join(tags) if tags else 'no tag'}: git tag v{version}"
        )
    if changed := _git(root, "status", "--porcelain").strip():
        yield f"there are changes that are not committed: {changed.splitlines()[0].split()[-1]}"
    (cited,) = re.findall(r"^version: (.+)$", (root / "CITATION.cff").read_text(), re.MULTILINE)
    if cited != version:
        yield f"CITATION.cff says {cited}, pcsearch/version.py {version}"
    newest = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    if not re.fullmatch(rf"{re.escape(version)}, \d{{4}}-\d{{2}}-\d{{2}}", newest):
        yield f'the first heading of CHANGELOG.md is "{newest}": write "{version}, YYYY-MM-DD"'
    urls = tomllib.loads((root / "pyproject.toml").read_text())["project"].get("urls", {})
    if missing := [name for name in ("Source", "Documentation", "Issues") if name not in urls]:
        yield f"pyproject.toml has no [project.urls] for {', '.join(missing)}: add their addresses"
    for name, url in urls.items():
        if not url.startswith("https://") or MADE_UP.search(url):
            yield f"[project.urls] {name} = {url} is no address that a reader can open"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    found = list(problems(root))
    for one in found:
        print(f"error: {one}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
