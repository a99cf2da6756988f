"""Second derivatives of the layers that supply their own: convolution, batch normalisation, weighted sum."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from genas.spaces import space
from genas.supernet import CellNetwork
from genas.supernet.batch_norm import BatchNorm2d, Normalized
from genas.supernet.batch_norm_function import batch_norm
from genas.supernet.convolution import Convolution, Geometry, conv2d
from genas.supernet.mixtures import Mixture
from genas.supernet.weighting import weighted_sum


def _random(*shape: int, seed: int = 0, differentiable: bool = True) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_(differentiable)


@pytest.mark.parametrize(
    ("geometry", "kernel"),
    [
        (Geometry((1, 1), (1, 1), (1, 1), 1), 3),
        (Geometry((2, 2), (1, 1), (1, 1), 1), 3),
        (Geometry((2, 2), (0, 0), (1, 1), 2), 1),
        (Geometry((1, 1), (2, 2), (2, 2), 4), 3),
    ],
)
def test_convolution_with_a_constant_weight_equals_torchs_up_to_the_second_derivative(geometry, kernel) -> None:
    node, bias = _random(2, 4, 5, 6), _random(4, seed=1, differentiable=False)
    weight = _random(4, 4 // geometry.groups, kernel, kernel, seed=2, differentiable=False)
    output, expected = (
        run(node, weight, bias)
        for run in (
            lambda *tensors: conv2d(*tensors, geometry),
            lambda *tensors: functional.conv2d(*tensors, *geometry),
        )
    )
    torch.testing.assert_close(output, expected, rtol=1e-13, atol=1e-13)
    assert gradcheck(lambda node: conv2d(node, weight, bias, geometry).sin(), node)
    assert gradgradcheck(lambda node: conv2d(node, weight, bias, geometry).sin(), node)


def test_convolution_whose_weight_or_bias_learns_has_their_gradients() -> None:
    layer = Convolution(2, 3, 3, padding=1).double()
    node = _random(1, 2, 4, 4)
    assert gradgradcheck(
        lambda weight: conv2d(node, weight, layer.bias, Geometry((1, 1), (1, 1), (1, 1), 1)).sin(),
        layer.weight.detach().requires_grad_(),
    )
    layer.weight.requires_grad_(False)
    (of_bias,) = grad(layer(node).sum(), layer.bias)
    torch.testing.assert_close(of_bias, torch.full((3,), 16.0, dtype=torch.float64))


@pytest.mark.parametrize("scaled", [True, False])
def test_batch_norm_equals_torchs_up_to_the_second_derivative(scaled) -> None:
    values = _random(3, 2, 2, 3)
    scale, shift = (_random(2, seed=1), _random(2, seed=2)) if scaled else (None, None)
    expected = functional.batch_norm(values, None, None, scale, shift, True, 0.0, 0.01)
    torch.testing.assert_close(batch_norm(values, scale, shift, 0.01)[0], expected, rtol=1e-13, atol=1e-13)
    points = (values, scale, shift) if scaled else (values,)
    function = lambda *tensors: batch_norm(*tensors, *[None] * (3 - len(tensors)), 0.01)[0].sin()
    assert gradcheck(function, points)
    assert gradgradcheck(function, points)


def test_second_derivative_of_batch_norm_with_a_scale_of_zero() -> None:
    """An operation may have the weight zero, where whoever divides by it finds NaN."""
    function = lambda values, scale: batch_norm(values, scale, None, 0.01)[0].sin()
    assert gradgradcheck(function, (_random(3, 2, 2, 3), torch.zeros(2, dtype=torch.float64, requires_grad=True)))


class _ScaleGiven(TorchDispatchMode):
    """Counts gradients of BN, and refuses those without a scale: on CUDA torch finds no sums for them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.native_batch_norm_backward.default:
            assert args[2] is not None
            self.count += 1
        return function(*args, **(kwargs or {}))


def test_torch_never_has_to_do_without_a_scale() -> None:
    values = _random(3, 2, 2, 3)
    with _ScaleGiven() as watched:
        (first,) = grad(batch_norm(values, None, None, 0.01)[0].sin().sum(), values, create_graph=True)
        first.sin().sum().backward()
    assert watched.count == 4  # the gradient, that of the second pass, and two sums of its own gradient


def test_statistics_of_narrow_types_are_wide() -> None:
    values = 10 + 3 * _random(64, 2, 8, 8, differentiable=False)
    _, mean, inverse = batch_norm(values.bfloat16(), None, None, 1e-5)
    torch.testing.assert_close(mean.double(), values.mean((0, 2, 3)), rtol=1e-3, atol=0)
    torch.testing.assert_close(inverse.double(), 1 / values.std((0, 2, 3)), rtol=1e-3, atol=0)


