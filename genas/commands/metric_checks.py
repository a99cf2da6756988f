"""What is checked of metrics and their settings before a folder is bound to them and hours are spent on some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from genas.errors import MissingInputError, UnreadSettingError
from genas.metrics import Combined, Context, Join, Metric, ScoringSettings, within
from genas.spaces import Architecture


def refuse_unread(scoring: ScoringSettings, metrics: Iterable[Metric]) -> None:
    """Refuse settings of an evaluation that never takes place.

    Args:
        scoring: Settings of the evaluation of subnets.
        metrics: The metrics that will be scored with a supernet.

    Raises:
        UnreadSettingError: If the settings are not the default, but no metric evaluates a subnet.
    """
    read = any(each.needs_supernet for metric in metrics for each in metric.measurements)
    if scoring != ScoringSettings() and not read:
        raise UnreadSettingError("scoring sets how subnets are evaluated, but no metric here evaluates them", "scoring")


def refuse_needless_join(join: Join, metrics: Iterable[Metric]) -> None:
    """Refuse a way of joining where there is nothing to join.

    Args:
        join: Rule for joining several metrics in one.
        metrics: The metrics that will be scored.

    Raises:
        UnreadSettingError: If it is not the default, and no metric joins several.
    """
    if join != "sum" and not any(_joins(join, metric) for metric in metrics):
        raise UnreadSettingError(
            f"join={join} joins several metrics in one, such as angle+flatness, but none has several", "join"
        )


def _joins(join: Join, metric: Metric) -> bool:
    return any(isinstance(each, Combined) and each.join == join and len(each.parts) > 1 for each in within(metric))


def check_inputs(context: Context, metrics: Iterable[Metric], architectures: Sequence[Architecture]) -> None:
    """Check the inputs of all metrics.

    Args:
        context: The first context in which they will be scored.
        metrics: The metrics that will be scored.
        architectures: Examples, at least one. Metrics that measure nothing score all of them.

    Raises:
        MissingInputError: If a metric needs a supernet or images, and the context has none.
        ValueError: If its settings do not suit the space.
        KeyError: If a table lacks one of the architectures.
    """
    for metric in metrics:
        check_inputs(context, metric.parts, architectures)
        try:
            needed = {each for found in metric.needs(context, architectures[:1]).values() for each in found}
            for each in needed:
                each.check(context)
            if not needed:
                metric.score(context, architectures)
        except MissingInputError as error:
            raise MissingInputError(f"{metric.name}: {error}") from error
