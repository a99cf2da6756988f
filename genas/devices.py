"""Choice of device and precision. Torch is imported only by the functions that need it."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_CPU_INFO = Path("/proc/cpuinfo")


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name, if this machine has it.

    Args:
        name: ``auto`` (the first CUDA device if there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Returns:
        The device; a CUDA device carries its index.

    Raises:
        ValueError: If the name is none of these, or the device is not there.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (":" in name and not (kind == "cuda" and index.isdecimal())):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, but got {name!r}.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise ValueError(
                f"device {name!r} needs CUDA device {index or 0}, but this torch sees {count}; choose auto or cpu."
            )
        return torch.device("cuda", int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError(
            "device 'mps' needs an Apple GPU and a torch built for it, which this machine lacks; choose auto or cpu."
        )
    return torch.device(kind)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The type in which convolutions and matrix products are computed.

    Args:
        name: ``auto`` (``bf16`` where :func:`has_native_bf16`, else ``fp32``), ``fp32`` or ``bf16``. ``bf16`` is also
            obeyed on hardware that only emulates it; :func:`device_facts` records that. ``fp32`` is what it says on
            CUDA, too: TF32, ten bits of mantissa and torch's default for convolutions there, is switched off for the
            process, so that equal settings have equal numbers in commands, their workers and notebooks.
        device: As from :func:`resolve_device`.

    Returns:
        ``torch.float32`` or ``torch.bfloat16``.

    Raises:
        ValueError: If the name is none of these.
    """
    import torch

    if name not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, but got {name!r}.")
    compute_float32_in_full(device)
    if name == "bf16" or (name == "auto" and has_native_bf16(device)):
        return torch.bfloat16
    return torch.float32


def compute_float32_in_full(device: torch.device) -> None:
    """Switch TF32 off for the process, where the device is a CUDA one: see :func:`resolve_precision`.

    Args:
        device: The device on which something is to be computed.
    """
    import torch

    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small tensor of the CPU on a device, such as random draws; what a GPU has yet to do is not waited for.

    Args:
        tensor: On the CPU.
        device: The device.

    Returns:
        The tensor there.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def has_native_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32.

    CUDA: compute capability 8.0 and above. CPU: with AMX; AVX512-BF16 alone was measured to be no faster than float32.
    MPS: no.

    Args:
        device: As from :func:`resolve_device`.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and _cpu_has_amx()


def device_facts(device: torch.device, precision: torch.dtype) -> dict[str, Any]:
    """Facts about the hardware for a run's ``environment.json``.

    Args:
        device: As from :func:`resolve_device`.
        precision: As from :func:`resolve_precision`.

    Returns:
        Plain values: ``device``, ``device_name`` (null on a CPU), ``precision``, ``native_bf16`` and ``cores``.
    """
    import torch

    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "precision": {torch.float32: "fp32", torch.bfloat16: "bf16"}[precision],
        "native_bf16": has_native_bf16(device),
        "cores": available_cores(),
    }


MOST_THREADS = 1024
"""Far more than processors have; a number beyond it is a slip that the system's limits turn into a crash."""


def resolve_threads(threads: int | None) -> int:
    """The number of CPU threads to compute with.

    Args:
        threads: From 1 to 1,024; ``None``: all available cores. More than there are is slow, but continues a training
            of a larger machine in the same bits.

    Returns:
        The number.

    Raises:
        ValueError: If it is out of range.
    """
    if threads is None:
        return available_cores()
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"threads must be at least 1 and at most {MOST_THREADS:,}, but got {threads:,}.")
    return threads


def resolve_workers(workers: int | None, device: torch.device) -> int:
    """The number of processes that compute, one thread each.

    Args:
        workers: At least 1; ``None``: all available cores on a CPU, 1 on a GPU, which they would share.
        device: The device on which they compute.

    Returns:
        The number.

    Raises:
        ValueError: If it is less than 1.
    """
    if workers is None:
        return available_cores() if device.type == "cpu" else 1
    if workers < 1:
        raise ValueError(f"workers must be at least 1, but got {workers}.")
    return workers


def available_cores() -> int:
    """Count the CPU cores that this process may use.

    Returns:
        The size of its affinity mask, cut by a container's quota (cgroup v2, rounded up); at least 1.
    """
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = _CGROUP_LIMIT.read_text().split()
    except (OSError, ValueError):  # not Linux, or no cgroup v2: there is no quota to obey
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep freed memory for the next allocation instead of returning it to the system.

    Every step frees and allocates the same activations; without this each large one is a fresh mapping whose pages
    fault in again, which was measured to cost 30 to 50 % of the time of a small network on a CPU. It holds for the
    whole process.

    Returns:
        Whether it took effect: false where the C library is not glibc.
    """
    if sys.platform != "linux":
        return False
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return bool(mallopt(mmap_max, 0)) and bool(mallopt(trim_threshold, 2**31 - 1))


def _cpu_has_amx() -> bool:
    import torch

    if hasattr(torch.cpu, "get_capabilities"):  # torch >= 2.9
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    try:
        return "amx_bf16" in _CPU_INFO.read_text().split()
    except OSError:
        return False
