"""Metrics from a line of text: names, weights, settings, metrics of metrics. Read as a syntax tree, never run."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final, get_type_hints

from genas.choices import did_you_mean
from genas.metrics.base import Metric
from genas.metrics.combination import POOL_JOINS, Combined, Join, Term
from genas.metrics.literals import described, fitted
from genas.metrics.registry import METRICS

_WORDS = {"true": True, "false": False, "null": None}
"""Words that YAML spells differently from Python."""


def parse_metric(text: str, *, settings: Mapping[str, Metric] | None = None, join: Join = "sum") -> Metric:
    """Read a metric or a combination.

    Args:
        text: Metrics joined by ``+``, each with an optional weight, and with settings in parentheses where they differ
            from the defaults: ``angle``, ``angle+16*flatness``, ``flatness(alpha=0.5, stds=[2e-3, 1e-2])``. A metric of
            a metric holds an expression: ``neighborhood(angle+flatness, distance=2)``. Settings have the names of the
            metric's arguments; those of a group, such as the noise of ``flatness``, by the last part of their name.
            Words need no quotes.
        settings: Metrics to use instead of those with default settings, by name. Settings in the text change these.
        join: How several terms are joined, see :class:`Combined`. Those inside parentheses are joined in the same way,
            but by ``sum`` where that is by ranks, which have no meaning in a neighbourhood.

    Returns:
        The metric itself where the text is one metric without a weight, else the combination.

    Raises:
        KeyError: If a metric is unknown; the message has the nearest and all known names.
        ValueError: If the text has an empty term, a metric twice, a weight that is not a number, or a setting that the
            metric does not have or refuses.
        TypeError: If a setting has a value of another type, or if another package offers something that is not a
            metric.

    Example:
        >>> [(term.metric.name, term.gamma) for term in parse_metric("angle+16*flatness").terms]
        [('angle', 1.0), ('flatness', 16.0)]
        >>> parse_metric("flatness(alpha=0.5, kind=shared)").noise.kind
        'shared'
    """
    terms = list(parse_terms(text, settings=settings, join=join).values())
    return _bare(terms) if len(terms) == 1 and terms[0].gamma == 1 and join == "sum" else Combined(tuple(terms), join)


def parse_terms(text: str, *, settings: Mapping[str, Metric] | None = None, join: Join = "sum") -> dict[str, Term]:
    """Read the terms of a combination, each under a name of its own.

    Args:
        text: As for :func:`parse_metric`.
        settings: As for :func:`parse_metric`.
        join: As for :func:`parse_metric`.

    Returns:
        The term of each metric, by its text in normalised spelling.

    Example:
        >>> list(parse_terms("angle + 2*flatness( alpha=.5 )"))
        ['angle', 'flatness(alpha=0.5)']
    """
    return _Expression(text.strip(), settings or {}, join).terms()


def _bare(terms: Sequence[Term]) -> Metric:
    (term,) = terms
    return term.metric


@final
@dataclasses.dataclass(frozen=True)
class _Expression:
    """A text and the meaning of its names."""

    text: str
    settings: Mapping[str, Metric]
    join: Join

    def terms(self) -> dict[str, Term]:
        try:
            tree = ast.parse(_escaped(self.text), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._malformed() from None
        return self._terms(tree.body)

    def _terms(self, node: ast.expr) -> dict[str, Term]:
        terms: dict[str, Term] = {}
        for summand in _summands(node):
            weight, metric = _factors(summand)
            name, term = _plain(ast.unparse(metric)), Term(self._metric(metric), self._gamma(weight))
            if name in terms or term.metric in [known.metric for known in terms.values()]:
                raise ValueError(
                    f"Every metric may occur once in a combination, but got {self.text!r}; add up the weights."
                )
            terms[name] = term
        return terms

    def _gamma(self, weight: ast.expr | None) -> float:
        if weight is None:
            return 1.0
        try:
            return float(self._source(weight))
        except ValueError:
            raise ValueError(
                f"A weight must be a number, as in '16*flatness', but got {self._source(weight)!r} in {self.text!r}."
            ) from None

    def _metric(self, node: ast.expr) -> Metric:
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                raise ValueError(
                    f"A metric takes no minus: a lower loss is a higher score already. Write "
                    f"{self._source(operand)!r} instead of {self._source(node)!r}."
                )
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name):
            raise self._malformed()
        name = call.func.id
        metric: object = self._make(name, call)
        if not isinstance(metric, Metric):
            raise TypeError(
                f"The metric {name!r} must be a subclass of genas.metrics.Metric, but is {type(metric).__name__}."
            )
        if type(metric).__hash__ is None:
            raise TypeError(f"The metric {name!r} must have a hash: declare it by @dataclass(frozen=True).")
        return metric

    def _make(self, name: str, call: ast.Call) -> object:
        default = self.settings.get(name)
        kind = METRICS[name] if default is None else type(default)
        hints = _hints(kind)
        values: dict[tuple[str, ...], Any] = {}
        for place, value in self._given(name, call, hints):
            if place in values:
                raise ValueError(f"{place[-1]} of {name} must be given once, but got {self._source(call)!r}.")
            values[place] = value
        lacking = [] if default is not None else _lacking(kind, values)
        if "context" in lacking:
            raise TypeError(
                f"The metric {name!r} must be a subclass of genas.metrics.Metric, or a function that makes one of its "
                f"settings, but is a function of {' and '.join(lacking)}, which are the arguments of Metric.values."
            )
        if lacking:
            example = f"{name}({_example(lacking[0], hints.get(lacking[0]))})"
            raise ValueError(f"{name} needs {' and '.join(lacking)}, as in '{example}', but got {self.text!r}.")
        return _built(kind, default, values) if values or default is None else default

    def _given(self, name: str, call: ast.Call, hints: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Yield the place and the value of each setting in the parentheses."""
        known = dict(_places(hints))
        unnamed = [key for key, hint in hints.items() if hint is Metric]
        if len(call.args) > len(unnamed):
            raise ValueError(
                f"Settings must be named, as in 'flatness(alpha=0.5)', but got {self._source(call)!r} in {self.text!r}."
            )
        named = [(each.arg, each.value) for each in call.keywords]
        for key, node in [*zip(unnamed, call.args, strict=False), *named]:
            if key is None:  # **mapping
                raise self._malformed()
            place = _place(name, key, known)
            yield place, self._value(name, key, node, known[place])

    def _value(self, name: str, key: str, node: ast.expr, hint: Any) -> Any:
        if hint is Metric:
            terms = list(self._terms(node).values())
            if len(terms) == 1 and terms[0].gamma == 1:
                return _bare(terms)
            return Combined(tuple(terms), "sum" if self.join in POOL_JOINS else self.join)
        try:
            value = _WORDS.get(node.id, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)
            return fitted(value, hint)
        except (ValueError, TypeError, OverflowError):
            quoted = f" Write it in quotes: {key}='{self._source(node)}'." if hint is str else ""
            raise TypeError(
                f"{key} of {name} must be {described(hint)}, but got {self._source(node)}.{quoted}"
            ) from None

    def _source(self, node: ast.expr) -> str:
        return _plain(ast.get_source_segment(_escaped(self.text), node) or "")

    def _malformed(self) -> ValueError:
        cure = " Texts stand in quotes: table(column='cifar10/test/200')." if "(" in self.text else ""
        return ValueError(f"A metric must look like 'angle+16*flatness', but got {self.text!r}.{cure}")


