from __future__ import annotations

import json

from medres.metrics.estimate import Estimate, UndefinedEstimate


def test_estimate_as_json_has_value_limits_level_and_method():
    assert Estimate(0.8, 0.7, 0.9, method="DeLong").as_json() == {
        "value": 0.8,
        "low": 0.7,
        "high": 0.9,
        "level": 0.95,
        "method": "DeLong",
    }


def test_undefined_estimate_as_json_is_null_with_a_reason_never_nan():
    undefined = UndefinedEstimate("no positive patients", method="DeLong").as_json()
    assert json.dumps(undefined, allow_nan=False) == (
        '{"value": null, "low": null, "high": null, "level": 0.95, "method": "DeLong", '
        '"undefined": "no positive patients"}'
    )


def test_estimates_print_as_a_reader_wants_them():
    assert str(Estimate(0.82367, 0.7485, 0.8988)) == "0.824 (0.749–0.899)"
    assert str(UndefinedEstimate("no positive patients")) == "undefined (no positive patients)"
