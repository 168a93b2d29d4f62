"""Entry point of the `bunet` command, and of `python -m bunet.experiments`."""

from __future__ import annotations

import sys

from bunet.protocols.kernels import TierUnavailable


def main() -> None:
    """Run the command line. Kernels choose their instructions when they are imported, so a bad choice is met here."""
    try:
        from bunet.experiments.cli import app
    except TierUnavailable as error:
        print(f"bunet: {error}", file=sys.stderr)
        sys.exit(2)
    app(prog_name="bunet")


if __name__ == "__main__":
    main()
