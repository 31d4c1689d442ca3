"""PPV and NPV where the finding has another prevalence than in the rows at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from medres.errors import MetricInputError
from medres.metrics.by_finding import each_count
from medres.metrics.decision_measures import (
    MEASURES,
    WHY_UNDEFINED,
    added_text,
    measures,
    ratio_limits,
)
from medres.metrics.estimate import LEVEL, Estimate, Figure, UndefinedEstimate
from medres.metrics.operating_point import Confusion


@each_count
def predictive_values_at(
    counts: Confusion, prevalence: float, *, level: float = LEVEL, units: str = "rows"
) -> dict[str, Figure]:
    """PPV and NPV where the finding has another prevalence, from sensitivity and specificity.

    The odds before are multiplied by a likelihood ratio, so that the interval is that ratio's. It
    presumes that sensitivity and specificity carry over, which a change of spectrum breaks.

    Args:
        counts: at the threshold, of any prevalence (a case-control set, say).
        prevalence: of the target population, in (0, 1).
        level: confidence level in (0, 1).
        units: what a row is, in the plural, for reasons.

    Returns:
        "ppv" and "npv", or why there is none.

    Raises:
        MetricInputError: prevalence outside (0, 1).

    References:
        Mercaldo, Lau & Zhou, Stat Med 26 (2007) 2170-2183, logit intervals.
    """
    if not 0 < prevalence < 1:
        raise MetricInputError(
            f"prevalence {prevalence}; give the target population's share, strictly between 0 and 1"
        )
    odds = prevalence / (1 - prevalence)
    return {
        "ppv": _posterior("positive_likelihood_ratio", counts, odds, level, units),
        "npv": _posterior("negative_likelihood_ratio", counts, odds, level, units),
    }


def predictive_values_from(ratios: Mapping[str, Figure], prevalence: float) -> dict[str, Figure]:
    """PPV and NPV elsewhere from likelihood ratios with any interval, that of clusters too.

    Args:
        ratios: of `clustered_decision_figures`.
        prevalence: of the target population, in (0, 1).
    """
    odds = prevalence / (1 - prevalence)
    plus, minus = ratios["positive_likelihood_ratio"], ratios["negative_likelihood_ratio"]
    values: dict[str, Figure] = {"ppv": plus, "npv": minus}
    if isinstance(plus, Estimate):
        value, low, high = (1 - 1 / (1 + odds * r) for r in (plus.value, plus.low, plus.high))
        values["ppv"] = Estimate(value, low, high, plus.level, plus.method)
    if isinstance(minus, Estimate):
        value, low, high = (1 / (1 + odds * r) for r in (minus.value, minus.high, minus.low))
        values["npv"] = Estimate(value, low, high, minus.level, minus.method)
    return values


def _posterior(name: str, counts: Confusion, odds: float, level: float, units: str) -> Figure:
    cells = torch.tensor([counts.tp, counts.fp, counts.tn, counts.fn], dtype=torch.float64)
    ratio = float(measures(*cells)[MEASURES.index(name)])
    if math.isnan(ratio):
        return UndefinedEstimate(WHY_UNDEFINED[name].format(unit=units), level)
    low, high, added = ratio_limits(name, counts, level)
    method = added_text("logit", added)
    present, least, most = (
        1 - 1 / (1 + odds * r) for r in (ratio, min(low, ratio), max(high, ratio))
    )
    if name == "positive_likelihood_ratio":
        return Estimate(present, least, most, level, method)
    return Estimate(1 - present, 1 - most, 1 - least, level, method)
