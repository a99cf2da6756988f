from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genas.supernet.convolution import Convolution, Geometry, conv2d
from genas.supernet.operations import FactorizedReduce

STRIDED = Geometry((2, 2), (0, 0), (1, 1), 1)


def gradients(output: Tensor, *inputs: Tensor) -> list[Tensor]:
    return [output.detach(), *torch.autograd.grad(output.square().sum(), inputs)]


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 15, 16])
def test_a_strided_pointwise_convolution_of_few_channels(channels: int, size: int) -> None:
    """oneDNN writes past its memory here: wrong gradients of the weight, or a crash."""
    rng = torch.Generator().manual_seed(channels)
    node = torch.randn(5, channels, size, size, generator=rng).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, channels, 1, 1, generator=rng).contiguous(memory_format=torch.channels_last)
    found, expected = (
        gradients(run(*pair, None), *pair)
        for run, pair in (
            (lambda *given: conv2d(*given, STRIDED), [each.requires_grad_() for each in (node, weight)]),
            (
                lambda *given: functional.conv2d(*given, stride=2),
                [each.detach().double().contiguous().requires_grad_() for each in (node, weight)],
            ),
        )
    )
    for ours, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("channels", "stride"), [(2, (1, 1)), (15, (1, 1)), (16, (2, 2))])
def test_it_runs_without_its_stride(monkeypatch: pytest.MonkeyPatch, channels: int, stride: tuple[int, int]) -> None:
    """The only way to see on every processor that the broken kernel is not reached."""
    seen = []
    real = functional.conv2d

    def spied(node: Tensor, weight: Tensor, bias: Tensor | None, *geometry: object) -> Tensor:
        seen.append(geometry[0])
        return real(node, weight, bias, *geometry)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "conv2d", spied)
    FactorizedReduce(channels, 8)(torch.zeros(2, channels, 8, 8))
    assert seen == [stride] * 2


@pytest.mark.parametrize("learns", [True, False])
def test_a_bias_keeps_the_type_of_a_narrow_output(learns: bool) -> None:
    layer = Convolution(4, 4, 3, bias=True).requires_grad_(learns)
    node = torch.randn(2, 4, 6, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(node).dtype == torch.bfloat16
