"""Train stand-alone networks and write their accuracies as a table: the same as ``genas build-table``."""

from __future__ import annotations

import sys

from genas.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["build-table", *sys.argv[1:]]))
