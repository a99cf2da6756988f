"""Folded BN and evaluation against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from genas.spaces import NASBench201, space
from genas.supernet import Calibration, CellNetwork, Evaluation, calibrate, evaluate, fold_bn, folded

CLASSES = 7


def constant(make_network, bias: list[float]) -> CellNetwork:
    """A network whose logits are the same for every image."""
    network = make_network(classes=len(bias)).subnet((3, 1, 0, 2, 4, 1)).eval()
    with torch.no_grad():
        network.head.classifier.weight.zero_()
        network.head.classifier.bias.copy_(torch.tensor(bias))
    return network


def labels_of(*counts: int) -> Tensor:
    """So many images of class 0, of class 1, ..."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


# -------------------------------------------------------------------------------------------------------------- folding


@pytest.mark.parametrize("name", ["nasbench201", "darts", "s1", "s4"])
def test_a_folded_subnet_is_the_same_function(name, shared_network, random_images, architectures) -> None:
    network, images = shared_network(name).eval(), random_images()
    for architecture in architectures(network.space, 3, seed=3):
        plain, folded = network.subnet(architecture), network.subnet(architecture)
        assert fold_bn(folded) is folded
        for stochastic in (plain, folded):
            stochastic.seed_noise(1)
        torch.testing.assert_close(folded(images), plain(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"affine": True}, {"affine": False, "conv_bias": True}])
