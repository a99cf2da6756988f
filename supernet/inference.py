"""Fast evaluation of one subnet: BN folded into convolutions, batches that fit in the cache, sums in float64."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from genas.supernet.network import CellNetwork
from genas.supernet.operations import ConvBN, DilConv, FactorizedReduce


def fold_bn(network: CellNetwork) -> CellNetwork:
    """Fold every BN that directly follows a convolution into it, in place.

    The network must be in evaluation mode with final BN statistics; afterwards it computes the same function with fewer
    passes over memory, and can no longer be trained. BN after pooling and in the head stays. Operations already folded
    stay unchanged.

    Args:
        network: A network whose weights are not shared, e.g. from :meth:`CellNetwork.subnet`.

    Returns:
        The same network.

    Raises:
        ValueError: If the network, or a BN layer of it, is in training mode.
    """
    if any(module.training for module in network.modules()):  # the BN layers are, when calibrated for ``batch``
        raise ValueError("BN can be folded only in evaluation mode: call network.eval() first.")
    for operation in _foldable(network):
        start = 0
        for conv in _convolutions(operation):
            _fold(conv, operation.bn, slice(start, start + conv.out_channels))
            start += conv.out_channels
        operation.register_module("bn", nn.Identity().eval())
    return network


@contextlib.contextmanager
def folded(network: CellNetwork) -> Iterator[CellNetwork]:
    """Fold BN as :func:`fold_bn` within a ``with`` block, and restore the network afterwards.

    Args:
        network: A network in evaluation mode.

    Yields:
        The same network.
    """
    operations = list(_foldable(network))
    layers = [operation.bn for operation in operations]
    parameters = [[(conv.weight, conv.bias) for conv in _convolutions(operation)] for operation in operations]
    try:
        yield fold_bn(network)
    finally:
        for operation, layer, before in zip(operations, layers, parameters, strict=True):
            operation.register_module("bn", layer)
            for conv, (weight, bias) in zip(_convolutions(operation), before, strict=True):
                conv.weight, conv.bias = weight, bias


def _foldable(network: CellNetwork) -> Iterator[ConvBN | DilConv | FactorizedReduce]:
    for module in network.modules():
        if isinstance(module, ConvBN | DilConv | FactorizedReduce) and not isinstance(module.bn, nn.Identity):
            yield module


def _convolutions(operation: ConvBN | DilConv | FactorizedReduce) -> list[nn.Conv2d]:
    """The convolutions whose concatenated outputs the operation's BN normalises."""
    return [operation.conv_even, operation.conv_odd] if isinstance(operation, FactorizedReduce) else [operation.conv]


def _fold(conv: nn.Conv2d, bn: nn.BatchNorm2d, channels: slice) -> None:
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError("BN can be folded only with running statistics, but this network keeps none.")
    weight, bias = bn.weight, bn.bias
    fused = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        bn.running_mean[channels],
        bn.running_var[channels],
        bn.eps,
        None if weight is None else weight[channels],
        None if bias is None else bias[channels],
    )
    conv.weight, conv.bias = fused


class Evaluation(NamedTuple):
    """Results of a network on a labelled set of images.

    Args:
        loss: Mean cross-entropy in nats. If it is NaN, so are the others.
        accuracy: Fraction of images whose true class has the largest logit, in [0, 1].
        top5: Fraction of images whose true class is among the five largest logits (all classes where there are fewer),
            in [0, 1].
    """

    loss: float
    accuracy: float
    top5: float


def batches(tensor: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Consecutive batches along the first dimension; the last one may be smaller."""
    for start in range(0, len(tensor), batch_size):
        yield tensor[start : start + batch_size]


@torch.inference_mode()
def evaluate(network: CellNetwork, images: Tensor, labels: Tensor, *, batch_size: int = 64) -> Evaluation:
    """Loss and accuracy of a stand-alone network, in its current mode.

    Sums run over images, not batches, in float64, so that the result does not depend on a last, smaller batch.

    Args:
        network: A network with one operation per edge.
        images: Normalised images of the network's type, shape ``(n, image_channels, H, W)``.
        labels: True classes, shape ``(n,)``.
        batch_size: Images per forward pass. On a CPU small batches stay in the cache.

    Returns:
        Means over the images; not-a-number losses are passed on.

    Raises:
        ValueError: If there are no images.
    """
    if len(labels) == 0:
        raise ValueError("evaluate needs at least one image, but got none.")
    losses, ranks = [], []  # on the device: a GPU is waited for once
    for batch, truth in zip(batches(images, batch_size), batches(labels, batch_size), strict=True):
        logits = network(batch)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        losses.append(functional.cross_entropy(logits, truth, reduction="none"))
        ranks.append(_rank(logits, truth))
    loss = float(torch.cat(losses).cpu().double().mean())  # on the host: MPS has no float64
    accuracy, top5 = (float((torch.cat(ranks) < places).sum()) / len(labels) for places in (1, 5))
    if math.isnan(loss):  # a network that fails has no accuracy, not a low one
        return Evaluation(math.nan, math.nan, math.nan)
    return Evaluation(loss, accuracy, top5)


def _rank(logits: Tensor, truth: Tensor) -> Tensor:
    """Number of classes ranked before the true one, shape ``(n,)``; without meaning where a logit is NaN.

    Equal logits are ordered by class, as in argmax; torch's topk leaves their order undefined.

    Returns:
        The rank of the true class, from 0, int64.
    """
    own = logits.gather(1, truth[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < truth[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(dim=1)
