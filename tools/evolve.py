"""Search a trained supernet: the same as ``genas evolve``."""

from __future__ import annotations

import sys

from genas.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["evolve", *sys.argv[1:]]))
