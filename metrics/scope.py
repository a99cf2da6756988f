"""The parameters of a network that weight noise perturbs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import nn

from genas.supernet import CellNetwork

NoiseScope = Literal["all", "cells"]
"""``all`` parameters, BN and classifier included, or those inside the searched ``cells`` only."""


def parameters_in_scope(network: CellNetwork, scope: NoiseScope) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters of a network or a subnet that belong to a scope, in the network's order."""
    inside = tuple(
        f"blocks.{position}." for position, block in enumerate(network.skeleton.blocks) if block.kind == "cell"
    )
    for name, parameter in network.named_parameters():
        if scope == "all" or name.startswith(inside):
            yield name, parameter
