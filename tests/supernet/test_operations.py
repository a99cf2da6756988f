"""Every operation by its closed form or a hand-made example."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.spaces import DARTS, NASBench201, Skeleton
from genas.supernet.cells import Nodes
from genas.supernet.operations import (
    BUILDERS,
    AveragePool,
    ConvBN,
    DilConv,
    FactorizedReduce,
    Noise,
    Operation,
    Pool,
    SepConv,
    Skip,
    build_operation,
)

SEARCH = Skeleton("darts-search", 4, 3, 10, 8)
EVALUATION = Skeleton("darts-cifar", 4, 3, 10, 8)
SUPERNET_201 = Skeleton("nasbench201", 4, 1, 10, 8, affine=False)


def image(*rows: list[float]) -> Tensor:
    """One image of one channel."""
    return torch.tensor([[rows]], dtype=torch.float64)


# ---------------------------------------------------------------------------------------------------------------- pools


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("size", [4, 5])
def test_pooling_keeps_a_constant_image_constant(kind, stride, size) -> None:
    """An average that counted the padding would shrink the corners to 4/9, a maximum over zeros would be 0."""
    pool = Pool(kind, 2, stride, EVALUATION).double()
    constant = torch.full((1, 2, size, size), -3.0, dtype=torch.float64)
    side = -(-size // stride)
    torch.testing.assert_close(pool(constant), constant[:, :, :side, :side], rtol=0, atol=1e-15)


def test_a_one_in_the_corner_spreads_as_one_over_the_pixels_in_the_window() -> None:
    corner = image([1.0, 0, 0, 0], [0.0, 0, 0, 0], [0.0, 0, 0, 0], [0.0, 0, 0, 0])
    pooled = build_operation("avg_pool_3x3", 1, 1, SUPERNET_201)(corner)
    expected = image([1 / 4, 1 / 6, 0, 0], [1 / 6, 1 / 9, 0, 0], [0.0, 0, 0, 0], [0.0, 0, 0, 0])
    torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize(
    ("skeleton", "layers"),
    [(SEARCH, 1), (EVALUATION, 0), (SUPERNET_201, 0), (Skeleton("darts-imagenet", 4, 3, 10, 64), 0)],
)
@pytest.mark.parametrize("name", ["avg_pool_3x3", "max_pool_3x3"])
def test_only_the_darts_search_network_normalises_pools(skeleton, layers, name) -> None:
    found = [module for module in build_operation(name, 4, 1, skeleton).modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(found) == layers
    assert all(layer.affine for layer in found)


# -------------------------------------------------------------------------------------------------------- shapes, flags


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [5, 6])
def test_every_operation_keeps_channels_and_divides_the_size_rounding_up(name, stride, size) -> None:
    operation = build_operation(name, 4, stride, SEARCH)
    if isinstance(operation, Noise):
        operation.generator = torch.Generator().manual_seed(0)
    side = -(-size // stride)
    assert operation(torch.randn(2, 4, size, size)).shape == (2, 4, side, side)


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("stride", [1, 2])
def test_a_sum_may_be_written_into_a_free_output(name, stride) -> None:
    """A wrong flag would change a node that others still read, or what the backward pass reads."""
    operation, node = build_operation(name, 4, stride, EVALUATION), torch.randn(2, 4, 6, 6, requires_grad=True)
    assert operation.output_is_free is not (name == "skip_connect" and stride == 1)
    if isinstance(operation, Noise):
        operation.generator = torch.Generator().manual_seed(0)
    if operation.output_is_free:
        before = node.detach().clone()
        output = operation(node).add_(1)
        if output.requires_grad:
            output.square().sum().backward()
        assert torch.equal(node, before)


def test_the_output_of_an_unknown_operation_is_left_alone() -> None:
    """One that ends with a ReLU, whose backward pass reads its output, may meet another on a node."""

    class Gate(Operation):
        def forward(self, node: Tensor) -> Tensor:
            return torch.relu(node)

    cell = NASBench201().cell_types[0]
    node = torch.randn(2, 4, 6, 6, requires_grad=True)
    nodes = Nodes([node], cell.num_nodes, inputs_owned=False, read_plain=set(range(cell.num_nodes)))
    for _ in range(2):
        nodes.add(1, Gate()(node), owned=Gate.output_is_free)
    total = nodes.read(1, rectified=False)
    assert total is not None
    total.sum().backward()
    torch.testing.assert_close(node.grad, 2.0 * (node > 0))


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("stride", [1, 2])
def test_operations_that_ask_for_the_rectified_node_are_those_of_the_papers(name, stride) -> None:
    """ReLU comes before convolutions and before the factorised skip, never before pools, identities and noise."""
    convolves = "conv" in name or (name == "skip_connect" and stride == 2)
    assert build_operation(name, 4, stride, SEARCH).rectified is convolves


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("space", [DARTS(), DARTS("s4"), NASBench201()])
def test_affine_reaches_every_bn_and_every_operation_of_the_spaces_exists(space, affine) -> None:
    skeleton = Skeleton("nasbench201" if space.name == "nasbench201" else "darts-search", 4, 3, 10, 8, affine=affine)
    for name in space.operations[1:]:
        for stride in (1, 2):
            layers = [m for m in build_operation(name, 4, stride, skeleton).modules() if isinstance(m, nn.BatchNorm2d)]
            assert all(layer.affine is affine and layer.track_running_stats for layer in layers)


def test_no_convolution_has_a_bias_unless_asked_for_in_nasbench201() -> None:
    for name in BUILDERS:
        for skeleton in (SEARCH, SUPERNET_201):
            layers = [m for m in build_operation(name, 4, 2, skeleton).modules() if isinstance(m, nn.Conv2d)]
            assert all(layer.bias is None for layer in layers)
    biased = Skeleton("nasbench201", 4, 1, 10, 8, affine=False, conv_bias=True)
    for name in ("nor_conv_1x1", "nor_conv_3x3"):
        operation = build_operation(name, 4, 1, biased)
        assert isinstance(operation, ConvBN)
        assert operation.conv.bias is not None


def test_an_unknown_operation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"must be one of skip_connect, .*noise, but got 'conv_7x7'; add its builder"):
        build_operation("conv_7x7", 4, 1, SEARCH)


# --------------------------------------------------------------------------------------------------------- convolutions


def one_pixel_kernel(conv: nn.Conv2d, row: int, column: int) -> None:
    """Make a depthwise convolution that copies the pixel at that place of its window."""
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, :, row, column] = 1.0


@pytest.mark.parametrize(("kernel", "reach"), [(3, 2), (5, 4)])
def test_a_dilated_convolution_reaches_twice_as_far_and_keeps_the_size(kernel, reach) -> None:
    operation = DilConv(2, kernel, 1).double().eval()
    one_pixel_kernel(operation.depthwise, 0, 0)
    with torch.no_grad():
        operation.conv.weight.copy_(torch.eye(2).view(2, 2, 1, 1))
    node = torch.arange(2 * 81, dtype=torch.float64).view(1, 2, 9, 9)
    output = operation(node) * (1 + operation.bn.eps) ** 0.5
    torch.testing.assert_close(output[:, :, reach:, reach:], node[:, :, : 9 - reach, : 9 - reach])
    assert output[:, :, :reach].abs().max() == 0.0


def test_a_separable_convolution_is_two_with_a_relu_between_and_the_stride_in_the_first() -> None:
    operation = SepConv(4, 3, 2)
    assert operation.first.depthwise.stride == (2, 2)
    assert operation.second.depthwise.stride == (1, 1)
    assert operation.first.depthwise.dilation == operation.second.depthwise.dilation == (1, 1)
    assert operation.first.depthwise.groups == 4
    seen: list[Tensor] = []
    operation.second.register_forward_hook(lambda *hooked: seen.append(hooked[1][0]))
    operation(torch.randn(2, 4, 6, 6))
    assert seen[0].min() == 0.0, "rectified"
    assert seen[0].shape == (2, 4, 3, 3)


def test_skip_is_the_identity() -> None:
    node = torch.randn(1, 2, 3, 3)
    assert Skip()(node) is node


# ------------------------------------------------------------------------------------------------- factorised reduction


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 5), (4, 5), (1, 1)])
def test_factorised_reduction_reads_even_pixels_and_their_lower_right_neighbours(height, width) -> None:
    """With identity kernels one half is the pixels (2i, 2j), the other (2i + 1, 2j + 1), zero beyond an odd border."""
    operation = FactorizedReduce(1, 2).double().eval()
    with torch.no_grad():
        operation.conv_even.weight.fill_(1.0)
        operation.conv_odd.weight.fill_(1.0)
    node = 1 + torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    even, odd = (operation(node) * (1 + operation.bn.eps) ** 0.5)[0]
    expected = torch.zeros(-(-height // 2), -(-width // 2), dtype=torch.float64)
    expected[: height // 2, : width // 2] = node[0, 0, 1::2, 1::2]
    torch.testing.assert_close(even, node[0, 0, ::2, ::2])
    torch.testing.assert_close(odd, expected)


def test_factorised_reduction_splits_its_channels_evenly() -> None:
    operation = FactorizedReduce(6, 4)
    assert operation.conv_even.weight.shape == operation.conv_odd.weight.shape == (2, 6, 1, 1)
    assert sum(p.numel() for p in operation.parameters()) == 6 * 4 + 2 * 4


@pytest.mark.parametrize("training", [False, True])
def test_averages_ignore_the_defaults_of_the_day_they_were_first_taken(training) -> None:
    """Their constants are kept, and must not be of another type or place for ever."""
    pool = build_operation("avg_pool_3x3", 22, 1, NASBench201().supernet_skeleton(10, 8, channels=22, cells=1))
    node = torch.rand(1, 22, 8, 8)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"), torch.set_grad_enabled(training):
            pooled = pool(node.requires_grad_(training) * 1)
    finally:
        torch.set_default_dtype(before)
    expected = functional.avg_pool2d(node, 3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(pooled, expected)


# ---------------------------------------------------------------------------------------------------------------- noise


def test_noise_without_a_seed_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"must be seeded before it runs: call network.seed_noise\(seed\)"):
        Noise(1)(torch.zeros(1, 2, 4, 4))


def test_noise_repeats_with_its_seed_and_ignores_the_node(make_network, random_images) -> None:
    network = make_network("s4").eval()
    path = network.path(tuple(8 if gene else 0 for gene in DARTS().parse("DARTS_V2")))
    logits = []
    for seed, shift in ((1, 0.0), (1, 5.0), (2, 0.0)):
        network.seed_noise(seed)
        logits.append(network(random_images() + shift, path))
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=0)
    assert (logits[0] - logits[2]).abs().max() > 1e-3


def test_noise_of_an_edge_does_not_depend_on_what_other_edges_do(make_network, random_images) -> None:
    """Architectures that share an edge are compared under the same noise, in supernets as in subnets."""
    network = make_network("s4").eval()
    seen: list[torch.Tensor] = []
    convolution = network.space.operations.index("sep_conv_3x3")
    noise = network.space.operations.index("noise")
    genes = [noise if gene else 0 for gene in DARTS().parse("DARTS_V2")]
    first, *_, last = (edge for edge, gene in enumerate(genes[: len(genes) // 2]) if gene)
    other = [convolution if edge == first else gene for edge, gene in enumerate(genes)]
    for chosen in (tuple(genes), tuple(other)):
        for model, choice in ((network, network.path(chosen)), (network.subnet(chosen), None)):
            hook = model.cells[0].edges[last]["noise"].register_forward_hook(lambda *found: seen.append(found[-1]))
            model.seed_noise(3)
            model(random_images(), choice)
            hook.remove()
    assert len(seen) == 4
    assert all(torch.equal(seen[0], each) for each in seen)
    assert not torch.equal(seen[0], torch.zeros_like(seen[0]))


def test_two_edges_draw_other_noise(make_network) -> None:
    network = make_network("s4")
    network.seed_noise(3)
    drawn = {float(torch.rand(1, generator=each.generator)) for each in network.modules() if isinstance(each, Noise)}
    assert len(drawn) == sum(isinstance(each, Noise) for each in network.modules()) > 20


def test_noise_is_standard_normal_of_the_strided_shape_and_leaves_the_global_generator() -> None:
    operation = Noise(2)
    operation.generator = torch.Generator().manual_seed(0)
    state = torch.random.get_rng_state()
    noise = operation(torch.full((50, 8, 15, 15), 7.0, dtype=torch.float64))
    assert torch.equal(state, torch.random.get_rng_state())
    assert noise.shape == (50, 8, 8, 8)
    assert noise.dtype == torch.float64
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03


def test_operations_say_nothing_by_default() -> None:
    assert (Operation.rectified, Operation.output_is_free) == (False, False)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("height", "width", "stride"), [(1, 1, 1), (1, 2, 2), (2, 3, 2), (5, 4, 1), (7, 7, 2), (8, 8, 1)]
)
def test_average_pooling_by_convolution_equals_torchs(height, width, stride, grad) -> None:
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.set_grad_enabled(grad):
        pooled = AveragePool(stride)(images)
    torch.testing.assert_close(pooled, functional.avg_pool2d(images, 3, stride, 1, count_include_pad=False))


@pytest.mark.parametrize("strict", [True, False])
def test_exporting_average_pooling_leaves_nothing_behind(strict: bool) -> None:
    """A traced constant that stayed in a cache would make every later pooling of this size zero."""
    images = torch.randn(2, 37, 6, 6, generator=torch.Generator().manual_seed(0))  # of a number of channels of its own
    pool = AveragePool(1).eval()
    with torch.no_grad():
        exported = torch.export.export(pool, (images,), strict=strict).module()(images)
        pooled = pool(images)
    assert type(pooled) is Tensor
    torch.testing.assert_close(pooled, functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False))
    torch.testing.assert_close(exported, pooled)
