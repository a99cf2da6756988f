"""Spaces by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from genas.registry import Registry
from genas.spaces.base import SearchSpace
from genas.spaces.darts import DARTS
from genas.spaces.darts_cell import CANDIDATES
from genas.spaces.nasbench201 import NASBench201

SPACES: Registry[Callable[[], SearchSpace]] = Registry("search space", "genas.spaces")
"""Functions without arguments that make a space, by name.

Other packages offer theirs as entry points of the group ``genas.spaces``.
"""

SPACES.add(NASBench201.name, NASBench201)
for _variant in CANDIDATES:
    SPACES.add(_variant, partial(DARTS, _variant))


def space(name: str) -> SearchSpace:
    """Return the search space of that name.

    An unknown name raises a :class:`KeyError` that suggests the nearest name and lists the known ones.

    Raises:
        TypeError: If another package offers under that name something that is not a :class:`SearchSpace`.

    Example:
        >>> space("s3").size == 180**2 * 2**16
        True
    """
    made = SPACES[name]()
    if not isinstance(made, SearchSpace):
        raise TypeError(
            f"The search space {name!r} must be a subclass of genas.spaces.SearchSpace, but got {type(made).__name__}."
        )
    return made
