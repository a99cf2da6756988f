"""The macro-structure around the cells, as plain data: one list of blocks that both the costs and the networks read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

SkeletonKind = Literal["nasbench201", "darts-search", "darts-cifar", "darts-imagenet"]


@final
@dataclass(frozen=True)
class Block:
    """One step of the macro-structure.

    Args:
        kind: ``cell``: a searched cell; ``residual``: NAS-Bench-201's fixed reduction block.
        cell_type: Position in the space's ``cell_types``; -1 for a residual block.
        in_channels: Channels of each input, oldest first.
        in_sizes: Height (and width) of each input in pixels, oldest first.
        channels: Channels of one node of the cell, or of the residual block's output.
        out_channels: Channels of the output.
        stride: 1 or 2. In a cell with stride 2 only the edges that leave an input have it.
    """

    kind: Literal["cell", "residual"]
    cell_type: int
    in_channels: tuple[int, ...]
    in_sizes: tuple[int, ...]
    channels: int
    out_channels: int
    stride: int

    @property
    def node_size(self) -> int:
        """Height (and width) in pixels of the nodes that are not inputs."""
        return -(-self.in_sizes[-1] // self.stride)


@final
@dataclass(frozen=True)
class Skeleton:
    """The network around the cells.

    Args:
        kind: ``nasbench201``: three stages of cells with residual blocks in between; ``darts-search``: DARTS' search
            network (pools are followed by BN); ``darts-cifar`` and ``darts-imagenet``: DARTS' evaluation networks
            (pools have no BN).
        channels: Channels of the first cells, C.
        cells: Cells per stage, N, of ``nasbench201``; number of cells, L, of the DARTS networks.
        num_classes: Number of classes.
        image_size: Height and width of the images in pixels.
        image_channels: Channels of the images.
        affine: Whether the BN layers inside the cells have a weight and a bias. Stem and residual blocks always do.
        conv_bias: Whether convolutions inside NAS-Bench-201 cells have a bias (newer AutoDL-Projects does when
            ``affine`` is false; RLNAS and the benchmark do not).
        head_affine: Whether the BN before NAS-Bench-201's classifier has a weight and a bias (RLNAS and the benchmark:
            always; newer AutoDL-Projects ties it to ``affine``).
        auxiliary: Whether the DARTS evaluation networks have the auxiliary head after two thirds of the cells.

    Raises:
        ValueError: If a size is not positive, or an option does not exist for this kind.
    """

    kind: SkeletonKind
    channels: int
    cells: int
    num_classes: int
    image_size: int
    image_channels: int = 3
    affine: bool = True
    conv_bias: bool = False
    head_affine: bool = True
    auxiliary: bool = False

    def __post_init__(self) -> None:
        for name in ("channels", "cells", "num_classes", "image_size", "image_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}.")
        if self.channels % 2:
            raise ValueError(f"channels must be even (a factorised reduction halves them), but got {self.channels}.")
        if self.cells < 3 and self.kind != "nasbench201":
            raise ValueError(f"cells of a DARTS network must be at least 3, or none is normal, but got {self.cells}.")
        if not self.head_affine and self.kind != "nasbench201":
            raise ValueError(f"head_affine is an option of nasbench201 skeletons, but kind is {self.kind!r}.")
        if self.conv_bias and self.kind != "nasbench201":
            raise ValueError(f"conv_bias is an option of nasbench201 skeletons, but kind is {self.kind!r}.")
        if self.auxiliary and self.kind not in ("darts-cifar", "darts-imagenet"):
            raise ValueError(f"auxiliary is an option of DARTS evaluation networks, but kind is {self.kind!r}.")

    @property
    def pool_bn(self) -> bool:
        """Whether pooling operations are followed by BN: only in DARTS' search network."""
        return self.kind == "darts-search"

    @property
    def stem_channels(self) -> tuple[int, ...]:
        """Channels of the states that the first cell can read, oldest first."""
        return {
            "nasbench201": (self.channels,),
            "darts-search": (3 * self.channels, 3 * self.channels),
            "darts-cifar": (3 * self.channels, 3 * self.channels),
            "darts-imagenet": (self.channels, self.channels),
        }[self.kind]

    @property
    def stem_sizes(self) -> tuple[int, ...]:
        """Height (and width) of these states in pixels."""
        if self.kind == "nasbench201":
            return (self.image_size,)
        if self.kind == "darts-imagenet":
            halved = [-(-self.image_size // divisor) for divisor in (4, 8)]
            return tuple(halved)
        return (self.image_size, self.image_size)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks between stem and head, in order."""
        return self._nasbench201_blocks() if self.kind == "nasbench201" else self._darts_blocks()

    @property
    def auxiliary_position(self) -> int:
        """Position of the block after which the auxiliary head is attached."""
        return 2 * self.cells // 3

    def _nasbench201_blocks(self) -> tuple[Block, ...]:
        blocks: list[Block] = []
        channels, size = self.channels, self.image_size
        for stage in range(3):
            if stage:
                blocks.append(Block("residual", -1, (channels,), (size,), 2 * channels, 2 * channels, stride=2))
                channels, size = 2 * channels, blocks[-1].node_size
            blocks += [Block("cell", 0, (channels,), (size,), channels, channels, stride=1)] * self.cells
        return tuple(blocks)

    def _darts_blocks(self) -> tuple[Block, ...]:
        blocks: list[Block] = []
        in_channels, in_sizes, channels = self.stem_channels, self.stem_sizes, self.channels
        for position in range(self.cells):
            reduction = position in (self.cells // 3, 2 * self.cells // 3)
            channels *= 2 if reduction else 1
            block = Block(
                "cell", int(reduction), in_channels, in_sizes, channels, 4 * channels, stride=2 if reduction else 1
            )
            blocks.append(block)
            in_channels, in_sizes = (in_channels[1], block.out_channels), (in_sizes[1], block.node_size)
        return tuple(blocks)
