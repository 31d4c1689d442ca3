"""A small evaluation by hand: ten patients, four of them positive."""

from __future__ import annotations

from typing import Any

import pytest


def figure(value: float, low: float, high: float, method: str) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "level": 0.95, "method": method}


def undefined(reason: str, method: str) -> dict[str, Any]:
    nothing = {"value": None, "low": None, "high": None}
    return {**nothing, "level": 0.95, "method": method, "undefined": reason}


@pytest.fixture
def finding() -> dict[str, Any]:
    """Scores .9 .8 .7 .2 of the positives, .6 .4 .3 .3 .1 .1 of the negatives."""
    return {
        "n": 10,
        "n_positive": 4,
        "n_missing": 0,
        "prevalence": figure(0.4, 0.1682, 0.6873, "Wilson"),
        "auroc": figure(20 / 24, 0.5, 0.97, "DeLong"),
        "average_precision": figure(0.875, 0.5, 1.0, "patient bootstrap"),
        "brier_score": figure(0.169, 0.05, 0.3, "patient bootstrap"),
        "expected_calibration_error": figure(0.0004, 0.0, 0.1, "patient bootstrap"),
        "threshold": {"value": 0.5, "rule": "Youden index on validation", "n": 20},
        "confusion": {"tp": 3, "fp": 1, "tn": 5, "fn": 1},
        "sensitivity": figure(0.75, 0.3006, 0.9544, "Wilson"),
        "specificity": figure(5 / 6, 0.4365, 0.9699, "Wilson"),
        "ppv": figure(0.75, 0.3006, 0.9544, "Wilson"),
        "npv": figure(5 / 6, 0.4365, 0.9699, "Wilson"),
        "curves": {
            "roc": {
                "false_positive_rate": [0, 0, 1 / 6, 2 / 6, 4 / 6, 4 / 6, 1],
                "sensitivity": [0, 0.75, 0.75, 0.75, 0.75, 1, 1],
                "threshold": [float("inf"), 0.7, 0.6, 0.4, 0.3, 0.2, 0.1],
            },
            "precision_recall": {
                "recall": [0.25, 0.5, 0.75, 0.75, 1.0],
                "precision": [1.0, 1.0, 1.0, 0.75, 0.5],
            },
            "reliability": {
                "mean_score": [0.2333, 0.75],
                "observed": [1 / 6, 0.75],
                "low": [0.03, 0.3006],
                "high": [0.56, 0.9544],
                "n": [6, 4],
            },
            "scores": {
                "edges": [0, 0.25, 0.5, 0.75, 1],
                "negative": [2, 3, 1, 0],
                "positive": [1, 0, 1, 2],
            },
            "thresholds": {
                "decimals": 4,
                "lowest": 0,
                "highest": 10_000,
                "at": [0, 1001, 2001, 3001, 4001, 6001, 7001, 8001, 9001],
                "tp": [4, 4, 3, 3, 3, 3, 2, 1, 0],
                "fp": [6, 4, 4, 2, 1, 0, 0, 0, 0],
                "independent": True,
            },
        },
    }


@pytest.fixture
def evaluation(finding: dict[str, Any]) -> dict[str, Any]:
    """One finding, with every section that a run adds."""
    return {
        "schema": "medres.evaluation/1",
        "unit": "patient",
        "n": {"patients": 10, "studies": 11, "images": 20},
        "dataset": {"name": "ten phantoms", "patient_ids_given": True},
        "findings": {"opacity": finding},
        "macro": {
            "auroc": figure(20 / 24, 0.5, 0.97, "patient bootstrap"),
            "average_precision": figure(0.875, 0.5, 1.0, "patient bootstrap"),
            "findings": ["opacity"],
            "left_out": [],
        },
        "notes": ["opacity: only 4 positive patients"],
        "splits": {
            "test": {"patients": 10, "studies": 11, "images": 20, "positives": {"opacity": 8}}
        },
        "leakage": {"patients_in_two_splits": 0},
        "training": {
            "preset": "full",
            "notes": ["The preset resolved to full."],
            "history": [
                {"epoch": 1, "train_loss": 0.7, "validation_loss": 0.7, "validation_auroc": None},
                {"epoch": 2, "train_loss": 0.5, "validation_loss": 0.6, "validation_auroc": 0.8},
            ],
            "schedule": [{"stage": "all", "learning_rate": 0.001}],
        },
        "model": {"depth": 18, "weights": "none"},
        "preprocessing": {"normalization": {"mean": 0.5, "percentiles": (0.5, 99.5)}},
        "provenance": {"medres": "0.1.0", "config": {"seed": 0}},
    }


@pytest.fixture
def several(evaluation: dict[str, Any], finding: dict[str, Any]) -> dict[str, Any]:
    """Two findings; the second has no positive patient."""
    none = {
        **finding,
        "n_positive": 0,
        "auroc": undefined("no positive patients", "DeLong"),
        "average_precision": undefined("no positive patients", "patient bootstrap"),
        "sensitivity": undefined("no positive patients", "Wilson"),
        "curves": {**finding["curves"], "roc": None, "precision_recall": None},
    }
    macro = {**evaluation["macro"], "left_out": ["pneumothorax"]}
    return {**evaluation, "findings": {"opacity": finding, "pneumothorax": none}, "macro": macro}
