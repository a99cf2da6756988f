"""Devices and precision: what ``auto`` means on hardware that this machine need not have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from genas import devices
from genas.data import load_data
from genas.devices import (
    available_cores,
    device_facts,
    has_native_bf16,
    keep_freed_memory,
    resolve_device,
    resolve_precision,
)
from genas.metrics import Context
from genas.spaces import NASBench201
from genas.supernet import CellNetwork, SupernetTrainer, TrainingSettings

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def with_capabilities(monkeypatch: pytest.MonkeyPatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_without_a_gpu() -> None:
    assert resolve_device("auto") == resolve_device("cpu") == CPU


@pytest.mark.usefixtures("two_gpus")
def test_auto_is_the_first_gpu() -> None:
    assert resolve_device() == resolve_device("cuda") == resolve_device("cuda:0") == GPU
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cpu") == CPU


def test_mps_only_when_asked(monkeypatch: pytest.MonkeyPatch, no_gpu: None) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == CPU
    assert resolve_device("mps") == torch.device("mps")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_missing_gpu_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' needs CUDA device \d, but this torch sees 0; choose auto or cpu"):
        resolve_device(name)


@pytest.mark.usefixtures("no_gpu")
def test_missing_mps_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'mps' needs an Apple GPU.*choose auto or cpu"):
        resolve_device("mps")


@pytest.mark.usefixtures("two_gpus")
def test_gpu_number_beyond_the_last_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs CUDA device 2, but this torch sees 2"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU", "mps:0"])
def test_unknown_device_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"device must be auto, cpu, cuda, cuda:N or mps, but got '{name}'"):
        resolve_device(name)


@pytest.mark.parametrize(("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True), ((12, 1), True)])
def test_bf16_on_cuda_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], native: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert has_native_bf16(GPU) is native
    assert resolve_precision("auto", GPU) is (torch.bfloat16 if native else torch.float32)
    assert resolve_precision("bf16", GPU) is torch.bfloat16
    assert resolve_precision("fp32", GPU) is torch.float32


@pytest.fixture
def tf32() -> Iterator[list[Any]]:
    """The two places in which torch keeps it, switched on."""
    places: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield places
    for place, value in zip(places, before, strict=True):
        place.allow_tf32 = value


def test_fp32_on_cuda_is_no_tf32(tf32: list[Any]) -> None:
    resolve_precision("fp32", CPU)
    assert [place.allow_tf32 for place in tf32] == [True, True]
    resolve_precision("fp32", GPU)
    assert [place.allow_tf32 for place in tf32] == [False, False]


def test_trainers_and_contexts_of_notebooks_compute_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.device] = []
    for place in ("genas.supernet.training", "genas.metrics.context"):
        monkeypatch.setattr(f"{place}.compute_float32_in_full", seen.append)
    space, data = NASBench201(), load_data("digits", max_train=16, max_valid=16)
    network = CellNetwork.initialised(space, space.supernet_skeleton(10, 8, 1, channels=2, cells=1), 0)
    SupernetTrainer(network, data, TrainingSettings(epochs=1), seed=0)
    Context.untrained(space, data)
    assert seen == [CPU, CPU]


@pytest.mark.parametrize("amx", [False, True])
def test_bf16_on_cpus_with_amx_only(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    with_capabilities(monkeypatch, amx_bf16=amx, avx512_bf16=True)
    assert has_native_bf16(CPU) is amx
    assert resolve_precision("auto", CPU) is (torch.bfloat16 if amx else torch.float32)
    assert resolve_precision("bf16", CPU) is torch.bfloat16


@pytest.mark.parametrize(("flags", "amx"), [("fpu avx512_bf16 amx_bf16 sse", True), ("fpu avx512_bf16", False)])
def test_older_torch_reads_the_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, amx: bool) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    (tmp_path / "cpuinfo").write_text(f"model name\t: Some CPU\nflags\t\t: {flags}\n")
    monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "cpuinfo")
    assert has_native_bf16(CPU) is amx
    monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "missing")
    assert has_native_bf16(CPU) is False


def test_no_native_bf16_on_mps() -> None:
    assert resolve_precision("auto", torch.device("mps")) is torch.float32


def test_unknown_precision_is_an_error() -> None:
    with pytest.raises(ValueError, match="precision must be auto, fp32 or bf16, but got 'fp16'"):
        resolve_precision("fp16", CPU)


def test_facts_record_emulated_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    with_capabilities(monkeypatch, amx_bf16=False)
    facts = device_facts(CPU, torch.bfloat16)
    assert facts == {
        "device": "cpu",
        "device_name": None,
        "precision": "bf16",
        "native_bf16": False,
        "cores": available_cores(),
    }


def test_facts_name_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    facts = device_facts(GPU, torch.float32)
    assert (facts["device"], facts["device_name"], facts["native_bf16"]) == ("cuda:0", "Some GPU", True)


@pytest.mark.parametrize(
    ("quota", "affinity", "cores"),
    [
        ("max 100000\n", 8, 8),
        ("200000 100000\n", 8, 2),
        ("250000 100000\n", 8, 3),
        ("5000 100000\n", 8, 1),
        ("800000 100000\n", 4, 4),
        (None, 6, 6),
        ("", 6, 6),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="affinity masks are Linux'")
def test_cores_obey_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, affinity: int, cores: int
) -> None:
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(devices, "_CGROUP_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    assert available_cores() == cores


def test_freed_memory_is_kept_on_glibc_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    class Library:
        @staticmethod
        def mallopt(option: int, value: int) -> int:
            calls.append((option, value))
            return 1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: Library())
    assert keep_freed_memory() is True
    assert sorted(calls) == [(-4, 0), (-1, 2**31 - 1)]
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: object())
    assert keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(devices.ctypes, "CDLL", None)
    assert keep_freed_memory() is False
