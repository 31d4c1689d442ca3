"""Differences of two models as a picture."""

from __future__ import annotations

from typing import Any

from medres.reports.differences import plot_differences


def compared(value: float, low: float, high: float) -> dict[str, Any]:
    return {"difference": {"value": value, "low": low, "high": high}, "p_value": 0.1}


def test_differences_turn_the_sign_where_less_is_better(evaluation: dict[str, Any]) -> None:
    figures = {
        "auroc": compared(0.05, 0.01, 0.09),
        "brier_score": compared(-0.02, -0.03, 0.01),
        "sensitivity": {"undefined": "no threshold"},
    }
    evaluation["comparison"] = {"first": "a", "second": "b", "findings": {"opacity": figures}}
    drawing = plot_differences(evaluation)
    assert drawing is not None
    (axes,) = drawing.figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "AUROC",
        "Brier score, sign turned",
    ]
    intervals = [list(line.get_xdata()) for line in axes.lines[1::2]]
    assert intervals == [[0.01, 0.09], [0.03, -0.01]]
    assert axes.get_xlim()[0] == -axes.get_xlim()[1]
    assert drawing.description == (
        "opacity, AUROC: 0.050 (0.010 to 0.090). opacity, Brier score: -0.020 (-0.030 to 0.010)."
    )


def test_differences_of_several_findings_name_them(evaluation: dict[str, Any]) -> None:
    figures = {"auroc": compared(0.05, 0.01, 0.09)}
    findings = {"opacity": figures, "$x$": figures}
    evaluation["comparison"] = {"first": "a", "second": "b", "findings": findings}
    drawing = plot_differences(evaluation)
    assert drawing is not None
    names = [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()]
    assert names == ["opacity: AUROC", "$x$: AUROC"]


def test_differences_need_a_comparison(evaluation: dict[str, Any]) -> None:
    assert plot_differences(evaluation) is None
