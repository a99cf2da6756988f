"""Stems, residual blocks, heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from genas.spaces import Skeleton
from genas.supernet.convolution import Convolution
from genas.supernet.operations import ConvBN
from genas.supernet.stems_and_heads import AuxiliaryHead, Head, ResidualReduction, build_head, build_stems


def doubles(count: int, channels: int, size: int) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [4, 5])
def test_residual_reduction_is_shortcut_plus_two_convolutions(size) -> None:
    block, images = ResidualReduction(2, 4).double(), doubles(3, 2, size)
    a, b, shortcut = block.conv_a, block.conv_b, block.shortcut[1]
    middle = functional.batch_norm(
        functional.conv2d(images.relu(), a.conv.weight, stride=2, padding=1), None, None, training=True
    )
    middle = functional.batch_norm(
        functional.conv2d(middle.relu(), b.conv.weight, padding=1), None, None, training=True
    )
    pooled = functional.avg_pool2d(functional.pad(images, (0, size % 2, 0, size % 2), mode="replicate"), 2)
    before = images.clone()
    if size % 2 == 0:  # the odd border averages only pixels that exist: a repeated border is the same
        assert torch.equal(pooled, functional.avg_pool2d(images, 2))
    torch.testing.assert_close(block(images), middle + functional.conv2d(pooled, shortcut.weight))
    assert torch.equal(images, before)
    assert block(images).min() < 0, "no ReLU after the sum"
    assert [type(layer) for layer in block.shortcut] == [nn.AvgPool2d, Convolution], "the shortcut has no BN"


def test_the_stems_of_each_skeleton() -> None:
    for kind, channels in (("nasbench201", 4), ("darts-search", 12), ("darts-cifar", 12)):
        (stem,) = build_stems(Skeleton(kind, 4, 3, 10, 8, image_channels=1))
        assert isinstance(stem, ConvBN)
        assert stem.conv.weight.shape == (channels, 1, 3, 3)
        assert stem.bn.affine
        assert stem(torch.randn(2, 1, 8, 8)).min() < 0, "no ReLU after the stem"
    first, second = build_stems(Skeleton("darts-imagenet", 4, 3, 10, 30))
    images = torch.randn(2, 3, 30, 30)
    assert first(images).shape == (2, 4, 8, 8)
    assert second(first(images)).shape == (2, 4, 4, 4)
    assert [type(layer) for layer in first] == [ConvBN, nn.ReLU, ConvBN]
    assert [type(layer) for layer in second] == [nn.ReLU, ConvBN]
    assert first[0].conv.weight.shape == (2, 3, 3, 3)


def test_bn_outside_the_cells_is_always_affine() -> None:
    skeleton = Skeleton("nasbench201", 4, 1, 10, 8, affine=False)
    modules = [*build_stems(skeleton).modules(), *build_head(skeleton).modules(), *ResidualReduction(4, 8).modules()]
    layers = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    assert len(layers) == 4
    assert all(layer.affine for layer in layers)


def test_the_head_is_the_mean_over_pixels_and_a_linear_layer() -> None:
    head, features = Head(3, 5, None).double(), doubles(2, 3, 4)
    expected = torch.stack(
        [feature.flatten(1).mean(1) @ head.classifier.weight.T + head.classifier.bias for feature in features]
    )
    torch.testing.assert_close(head(features), expected)
    assert head.bn is None


def test_the_head_of_nasbench201_normalises_and_rectifies_first() -> None:
    head, features = build_head(Skeleton("nasbench201", 4, 1, 5, 8)).double(), doubles(6, 16, 2)
    before = features.clone()
    normal = functional.batch_norm(features, None, None, training=True).relu().mean((2, 3))
    torch.testing.assert_close(head(features), functional.linear(normal, head.classifier.weight, head.classifier.bias))
    assert torch.equal(features, before), "the ReLU in place is on the BN's output"
    assert build_head(Skeleton("darts-search", 4, 3, 5, 8)).bn is None


@pytest.mark.parametrize(
    ("kind", "size", "layers", "pooled"),
    [("darts-cifar", 32, 2, 2), ("darts-imagenet", 224, 1, 2), ("darts-imagenet", 256, 1, 2)],
)
def test_auxiliary_heads(kind, size, layers, pooled) -> None:
    skeleton = Skeleton(kind, 2, 6, 7, size, auxiliary=True)
    head = AuxiliaryHead(skeleton)
    block = skeleton.blocks[skeleton.auxiliary_position]
    features = torch.randn(3, block.out_channels, block.node_size, block.node_size)
    assert head(features).shape == (3, 7)
    assert head.features[0](features).shape[-1] == pooled
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in head.features) == layers, (
        "the ImageNet head lacks its last BN"
    )
    widths = [layer.out_channels for layer in head.features if isinstance(layer, nn.Conv2d)]
    assert widths == [128, 768]


def test_the_auxiliary_head_rectifies_a_copy_of_the_features() -> None:
    skeleton = Skeleton("darts-cifar", 2, 6, 7, 32, auxiliary=True)
    head, features = AuxiliaryHead(skeleton).eval(), torch.randn(2, 32, 8, 8)
    before = features.clone()
    torch.testing.assert_close(head(features), head(features.relu()))
    assert torch.equal(features, before), "the next cell reads them"


@pytest.mark.parametrize(("kind", "size"), [("darts-cifar", 16), ("darts-cifar", 64), ("darts-imagenet", 128)])
def test_an_auxiliary_head_on_images_that_do_not_fit_is_refused(kind, size) -> None:
    with pytest.raises(
        ValueError, match=f"needs features of .* pixels, but images of {size} pixels give .*auxiliary=False"
    ):
        AuxiliaryHead(Skeleton(kind, 2, 6, 7, size, auxiliary=True))
