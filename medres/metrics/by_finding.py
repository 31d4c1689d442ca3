"""One finding or several: what lets every metric take (N,) and (N, F), and labels that are missing.

A metric is written for the labelled rows of one finding, (N,). Decorated by `each_finding` it
leaves out rows whose label is NaN, and takes (N, F) too, one finding after the other: a tuple of F
figures comes back, with an `UndefinedEstimate` where a finding's labels do not define one. What is
a figure of counts at a threshold does the same for a tuple of counts, by `each_count`:

    auroc(y_true, y_score)                                # (N,): an Estimate, or an error
    auroc(y_true, y_score, patient_ids=patients)          # (N, F): a tuple of F
    sensitivity(confusion(y_true, y_score, [0.5, 0.3]))   # (N, 2): a threshold each
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

import numpy as np
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.estimate import LEVEL, UndefinedEstimate
from medres.metrics.inputs import as_tensors
from medres.metrics.intervals import number_ids

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C_contra = TypeVar("C_contra", contravariant=True)


class Metric(Protocol[P, R_co]):
    """A metric of one finding that takes several too."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The figure of (N,). (N, F) gives what `by_finding` does: static types see no shapes."""

    def by_finding(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R_co | UndefinedEstimate, ...]:
        """The same call, for (N, F) only, with the type of what comes back."""


class CountsMetric(Protocol[C_contra, P, R_co]):
    """A metric of counts at a threshold, of one finding or a tuple of them."""

    @overload
    def __call__(self, counts: C_contra, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self, counts: Sequence[C_contra | UndefinedEstimate], /, *args: P.args, **kwargs: P.kwargs
    ) -> tuple[R_co | UndefinedEstimate, ...]: ...


def each_finding(
    *,
    rows: Sequence[Sequence[str]] = (("y_true", "y_score"),),
    own: Sequence[str] = (),
    masks: bool = True,
    together: Callable[..., tuple[Any, ...] | None] | None = None,
) -> Callable[[Callable[P, R]], Metric[P, R]]:
    """Let a metric of the labelled rows of one finding take (N, F), and rows without a label.

    Args:
        rows: sets of arguments that hold rows, the labels first in each. `patient_ids` belong to
            the first set.
        own: arguments that may be one number for all findings, or F of them.
        masks: leave out rows whose label is NaN; False where the metric does so by itself.
        together: all findings at once, (N, F), with the metric's own arguments; None comes back
            where it does not apply. For figures that are faster so.
    """

    def decorate(function: Callable[P, R]) -> Metric[P, R]:
        one: Callable[..., R] = function
        signature = inspect.signature(one)

        @functools.wraps(one)
        def metric(*args: Any, **kwargs: Any) -> Any:
            arguments = signature.bind(*args, **kwargs).arguments
            sets = [_as_sets(names, arguments) for names in rows]
            if sets[0][0].ndim == 1:
                return one(**_labelled(_Finding(None, arguments, sets, rows), masks))
            found = _all_at_once(together, arguments, sets, rows) if together else None
            if found is not None:
                return found
            findings = _split(arguments, sets, rows, own)
            return tuple(_figure_or_reason(one, finding, masks) for finding in findings)

        metric.by_finding = metric  # type: ignore[attr-defined]
        return cast(Metric[P, R], metric)

    return decorate


