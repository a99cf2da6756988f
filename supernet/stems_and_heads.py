"""The fixed parts around the cells: stems, NAS-Bench-201's residual blocks, heads."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.spaces.skeleton import Skeleton
from genas.supernet.batch_norm import BatchNorm2d
from genas.supernet.convolution import Convolution
from genas.supernet.operations import ConvBN


@final
class ResidualReduction(nn.Module):
    """NAS-Bench-201's block between stages: halves the size, doubles the channels; no ReLU after the sum.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a = ConvBN(in_channels, out_channels, 3, stride=2)
        self.conv_b = ConvBN(out_channels, out_channels, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True), Convolution(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Reduced features, shape ``(n, out_channels, ceil(H / 2), ceil(W / 2))``."""
        residual: Tensor = self.conv_b(functional.relu(self.conv_a(functional.relu(images))))
        shortcut: Tensor = self.shortcut(images)
        return residual.add_(shortcut)


def build_stems(skeleton: Skeleton) -> nn.ModuleList:
    """The modules that compute the first states: one, or two in sequence (DARTS on ImageNet)."""
    channels = skeleton.stem_channels[0]
    if skeleton.kind != "darts-imagenet":
        return nn.ModuleList([ConvBN(skeleton.image_channels, channels, 3)])
    first = nn.Sequential(
        ConvBN(skeleton.image_channels, channels // 2, 3, stride=2),
        nn.ReLU(),
        ConvBN(channels // 2, channels, 3, stride=2),
    )
    return nn.ModuleList([first, nn.Sequential(nn.ReLU(), ConvBN(channels, channels, 3, stride=2))])


@final
class Head(nn.Module):
    """Global average pooling and the classifier, after BN and ReLU in NAS-Bench-201.

    Args:
        channels: Channels of the last block.
        num_classes: Number of classes.
        bn: The BN that comes first, if any; a ReLU follows it.
    """

    def __init__(self, channels: int, num_classes: int, bn: nn.BatchNorm2d | None) -> None:
        super().__init__()
        self.bn = bn
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, shape ``(n, num_classes)``."""
        if self.bn is not None:
            features = functional.relu(self.bn(features), inplace=True)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def build_head(skeleton: Skeleton) -> Head:
    """The head of a skeleton."""
    bn = None
    channels = skeleton.blocks[-1].out_channels
    if skeleton.kind == "nasbench201":
        bn = BatchNorm2d(channels, affine=skeleton.head_affine)
    return Head(channels, skeleton.num_classes, bn)


@final
class AuxiliaryHead(nn.Module):
    """DARTS' auxiliary classifier after two thirds of the cells (Liu et al., 2019); the ImageNet one lacks its last BN.

    Args:
        skeleton: A DARTS evaluation skeleton.

    Raises:
        ValueError: If the head's two unpadded layers do not shrink its features to one pixel.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        block = skeleton.blocks[skeleton.auxiliary_position]
        imagenet = skeleton.kind == "darts-imagenet"
        sizes = (7, 8) if imagenet else (8, 9, 10)
        if block.node_size not in sizes:
            raise ValueError(
                f"The auxiliary head needs features of {sizes[0]} to {sizes[-1]} pixels, but images of "
                f"{skeleton.image_size} pixels give {block.node_size}; "
                f"use images of {'224' if imagenet else '32'} pixels, or auxiliary=False."
            )
        layers: list[nn.Module] = [
            nn.AvgPool2d(5, stride=2 if imagenet else 3, padding=0, count_include_pad=False),
            Convolution(block.out_channels, 128, 1, bias=False),
            BatchNorm2d(128),
            nn.ReLU(),
            Convolution(128, 768, 2, bias=False),
        ]
        if not imagenet:
            layers.append(BatchNorm2d(768))
        self.features = nn.Sequential(*layers, nn.ReLU())
        self.classifier = nn.Linear(768, skeleton.num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, shape ``(n, num_classes)``."""
        logits: Tensor = self.classifier(torch.flatten(self.features(functional.relu(features)), 1))
        return logits
