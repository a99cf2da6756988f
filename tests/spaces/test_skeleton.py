from __future__ import annotations

from typing import Any

import pytest

from genas.spaces import Block, Skeleton


def test_nasbench201_blocks() -> None:
    blocks = Skeleton("nasbench201", 16, 5, 10, 32).blocks
    kinds = ["cell"] * 5 + ["residual"] + ["cell"] * 5 + ["residual"] + ["cell"] * 5
    assert [block.kind for block in blocks] == kinds
    assert blocks[5] == Block("residual", -1, (16,), (32,), 32, 32, stride=2)
    assert blocks[6] == Block("cell", 0, (32,), (16,), 32, 32, stride=1)
    assert (blocks[-1].out_channels, blocks[-1].node_size) == (64, 8)


@pytest.mark.parametrize(("cells", "reductions"), [(8, [2, 5]), (14, [4, 9]), (20, [6, 13]), (3, [1, 2])])
def test_darts_reductions(cells: int, reductions: list[int]) -> None:
    blocks = Skeleton("darts-search", 16, cells, 10, 32).blocks
    assert [position for position, block in enumerate(blocks) if block.stride == 2] == reductions
    assert [block.cell_type for block in blocks] == [int(position in reductions) for position in range(cells)]


def test_darts_search_blocks() -> None:
    blocks = Skeleton("darts-search", 16, 8, 10, 32).blocks
    assert blocks[0] == Block("cell", 0, (48, 48), (32, 32), 16, 64, stride=1)
    assert blocks[1] == Block("cell", 0, (48, 64), (32, 32), 16, 64, stride=1)
    assert blocks[2] == Block("cell", 1, (64, 64), (32, 32), 32, 128, stride=2)
    assert blocks[3] == Block("cell", 0, (64, 128), (32, 16), 32, 128, stride=1)
    assert [block.node_size for block in blocks] == [32, 32, 16, 16, 16, 8, 8, 8]


def test_imagenet_starts_with_inputs_of_two_sizes() -> None:
    skeleton = Skeleton("darts-imagenet", 48, 14, 1000, 224, auxiliary=True)
    assert skeleton.blocks[0].in_sizes == (56, 28)
    assert skeleton.blocks[0].in_channels == (48, 48)
    assert [skeleton.blocks[position].node_size for position in (0, 4, 9, 13)] == [28, 14, 7, 7]
    assert skeleton.auxiliary_position == 9


def test_only_the_search_network_normalises_pools() -> None:
    kinds = ("nasbench201", "darts-search", "darts-cifar", "darts-imagenet")
    assert [Skeleton(kind, 16, 8, 10, 32).pool_bn for kind in kinds] == [False, True, False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": 0}, "cells must be at least 1, but got 0"),
        ({"kind": "darts-cifar", "cells": 2}, "cells of a DARTS network must be at least 3, .* but got 2"),
        ({"num_classes": 0}, "num_classes must be at least 1, but got 0"),
        ({"channels": 15}, "channels must be even .* but got 15"),
        ({"kind": "darts-cifar", "head_affine": False}, "head_affine is an option of nasbench201"),
        ({"kind": "darts-cifar", "conv_bias": True}, "conv_bias is an option of nasbench201 .* kind is 'darts-cifar'"),
        ({"auxiliary": True}, "auxiliary is an option of DARTS evaluation networks, but kind is 'nasbench201'"),
    ],
)
def test_bad_skeletons(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"kind": "nasbench201", "channels": 16, "cells": 5, "num_classes": 10, "image_size": 32}
    with pytest.raises(ValueError, match=message):
        Skeleton(**(settings | change))
