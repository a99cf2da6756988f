"""A supernet from its settings: options that reach the network, and what loading it may override."""

from __future__ import annotations

from pathlib import Path

import torch

from genas.cli import main
from genas.data import load_data
from genas.spaces import space
from genas.supernet.supernet_run import NetworkOptions, load_supernet

TRAIN = (
    *(
        "--data",
        "digits",
        "--max-train",
        "64",
        "--channels",
        "2",
        "--cells",
        "1",
        "--epochs",
        "1",
        "--batch-size",
        "32",
    ),
    *("--threads", "1", "--probe", "0", "--no-progress", "--device", "cpu"),
)


def test_every_option_reaches_the_skeleton() -> None:
    data, nasbench201 = load_data("digits", max_train=20), space("nasbench201")
    plain = NetworkOptions().skeleton(nasbench201, data)
    other = NetworkOptions(4, 2, affine=not plain.affine, conv_bias=True, head_affine=False)
    skeleton = other.skeleton(nasbench201, data)
    assert (plain.channels, plain.cells, plain.conv_bias, plain.head_affine) == (16, 5, False, True)
    assert (skeleton.channels, skeleton.cells, skeleton.conv_bias, skeleton.head_affine) == (4, 2, True, False)
    assert skeleton.affine is not plain.affine
    assert (skeleton.num_classes, skeleton.image_size, skeleton.image_channels) == (10, 8, 1)


def test_loading_may_choose_another_precision(tmp_path: Path) -> None:
    assert main(["train-supernet", str(tmp_path / "run"), "--precision", "bf16", *TRAIN]) == 0
    assert load_supernet(tmp_path / "run").precision is torch.bfloat16
    assert load_supernet(tmp_path / "run", precision="fp32").precision is torch.float32
