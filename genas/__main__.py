"""``python -m genas`` is the command ``genas``."""

from __future__ import annotations

from genas.cli import main

raise SystemExit(main())
