"""Make a table of ground truth from published accuracies: the same as ``genas import-table``."""

from __future__ import annotations

import sys

from genas.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["import-table", *sys.argv[1:]]))
