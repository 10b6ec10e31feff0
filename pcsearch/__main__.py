"""Entry point of `pcsearch` and of `python -m pcsearch`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; never returns."""
    _leave_current_folder()
    from pcsearch.cli.ctrl_c import nothing_to_clean_up

    nothing_to_clean_up()
    from pcsearch.cli.app import main as run

    run()


def _leave_current_folder() -> None:
    """`python -m` searches the current folder first: a `torch.py` there would be PyTorch."""
    here = os.path.realpath(os.curdir)
    package = os.path.realpath(f"{__file__}/../..")
    if sys.path and os.path.realpath(sys.path[0]) == here != package:
        del sys.path[0]


if __name__ == "__main__":
    main()
