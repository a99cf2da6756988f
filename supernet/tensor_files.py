"""Files of named tensors in a run's folder: initial and trained weights."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from genas.errors import RunError
from genas.files import atomic_write


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors with :func:`genas.files.atomic_write`.

    Args:
        path: The file, ``*.safetensors``.
        tensors: Tensors of any shapes, on any device.
    """
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    # Python writes it, since of a full disk the library does not raise an OSError.
    atomic_write(path, lambda temporary: temporary.write_bytes(content))


def load_tensors(path: Path, take: Callable[[dict[str, Tensor]], object]) -> None:
    """Read named tensors and hand them over.

    Args:
        path: A file that :func:`save_tensors` wrote.
        take: Called with the tensors, on the CPU; raises a KeyError or RuntimeError, as ``load_state_dict`` does, if
            they are not those that it needs.

    Raises:
        RunError: If the file is missing or damaged, or holds other tensors.
    """
    try:
        take(load_file(path))
    except (SafetensorError, KeyError, RuntimeError, FileNotFoundError) as error:
        reason = textwrap.shorten(str(error), 200, placeholder="...")  # torch names every tensor
        raise RunError(
            f"{path} does not hold the tensors of this run ({reason}); restore it, or delete it and train again."
        ) from error
