"""Measure how well metrics rank architectures: the same as ``genas rank``."""

from __future__ import annotations

import sys

from genas.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["rank", *sys.argv[1:]]))
