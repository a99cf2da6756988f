"""Repeat the tables of Neighborhood-Aware NAS on a table of ground truth: the same as ``genas na-tables``."""

from __future__ import annotations

import sys

from genas.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["na-tables", *sys.argv[1:]]))