def _escaped(text: str) -> str:
    r"""A text whose backslashes Python's parser takes literally, as in the path ``'C:\tables\nb201.npz'``."""
    return text.replace("\\", "\\\\")


def _plain(text: str) -> str:
    """The inverse of :func:`_escaped`."""
    return text.replace("\\\\", "\\")


def _summands(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _summands(node.left)
        node = node.right
    yield node


def _factors(node: ast.expr) -> tuple[ast.expr | None, ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return node.left, node.right
    return None, node


def _hints(kind: Any) -> dict[str, Any]:
    """Return the types of the settings of a metric, in order."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    function = kind.__init__ if isinstance(kind, type) else kind  # type: ignore[misc]
    hints = get_type_hints(function)
    return {key: hint for key, hint in hints.items() if key != "return"}


def _required(kind: Any) -> list[str]:
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:  # a built-in type
        return []
    empty = inspect.Parameter.empty
    positional_or_named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in parameters if each.default is empty and each.kind in positional_or_named]


def _places(hints: Mapping[str, Any], *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the place of each setting, in groups with the name of the group, and its type."""
    for key, hint in hints.items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _places(_hints(hint), *above, key)
        else:
            yield (*above, key), hint


def _place(name: str, key: str, known: Mapping[tuple[str, ...], Any]) -> tuple[str, ...]:
    found = [place for place in known if place[-1] == key]
    if (key,) in known:
        return (key,)
    if len(found) == 1:
        return found[0]
    if found:
        places = " and of ".join(".".join(place[:-1]) for place in found)
        raise ValueError(f"{key} is a setting of {places} of {name}; it cannot be set here.")
    last = [place[-1] for place in known]
    members = [place[-1] for place in known if key in place[:-1]]
    if members:
        raise ValueError(f"{key} of {name} is a group of settings; set one of {', '.join(members)}.")
    raise ValueError(f"{name} has no setting {key!r}.{did_you_mean(key, last)} Settings: {', '.join(last) or 'none'}.")


def _built(kind: Any, default: Any, values: Mapping[tuple[str, ...], Any]) -> Any:
    """Return a metric, or a group of settings, with these values and otherwise the defaults."""
    changes = {place[0]: value for place, value in values.items() if len(place) == 1}
    for group in dict.fromkeys(place[0] for place in values if len(place) > 1):
        inner = {place[1:]: value for place, value in values.items() if place[0] == group and len(place) > 1}
        before = _default(kind, group) if default is None else getattr(default, group)
        changes[group] = _built(_hints(kind)[group] if before is None else type(before), before, inner)
    if default is not None:
        return dataclasses.replace(default, **changes)
    if lacking := _lacking(kind, values):
        raise ValueError(f"{kind.__name__} needs {' and '.join(lacking)}, too.")
    return kind(**changes)


def _example(setting: str, hint: Any) -> str:
    """How to give a setting; of a group one gives the members."""
    if hint is Metric:
        return "angle"
    if dataclasses.is_dataclass(hint):
        setting = (_required(hint) or list(_hints(hint)))[0]
    return f"{setting}=..."


def _lacking(kind: Any, values: Mapping[tuple[str, ...], Any]) -> list[str]:
    """The settings without a default of which there is no value; of a group one member is enough."""
    given = {place[0] for place in values}
    return [key for key in _required(kind) if key not in given]


def _default(kind: Any, group: str) -> Any:
    """The default of a group of settings; ``None``: it has none, and is made of the given members."""
    if dataclasses.is_dataclass(kind):
        (field,) = (field for field in dataclasses.fields(kind) if field.name == group)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    else:
        default = inspect.signature(kind).parameters[group].default
    return None if default in (dataclasses.MISSING, inspect.Parameter.empty) else default
