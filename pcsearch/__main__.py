"""`python -m pcsearch` is `pcsearch`."""

from __future__ import annotations

from pcsearch.cli.app import main

main()