def each_count(
    one: Callable[Concatenate[C_contra, P], R],
) -> CountsMetric[C_contra, P, R]:
    """Let a metric of one finding's counts take a tuple of them, as `confusion` of (N, F) gives."""

    @functools.wraps(one)
    def metric(counts: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(counts, tuple | list):
            return one(counts, *args, **kwargs)
        level = kwargs.get("level", LEVEL)
        return tuple(
            entry
            if isinstance(entry, UndefinedEstimate)
            else _attempt(functools.partial(one, entry, *args, **kwargs), level)
            for entry in counts
        )

    return cast(CountsMetric[C_contra, P, R], metric)


@dataclass(frozen=True, eq=False)
class _Finding:
    """Arguments of one finding: its rows, (N,), beside those that all findings share."""

    number: int | None
    arguments: dict[str, Any]
    sets: list[tuple[Tensor, ...]]
    names: Sequence[Sequence[str]]


def _as_sets(names: Sequence[str], arguments: dict[str, Any]) -> tuple[Tensor, ...]:
    """The labels and the scores of a set as tensors of one shape, (N,) or (N, F)."""
    label, *scores = (arguments[name] for name in names)
    pairs = [as_tensors(label, score) for score in scores]
    return pairs[0][0], *(score for _, score in pairs)


def _all_at_once(
    together: Callable[..., tuple[Any, ...] | None],
    arguments: dict[str, Any],
    sets: list[tuple[Tensor, ...]],
    names: Sequence[Sequence[str]],
) -> tuple[Any, ...] | None:
    tensors: dict[str, Any] = {}
    for parts, of_set in zip(sets, names, strict=True):
        tensors |= dict(zip(of_set, parts, strict=True))
    return together(**(arguments | tensors))


def _split(
    arguments: dict[str, Any],
    sets: list[tuple[Tensor, ...]],
    names: Sequence[Sequence[str]],
    own: Sequence[str],
) -> Iterator[_Finding]:
    """The arguments of each finding."""
    n_findings = sets[0][0].shape[1]
    columns = [[part.T.contiguous() for part in parts] for parts in sets]
    if any(len(part) != n_findings or part.ndim != 2 for parts in columns for part in parts):
        raise MetricInputError(
            f"the sets have {[tuple(parts[0].shape) for parts in sets]} rows and findings; give "
            "the same findings in each"
        )
    shared = dict(arguments)
    if shared.get("patient_ids") is not None:
        ids, _ = number_ids(shared["patient_ids"], len(sets[0][0]), "patient_ids")
        shared["patient_ids"] = ids
    for f in range(n_findings):
        single = {name: _own(name, shared[name], f, n_findings) for name in own if name in shared}
        rows = [tuple(part[f] for part in parts) for parts in columns]
        yield _Finding(f, shared | single, rows, names)


def _own(name: str, value: Any, finding: int, n_findings: int) -> Any:
    """One finding's number of an argument that holds one for all, or one for each."""
    if np.ndim(value.cpu() if isinstance(value, Tensor) else value) == 0:
        return value
    if len(value) != n_findings:
        raise MetricInputError(
            f"{name} has {len(value)} values for {n_findings} findings; give one for all, or one "
            "for each"
        )
    return value[finding]


def _labelled(finding: _Finding, masks: bool) -> dict[str, Any]:
    """The metric's arguments, without the rows whose label is missing."""
    arguments = dict(finding.arguments)
    for k, (parts, names) in enumerate(zip(finding.sets, finding.names, strict=True)):
        missing = parts[0].isnan()
        kept = parts
        if masks and bool(missing.any()):
            kept = tuple(part[~missing] for part in parts)
            if k == 0 and arguments.get("patient_ids") is not None:
                ids, _ = number_ids(arguments["patient_ids"], len(missing), "patient_ids")
                arguments["patient_ids"] = ids[~missing.cpu()]
        arguments |= dict(zip(names, kept, strict=True))
    return arguments


def _figure_or_reason(
    one: Callable[..., R], finding: _Finding, masks: bool
) -> R | UndefinedEstimate:
    arguments = _labelled(finding, masks)
    level = arguments.get("level", LEVEL)
    if not all(arguments[names[0]].numel() for names in finding.names):
        return UndefinedEstimate("no labelled rows", level)
    return _attempt(functools.partial(one, **arguments), level)


def _attempt(figure: Callable[[], R], level: float) -> R | UndefinedEstimate:
    try:
        return figure()
    except UndefinedMetricError as error:
        head, _, reason = str(error).partition(": ")
        return UndefinedEstimate(reason if "undefined" in head else str(error), level)
