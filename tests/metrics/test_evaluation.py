"""Accuracy, top-5 accuracy and loss of networks whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from genas.data import Split
from genas.metrics import Accuracy, Context, Loss, Outputs, Top5
from genas.supernet import CellNetwork
from genas.supernet.supernet_run import TrainedSupernet

SKIP, DEAD = (0, 0, 0, 1, 0, 0), (3, 0, 0, 0, 0, 0)


def make_it_name_the_brightest_channel(network: CellNetwork, sharpness: float) -> None:
    """With a cell that is a skip, logit ``k`` is ``sharpness`` times how bright channel ``k`` is."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for name, parameter in network.named_parameters():
            if name in ("stems.0.bn.weight", "head.bn.weight"):
                parameter.fill_(1.0)
            for channel in range(3):
                if name == "stems.0.conv.weight":
                    parameter[channel, channel, 1, 1] = 1.0
                elif name.endswith("shortcut.1.weight"):
                    parameter[channel, channel] = 1.0
                elif name == "head.classifier.weight":
                    parameter[channel, channel] = sharpness


def bright_channels(labels: torch.Tensor) -> Split:
    images = torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)
    images[torch.arange(len(labels)), labels] = 200
    return Split(images.contiguous(memory_format=torch.channels_last), labels)


@pytest.fixture
def colours(make_trained) -> TrainedSupernet:
    """Images whose bright channel is their class: five, three and two of each."""
    trained = make_trained(classes=3, channels=4)
    split = bright_channels(torch.tensor([0, 1, 2, 0, 0, 1, 0, 2, 1, 0]))
    make_it_name_the_brightest_channel(trained.network, 10.0)
    return replace(trained, data=replace(trained.data, train=split, valid=split))


def test_a_network_that_names_the_true_class_has_accuracy_one(colours, make_context) -> None:
    context = make_context(colours)
    assert Accuracy().score(context, [SKIP]) == [1.0]
    assert Loss().values(context, [SKIP])[0] < 0.01


def test_a_network_that_names_a_wrong_class_has_accuracy_zero(colours, make_context) -> None:
    make_it_name_the_brightest_channel(colours.network, -10.0)
    context = make_context(colours)
    assert Accuracy().score(context, [SKIP]) == [0.0]
    assert Loss().values(context, [SKIP])[0] > 1


@pytest.mark.parametrize(("favourite", "frequency"), [(0, 0.5), (1, 0.3), (2, 0.2)])
def test_a_constant_network_has_the_frequency_of_its_class(favourite, frequency, colours, make_context) -> None:
    with torch.no_grad():
        colours.network.head.classifier.bias[favourite] = 1.0
    context = make_context(colours)
    assert Accuracy().score(context, [DEAD]) == [pytest.approx(frequency)]
    assert Top5().score(context, [DEAD]) == [1.0], "of three classes"
    expected = math.log(math.e + 2) - frequency
    assert Loss().values(context, [DEAD])[0] == pytest.approx(expected, rel=1e-12)


def test_a_classifier_of_zeros_loses_log_k_and_hits_with_its_first_classes(make_trained, make_context) -> None:
    trained = make_trained(classes=7, valid=28)
    with torch.no_grad():
        trained.network.head.classifier.weight.zero_()
        trained.network.head.classifier.bias.zero_()
    context = make_context(trained)
    architectures = [(3, 1, 2, 4, 3, 2), DEAD]
    np.testing.assert_allclose(Loss().values(context, architectures), math.log(7), rtol=1e-12)
    np.testing.assert_allclose(Accuracy().values(context, architectures), 1 / 7)
    np.testing.assert_allclose(Top5().values(context, architectures), 5 / 7)


def test_top5_is_never_below_accuracy_and_not_the_same(shared_trained, make_context, draw) -> None:
    context = make_context(shared_trained(classes=7, valid=28))
    architectures = draw(context.space, 12)
    top1, top5 = Accuracy().score(context, architectures), Top5().score(context, architectures)
    assert (top1 <= top5).all()
    assert (top1 < top5).any()
    for fractions in (top1, top5):
        assert ((fractions >= 0) & (fractions <= 1)).all()
        np.testing.assert_allclose(fractions * 28, np.round(fractions * 28), atol=1e-9)


def test_the_three_metrics_are_columns_of_one_evaluation(context: Context, evaluations, draw) -> None:
    architectures = draw(context.space, 3)
    scores = [metric.score(context, architectures) for metric in (Accuracy(), Top5(), Loss())]
    assert len(evaluations) == len({context.space.supernet_key(genes) for genes in architectures})
    for position, genes in enumerate(architectures):
        (evaluation,) = context.evaluate(context.space.supernet_representative(genes))
        assert scores[0][position] == evaluation.accuracy
        assert scores[1][position] == evaluation.top5
        assert scores[2][position] == -evaluation.loss


def test_facts() -> None:
    assert Outputs().columns == ("loss", "accuracy", "top5")
    assert (Accuracy().higher_is_better, Top5().higher_is_better, Loss().higher_is_better) == (True, True, False)
    assert Accuracy().measurements == Top5().measurements == Loss().measurements == (Outputs(),)
    assert Accuracy().scale == Loss().scale == 1.0
    assert len({Accuracy(), Top5(), Loss(), Accuracy()}) == 3, "metrics are values"
