"""`pcsearch` begins here, and `python -m pcsearch`."""

from __future__ import annotations

from pcsearch.cli.ctrl_c import nothing_to_clean_up


def main() -> None:
    """Run the command line; never returns."""
    nothing_to_clean_up()
    from pcsearch.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
