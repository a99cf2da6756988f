"""Train a supernet: the same as ``genas train-supernet``."""

from __future__ import annotations

import sys

from genas.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["train-supernet", *sys.argv[1:]]))
