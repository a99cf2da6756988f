"""Size of the networks that are trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass

from genas.data import ImageData
from genas.spaces import SearchSpace, Skeleton


@dataclass(frozen=True)
class StandaloneNetwork:
    """Size of the networks that are trained from scratch.

    Args:
        channels: Channels of the first cells; ``None``: the published number.
        cells: Cells per stage (NAS-Bench-201) or number of cells (DARTS); ``None``: the published number.
    """

    channels: int | None = None
    cells: int | None = None

    def skeleton(self, space: SearchSpace, data: ImageData) -> Skeleton:
        """The macro-structure for a space and a data set."""
        return space.standalone_skeleton(
            data.num_classes, data.image_size, data.image_channels, channels=self.channels, cells=self.cells
        )
