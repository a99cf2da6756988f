"""Metrics by name, and combinations from a line of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from genas.metrics.angle import Angle
from genas.metrics.base import Metric
from genas.metrics.combination import Combined, Join, Term
from genas.metrics.cost import Macs, Params
from genas.metrics.evaluation import Accuracy, Loss, Top5
from genas.metrics.flatness import Flatness
from genas.registry import Registry

METRICS: Registry[Callable[[], Metric]] = Registry("metric", "genas.metrics")
"""Names to functions without arguments, such as classes. Other packages offer theirs as entry points of the group
``genas.metrics``."""

for _metric in (Accuracy, Top5, Loss, Angle, Flatness, Macs, Params):
    METRICS.add(_metric.name, _metric)


def parse_metric(text: str, *, settings: Mapping[str, Metric] | None = None, join: Join = "sum") -> Metric:
    """Read a metric or a combination.

    Args:
        text: Metric names joined by ``+``, each with an optional weight: ``angle``, ``angle+flatness``,
            ``angle+16*flatness``.
        settings: Metrics to use in the place of those with default settings, by name.
        join: How several terms are joined, see :class:`Combined`.

    Returns:
        The metric itself where the text is one name without a weight, else the combination.

    Raises:
        KeyError: If a metric is unknown; the message has the nearest and all known names.
        ValueError: If the text has an empty term, a metric twice, or a weight that is no number.
        TypeError: If another package offers something that is not a metric.

    Example:
        >>> [(term.metric.name, term.gamma) for term in parse_metric("angle+16*flatness").terms]
        [('angle', 1.0), ('flatness', 16.0)]
    """
    terms = [_parse_term(part.strip(), text, settings or {}) for part in re.split(r"(?<!\d[eE])\+", text)]
    names = [term.metric.name for term in terms]
    if len(set(names)) < len(names):
        raise ValueError(f"Every metric may stand once in a combination, but got {text!r}; add up the weights.")
    if len(terms) == 1 and terms[0].gamma == 1 and join == "sum":
        return terms[0].metric
    return Combined(tuple(terms), join)


def _parse_term(part: str, text: str, settings: Mapping[str, Metric]) -> Term:
    weight, star, name = part.rpartition("*")
    if not name or (star and not weight):
        raise ValueError(f"A metric must look like 'angle+16*flatness', but got {text!r}.")
    try:
        gamma = float(weight) if star else 1.0
    except ValueError:
        raise ValueError(f"A weight must be a number, as in '16*flatness', but got {weight!r} in {text!r}.") from None
    name = name.strip()
    metric = settings[name] if name in settings else METRICS[name]()
    if not isinstance(metric, Metric):
        raise TypeError(
            f"The metric {name!r} must be a subclass of genas.metrics.Metric, but is {type(metric).__name__}."
        )
    return Term(metric, gamma)