def test_batch_norm_refuses_channels_with_one_value() -> None:
    with pytest.raises(ValueError, match="larger"):
        batch_norm(torch.zeros(1, 3, 1, 1), None, None, 1e-5)


def test_a_third_derivative_is_refused() -> None:
    values = _random(3, 2, 2, 2)
    (first,) = grad(batch_norm(values, None, None, 0.01)[0].sin().sum(), values, create_graph=True)
    (second,) = grad(first.sin().sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_statistics_for_several_layers_are_those_of_each() -> None:
    values, layer, reference = _random(4, 3, 5, 5, differentiable=False), BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    normalized = Normalized.of(values, layer.eps)
    for _ in range(3):
        normalized.record(layer)
        reference.double()(values)
    torch.testing.assert_close(layer.running_mean.double(), reference.running_mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(layer.running_var.double(), reference.running_var, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("constant", ["none", "weights", "first"])
def test_weighted_sum_up_to_the_second_derivative(constant) -> None:
    weights = _random(3, differentiable=constant != "weights")
    values = [_random(2, 2, 2, 2, seed=k, differentiable=k > 1 or constant != "first") for k in (1, 2, 3)]
    function = lambda weights, *values: weighted_sum(weights.unbind(), values).sin()
    assert gradcheck(function, (weights, *values))
    assert gradgradcheck(function, (weights, *values))


@pytest.mark.parametrize("name", ["nasbench201", "darts", "s2"])
def test_hessian_vector_product_of_a_network_equals_differences_of_its_gradient(name) -> None:
    search_space = space(name)
    cells = 1 if name == "nasbench201" else 3
    skeleton = search_space.supernet_skeleton(3, 8, channels=4, cells=cells)
    network = CellNetwork.initialised(search_space, skeleton, seed=0).double().requires_grad_(False)
    images = _random(4, 3, 8, 8, seed=1, differentiable=False)
    shapes = []
    start = 0
    for cell in search_space.cell_types:
        shapes.append((len(cell.edges), len(search_space.candidates[start])))
        start += len(cell.edges)
    alphas = [_random(*shape, seed=2 + k) for k, shape in enumerate(shapes)]
    direction = [_random(*shape, seed=9 + k, differentiable=False) for k, shape in enumerate(shapes)]

    def slopes(points: list[torch.Tensor], *, graph: bool) -> tuple[torch.Tensor, ...]:
        mixtures = [Mixture(points[kind].softmax(1)) for kind in network.cell_types]
        with network.statistics("batch"):
            loss = functional.cross_entropy(network(images, mixtures), torch.tensor([0, 1, 2, 1]))
        return grad(loss, points, create_graph=graph)

    along = sum((slope * part).sum() for slope, part in zip(slopes(alphas, graph=True), direction, strict=True))
    product = grad(along, alphas)
    step = 1e-6  # short, so that no ReLU and no maximum changes its mind on the way
    moved = [
        [(alpha + sign * step * part).detach().requires_grad_() for alpha, part in zip(alphas, direction, strict=True)]
        for sign in (1, -1)
    ]
    plus, minus = (slopes(points, graph=False) for points in moved)
    for found, above, below in zip(product, plus, minus, strict=True):
        torch.testing.assert_close(found, (above - below) / (2 * step), rtol=1e-4, atol=1e-7)


def test_products_in_a_narrow_type_point_where_those_in_float32_do() -> None:
    found = space("nasbench201")
    network = CellNetwork.initialised(found, found.supernet_skeleton(3, 8, channels=8, cells=1), seed=0)
    network.requires_grad_(False)
    images = _random(16, 3, 8, 8, seed=1, differentiable=False).float()
    alphas = _random(6, 5, seed=2).detach().float().requires_grad_()
    products = []
    for narrow in (False, True):
        with network.statistics("batch"), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            logits = network(images, [Mixture(alphas.softmax(1))] * len(network.cells))
        loss = functional.cross_entropy(logits.float(), torch.arange(16) % 3)
        (slope,) = grad(loss, alphas, create_graph=True)
        products.append(grad((slope * slope.detach()).sum(), alphas)[0].flatten())
    assert products[1].dtype == torch.float32
    assert float(functional.cosine_similarity(*products, dim=0)) > 0.9


@pytest.mark.parametrize("records", [False, True])
def test_a_batch_without_variance_is_refused_with_the_cure(records: bool) -> None:
    """A last batch of one image whose feature map has shrunk to one pixel."""
    layer = BatchNorm2d(3, track_running_stats=records).train()
    with pytest.raises(ValueError, match=r"more than one value per channel, but the shape is \(1, 3, 1, 1\); take a"):
        layer(torch.zeros(1, 3, 1, 1))
    assert layer(torch.zeros(1, 3, 1, 2)).shape == (1, 3, 1, 2)
