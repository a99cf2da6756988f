"""Registries of spaces, metrics and data sets, which other packages may extend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar, final

from genas.choices import did_you_mean
from genas.errors import REFUSING_PACKAGES

T = TypeVar("T")


@final
class Registry(Mapping[str, T]):
    """A mapping that never overwrites an entry, suggests near names, and includes other packages' entry points.

    Entry points are loaded only on request.

    Args:
        kind: Name of one entry in messages.
        group: The entry-point group in which other packages offer theirs.

    Example:
        >>> shapes: Registry[int] = Registry("shape", "example.shapes")
        >>> shapes.add("square", 4)
        4
        >>> shapes["sqare"]
        Traceback (most recent call last):
        KeyError: "There is no shape named 'sqare'. Did you mean 'square'? Known: square."
    """

    def __init__(self, kind: str, group: str) -> None:
        self._kind = kind
        self._group = group
        self._items: dict[str, T] = {}
        self._checked: set[str] = set()  # names that no two packages have

    def add(self, name: str, item: T) -> T:
        """Return ``item`` after registering it under ``name``.

        Raises:
            ValueError: If the name is taken.
        """
        if name in self._items:
            raise ValueError(
                f"The {self._kind} name {name!r} is already taken by {self._items[name]!r}; choose another."
            )
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        if name not in self._items or name not in self._checked:
            self._items[name] = self._find(name)
            self._checked.add(name)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items or name in entry_points(group=self._group).names

    def __iter__(self) -> Iterator[str]:
        yield from self._items
        yield from sorted(entry_points(group=self._group).names - self._items.keys())

    def __len__(self) -> int:
        return len(self._items.keys() | entry_points(group=self._group).names)

    def _find(self, name: str) -> T:
        offers = list(entry_points(group=self._group, name=name))
        places = sorted({offer.value for offer in offers})
        if name in self._items and offers:
            raise ValueError(
                f"Each {self._kind} must have its own name, but {name!r} is one of genas, and another package has "
                f"it as {', '.join(places)}. Rename it there, or uninstall that package."
            )
        if len(places) > 1:
            raise ValueError(
                f"Each {self._kind} must have its own name, but several packages offer {name!r}: {', '.join(places)}. "
                "Uninstall all but one."
            )
        if name in self._items:
            return self._items[name]
        if not offers:
            raise KeyError(self._unknown(name))
        return self._load(name, offers[0])

    def _load(self, name: str, offer: EntryPoint) -> T:
        try:
            item: T = offer.load()
        except (ImportError, AttributeError) as error:
            package = offer.dist.name if offer.dist else "a package"
            raise ValueError(
                f"The {self._kind} {name!r} cannot be loaded from {offer.value}, as {package} offers it: {error}."
            ) from error
        REFUSING_PACKAGES.add(offer.module.partition(".")[0])
        return item

    def _unknown(self, name: str) -> str:
        known = sorted(self)
        return f"There is no {self._kind} named {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
