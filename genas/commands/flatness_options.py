"""The options of ``genas search`` for flat minima: the plug-in, and changes of A²M's defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from genas.commands.settings_options import given
from genas.errors import UnreadSettingError
from genas.search.differentiable import A2M, A2M_CODE, NA, Method, Numbers
from genas.search.differentiable.a2m import Centre, Curvature
from genas.spaces import SearchSpace

FlatnessName = Literal["none", "a2m", "na"]


@dataclass(frozen=True)
class A2MChanges:
    """Options of A2M in the place of its usual ones, which are described at :class:`A2MGradient`.

    Args:
        rho: Length of the step uphill; by default 0.01 on NAS-Bench-201, 0.1 on DARTS.
        curvature: How the product of Hessian and gradient is worked out; by default exact.
        epsilon: Length of the curvature's finite difference.
        centre: Where the Hessian is taken, at alpha or after the step uphill.
        include_edge_logits: Whether the step uphill also moves PC-DARTS' weights of edges.
        perturb_regularizer: Whether the step uphill also climbs the regulariser, as in the authors' code.
        allow_unrolled: Whether a second-order gradient may be wrapped, which nobody has run.
        compare_exact: Whether a finite difference is compared with the exact product for the log.
    """

    rho: float | None = None
    curvature: Curvature | None = None
    epsilon: float | None = None
    centre: Centre | None = None
    include_edge_logits: bool | None = None
    perturb_regularizer: bool | None = None
    allow_unrolled: bool | None = None
    compare_exact: bool | None = None

    def applied(self, method: Method, numbers: Numbers = "recommended") -> A2M:
        """A²M for a method.

        Args:
            method: The method. If A²M is its plug-in already, options that are not given stay as they are there.
            numbers: Source of A²M's other numbers; those of the code are its authors'.

        Returns:
            The plug-in.

        Raises:
            UnreadSettingError: If a change is one that nothing reads.
        """
        own = A2M() if numbers == "recommended" else A2M_CODE
        changes = given(self)
        found = replace(method.flatness if isinstance(method.flatness, A2M) else own, **changes)
        differs = found.curvature not in ("exact", "none")
        for name, needed, there in (
            ("curvature", "rho", True),
            ("epsilon", "a finite difference", differs),
            ("compare_exact", "a finite difference", differs),
            ("centre", "a curvature", found.curvature != "none"),
            ("include_edge_logits", "edge_normalization", method.edge_normalization),
            ("perturb_regularizer", "beta decay", method.regularizer is not None),
            ("allow_unrolled", "second_order", method.gradient.unrolls_weights),
        ):
            if name in changes and found.rho == 0:
                raise UnreadSettingError(f"{name} is set, but nothing reads it where rho is 0", f"a2m.{name}")
            if name in changes and not there:
                raise UnreadSettingError(f"{name} is set, but nothing reads it without {needed}", f"a2m.{name}")
        return found


def with_plug_in(
    method: Method, space: SearchSpace, flatness: FlatnessName, numbers: Numbers, a2m: A2MChanges, na: NA
) -> Method:
    """The method with its plug-in for flat minima, the defaults of the space written out.

    Args:
        method: A method, which keeps its own plug-in if ``flatness`` is ``none``.
        space: The search space.
        flatness: Name of the plug-in.
        numbers: Source of A²M's numbers.
        a2m: Options of A²M.
        na: NA with its options.

    Returns:
        A new method.

    Raises:
        UnreadSettingError: If there are options of a plug-in that is not chosen, or nothing reads one.
    """
    for name, is_set in (("a2m", a2m != A2MChanges()), ("na", na != NA())):
        if is_set and flatness != name:
            raise UnreadSettingError(f"there are options of {name}, but flatness is {flatness}, not {name}", name)
    chosen = {"none": method.flatness, "a2m": a2m.applied(method, numbers), "na": na}[flatness]
    return replace(method, flatness=chosen and chosen.resolved(space))