@pytest.mark.parametrize("gene", range(1, 5))
def test_every_nasbench201_operation_folds(gene, options, shared_network, random_images) -> None:
    plain, images = shared_network(**options).eval().subnet((gene,) * 6), random_images()
    expected = plain(images)
    torch.testing.assert_close(fold_bn(plain)(images), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gene", range(1, 8))
@pytest.mark.parametrize(("kind", "size"), [("supernet", 7), ("darts-cifar", 8), ("darts-imagenet", 32)])
def test_every_darts_operation_folds_at_both_strides(gene, kind, size, make_network, random_images) -> None:
    genes = tuple(gene if live else 0 for live in space("darts").parse("DARTS_V2"))
    candidates = [(live,) if live else () for live in genes]
    network, images = make_network("darts", kind, size=size, candidates=candidates).eval(), random_images(2, size)
    expected = network(images)
    torch.testing.assert_close(fold_bn(network)(images), expected, rtol=1e-11, atol=1e-12)


def test_only_bn_of_pools_and_head_is_left(make_network) -> None:
    darts = fold_bn(make_network("darts").eval().subnet(space("darts").parse("GENAS_FLATNESS_C100")))
    left = {name for name, module in darts.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert left
    assert all("_pool_3x3.bn" in name for name in left)
    other = fold_bn(make_network().eval().subnet((3, 2, 1, 4, 3, 2)))
    assert {name for name, module in other.named_modules() if isinstance(module, nn.BatchNorm2d)} == {"head.bn"}


def test_folding_again_changes_nothing(make_network, random_images) -> None:
    network = fold_bn(make_network().eval().subnet((3, 2, 1, 4, 3, 2)))
    expected = network(random_images())
    assert torch.equal(fold_bn(network)(random_images()), expected)
    with folded(network) as again:
        assert torch.equal(again(random_images()), expected)
    assert torch.equal(network(random_images()), expected)


def test_folding_a_subnet_leaves_the_supernet_alone(make_network) -> None:
    network = make_network().eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fold_bn(network.subnet((3, 2, 1, 4, 3, 2)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_folding_a_training_network_is_refused(make_network, random_images) -> None:
    with pytest.raises(ValueError, match=r"only in evaluation mode: call network.eval\(\) first"):
        fold_bn(make_network().subnet((3,) * 6))
    normalised_by_batch = calibrate(make_network().subnet((3,) * 6), random_images(), Calibration("batch"))
    with pytest.raises(ValueError, match=r"only in evaluation mode: call network.eval\(\) first"):
        fold_bn(normalised_by_batch)


def test_folding_without_statistics_is_refused(make_network) -> None:
    network = make_network().eval().subnet((3,) * 6)
    layer = network.cells[0].operation(0, 3).bn
    layer.running_mean = layer.running_var = None  # type: ignore[assignment, union-attr]
    with pytest.raises(ValueError, match="only with running statistics, but this network keeps none"):
        fold_bn(network)


# ----------------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("favourite", range(CLASSES))
def test_a_constant_network_scores_the_frequency_of_its_class(favourite, make_network, random_images) -> None:
    labels, bias = labels_of(1, 2, 3, 4, 5, 6, 7), [0.5] * CLASSES
    bias[favourite] = 2.0
    found = evaluate(constant(make_network, bias), random_images(28), labels, batch_size=5)
    frequency = (favourite + 1) / 28
    total = math.exp(2.0) + 6 * math.exp(0.5)
    assert found.accuracy == pytest.approx(frequency)
    assert found.loss == pytest.approx(math.log(total) - 2.0 * frequency - 0.5 * (1 - frequency), rel=1e-12)


def test_zero_logits_lose_log_k_and_ties_go_to_the_earlier_class(make_network, random_images) -> None:
    """As in argmax; torch's topk alone would pick any of them."""
    labels = labels_of(1, 2, 3, 4, 5, 6, 7)
    found = evaluate(constant(make_network, [0.0] * CLASSES), random_images(28), labels)
    assert found == (pytest.approx(math.log(CLASSES), rel=1e-12), pytest.approx(1 / 28), pytest.approx(15 / 28))


def test_top5_counts_the_five_largest_logits(make_network, random_images) -> None:
    labels = labels_of(1, 2, 3, 4, 5, 6, 7)
    found = evaluate(constant(make_network, [3.0, -1.0, 2.0, 0.0, 4.0, -2.0, 1.0]), random_images(28), labels)
    assert found.accuracy == pytest.approx(5 / 28)
    assert found.top5 == pytest.approx((1 + 3 + 4 + 5 + 7) / 28), "all but the classes 1 and 5"


def test_top5_of_few_classes_is_one(make_network, random_images) -> None:
    found = evaluate(constant(make_network, [0.0, 1.0, 2.0]), random_images(6), labels_of(3, 2, 1))
    assert found.top5 == 1.0
    assert found.accuracy == pytest.approx(1 / 6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_network_whose_logits_are_not_numbers_has_failed(bad, make_network, random_images) -> None:
    """No accuracy, rather than a low one that a ranking would take for a measurement."""
    found = evaluate(constant(make_network, [bad, 0.0, bad]), random_images(4), labels_of(1, 2, 1))
    assert all(map(math.isnan, found))


@pytest.mark.parametrize("batch_size", [1, 4, 9, 10, 64])
def test_the_result_does_not_depend_on_a_smaller_last_batch(batch_size, make_network, random_images) -> None:
    network, images = make_network().eval().subnet((3, 1, 2, 4, 3, 1)), random_images(10)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    logits = network(images).detach()
    own = logits[range(10), labels]
    expected = Evaluation(
        float((logits.exp().sum(1).log() - own).mean()),
        float((logits.argmax(1) == labels).double().mean()),
        float((logits > own[:, None]).sum(1).lt(5).double().mean()),
    )
    assert 0 < expected.accuracy < 1
    assert evaluate(network, images, labels, batch_size=batch_size) == pytest.approx(expected, rel=1e-12)


def test_evaluation_changes_nothing(make_network, random_images) -> None:
    network = make_network().eval().subnet((3, 1, 2, 4, 3, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, random_images(), torch.zeros(6, dtype=torch.int64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


def test_a_disconnected_cell_depends_on_the_labels_only(make_network, random_images) -> None:
    subnet = make_network(classes=4).subnet((0,) * NASBench201().num_genes).eval()
    logits = subnet(random_images(1))[0].detach()
    labels = labels_of(4, 3, 2, 1)
    expected = logits.logsumexp(0) - torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64) @ logits
    for seed in (1, 2):
        found = evaluate(subnet, random_images(10, seed=seed), labels)
        assert found.loss == pytest.approx(float(expected), rel=1e-12)


def test_bfloat16_networks_sum_their_losses_in_wider_types(make_network, random_images) -> None:
    network, labels = make_network(classes=3).eval().subnet((3, 1, 2, 4, 3, 1)), labels_of(400, 300, 324)
    with torch.no_grad():
        network.head.classifier.weight.zero_()
        network.head.classifier.bias.zero_()
    found = evaluate(network.bfloat16(), random_images(1024).bfloat16(), labels, batch_size=128)
    assert found.loss == pytest.approx(math.log(3), rel=1e-6)


def test_no_images_are_refused(make_network, random_images) -> None:
    with pytest.raises(ValueError, match="needs at least one image, but got none"):
        evaluate(make_network().subnet((3,) * 6), random_images()[:0], torch.zeros(0, dtype=torch.int64))


def test_folding_for_a_while_leaves_the_network_as_it_was(make_network, random_images) -> None:
    network, images = make_network(), random_images(4)
    subnet = calibrate(network.subnet((3, 1, 2, 4, 3, 2)), images, Calibration())
    before, logits = {name: tensor.clone() for name, tensor in subnet.state_dict().items()}, subnet(images)
    with folded(subnet) as ready:
        assert ready is subnet
        assert subnet.state_dict().keys() != before.keys()
        torch.testing.assert_close(subnet(images), logits, rtol=1e-10, atol=1e-10)
    assert subnet.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in subnet.state_dict().items())
    assert torch.equal(subnet(images), logits)
