"""Search by gradient descent in a relaxation of the space: the same as ``genas search``."""

from __future__ import annotations

import sys

from genas.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["search", *sys.argv[1:]]))
