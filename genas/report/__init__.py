"""What people look at: pictures."""

from __future__ import annotations

from genas.report.cell_picture import architecture_figure, draw_architecture

__all__ = ["architecture_figure", "draw_architecture"]
