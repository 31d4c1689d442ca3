import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp
from score_summaries import summary

from medres.data.table import write_table
from medres.errors import ManifestError, ResultsError
from medres.files import write_json
from medres.scoring.drift import compare_results, read_results, stability_index
from pipelines.__main__ import main

GUARD = {"images": 200, "flagged_images": 4, "flagged_studies": 3, "by_reason": {"pixels": 4}}


def write_results(folder: Path, scores: np.ndarray, **changes: object) -> Path:
    folder.mkdir()
    counts = np.histogram(scores, 20, (0, 1))[0].tolist()
    values = {
        "findings": ["opacity"],
        "histograms": {"opacity": {"images": counts, "studies": counts}},
        "studies_scored": len(scores),
        "guard": GUARD,
        **changes,
    }
    write_json(folder / "summary.json", summary(**values))
    rows = [[f"s{k}", f"{p:.9g}"] for k, p in enumerate(scores)]
    write_table(folder / "studies.csv", ["study_key", "opacity"], rows or [["", ""]])
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    flagged = {**GUARD, "flagged_images": 40, "by_reason": {"pixels": 10, "orientation": 30}}
    scanners = [{"modality": "DX", "manufacturer": "SIEMENS", "images": 320}]
    return (
        write_results(tmp_path / "a", rng.beta(1, 4, 150)),
        write_results(
            tmp_path / "b",
            rng.beta(2, 3, 160),
            guard=flagged,
            scanners=scanners,
            rejected=5,
            rejected_by_reason={"truncated": 5},
        ),
    )


def test_shift_of_scores_is_found_and_measured(pair) -> None:
    first, second = map(read_results, pair)
    found = compare_results(first, second)["findings"]["opacity"]
    a, b = first.scores["opacity"], second.scores["opacity"]
    assert found["studies"] == [150, 160]
    assert found["mean"] == pytest.approx([a.mean(), b.mean()])
    assert found["ks"]["statistic"] == pytest.approx(ks_2samp(a, b).statistic)
    assert found["ks"]["p_value_holm"] == found["ks"]["p_value"] < 0.001
    assert found["psi"] > 0.25
    counts = found["positive"]["counts"]
    assert counts == [[int((a >= 0.42).sum()), 150], [int((b >= 0.42).sum()), 160]]
    difference = found["positive"]["difference"]
    assert difference["value"] == pytest.approx(counts[1][0] / 160 - counts[0][0] / 150)
    assert difference["low"] > 0


def test_share_of_indeterminate_studies_is_compared_where_the_model_has_a_band(
    tmp_path: Path,
) -> None:
    band = {"lower": {"value": 0.3}, "upper": {"value": 0.6}}
    scores = [0.1, 0.3, 0.45, 0.41], [0.59, 0.5, 0.7, 0.6]
    first, second = (
        read_results(write_results(tmp_path / name, np.array(of * 10), bands={"opacity": band}))
        for name, of in zip("ab", scores, strict=True)
    )
    found = compare_results(first, second)["findings"]["opacity"]
    assert found["band"] == [0.3, 0.6]
    assert found["indeterminate"]["counts"] == [[30, 40], [20, 40]]
    assert found["positive"]["counts"] == [[10, 40], [40, 40]]  # at .42
    older = read_results(write_results(tmp_path / "c", np.array(scores[0])))
    none = compare_results(older, older)["findings"]["opacity"]
    assert (none["band"], none["indeterminate"]) == (None, None)


def test_a_score_on_the_threshold_is_positive_and_a_finding_may_have_none(tmp_path) -> None:
    scores = np.array([0.42] * 7 + [0.41999] * 13)
    first = read_results(write_results(tmp_path / "a", scores))
    drift = compare_results(first, first)
    assert drift["notes"] == []
    found = drift["findings"]["opacity"]
    assert (found["threshold"], found["positive"]["counts"]) == (0.42, [[7, 20], [7, 20]])
    assert found["positive"]["difference"]["value"] == 0
    other = read_results(write_results(tmp_path / "b", scores, thresholds={}))
    found = compare_results(other, other)["findings"]["opacity"]
    assert (found["threshold"], found["positive"]) == (None, None)
    assert found["ks"]["p_value"] == 1  # 20 studies are enough


def test_guard_rate_rejects_and_scanners_are_compared(pair) -> None:
    drift = compare_results(*map(read_results, pair))
    guard = drift["guard"]["flagged_images"]
    assert guard["counts"] == [[4, 200], [40, 200]]
    # Newcombe's method 10 for 40/200 - 4/200, by hand from Wilson's limits.
    low, high = guard["rates"][1]["low"], guard["rates"][1]["high"]
    other_low, other_high = guard["rates"][0]["low"], guard["rates"][0]["high"]
    assert guard["difference"]["low"] == pytest.approx(
        0.18 - math.hypot(0.2 - low, other_high - 0.02)
    )
    assert guard["difference"]["high"] == pytest.approx(
        0.18 + math.hypot(high - 0.2, 0.02 - other_low)
    )
    assert drift["guard"]["by_reason"]["counts"] == {"orientation": [0, 30], "pixels": [4, 10]}
    assert drift["rejected"]["rate"]["counts"] == [[35, 371], [5, 371]]
    assert drift["scanners"]["counts"]["DX, SIEMENS"] == [220, 320]
    test = drift["scanners"]["test"]
    assert test["p_value"] < 1e-10
    # chi-squared of [[220, 100, 4], [320, 0, 0]] is 123.6; its effect sqrt(123.6 / 644)
    assert test["cramers_v"] == pytest.approx(0.438, abs=0.002)


def test_same_archive_has_not_drifted(pair) -> None:
    first = read_results(pair[0])
    found = compare_results(first, first)["findings"]["opacity"]
    assert found["psi"] == 0
    assert found["ks"]["statistic"] == 0
    assert found["positive"]["difference"]["value"] == 0


def test_stability_index_of_a_hand_worked_pair() -> None:
    first = np.arange(100) / 100
    second = np.concatenate([first[:50], first[:50]])  # nothing in the upper five deciles
    shares = (np.array([20.5] * 5 + [0.5] * 5) / 105, np.array([10.5] * 10) / 105)
    expected = ((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum()
    assert stability_index(first, second) == pytest.approx(expected)
    assert stability_index(np.zeros(50), np.zeros(60)) == pytest.approx(0, abs=1e-3)


def test_few_studies_get_no_test_and_a_note(tmp_path) -> None:
    small = write_results(tmp_path / "small", np.linspace(0, 1, 19))
    large = write_results(tmp_path / "large", np.linspace(0, 1, 40), guard=None, precision="bf16")
    drift = compare_results(read_results(small), read_results(large))
    assert drift["findings"]["opacity"]["ks"] is None
    assert drift["findings"]["opacity"]["psi"] is None
    assert drift["guard"] is None
    assert drift["notes"] == [
        "The archives were scored in different precision; small shifts may be its.",
        "The first archive has fewer than 20 studies: no test is made.",
        "The guard was not asked of both: its rates are not compared.",
    ]


def test_guards_that_differ_are_said(tmp_path) -> None:
    scores = np.linspace(0, 1, 40)
    first, second = (
        read_results(write_results(tmp_path / digest, scores, guard_digest=digest))
        for digest in ("a", "b")
    )
    assert compare_results(first, second)["notes"] == ["The guards differ: so may what they flag."]
    assert compare_results(first, first)["notes"] == []


def test_withheld_studies_are_left_out_and_said(tmp_path) -> None:
    whole = write_results(tmp_path / "whole", np.linspace(0, 1, 40))
    part = write_results(tmp_path / "part", np.linspace(0, 1, 30), studies_scored=40)
    drift = compare_results(read_results(whole), read_results(part))
    assert drift["notes"] == ["Of the second archive 10 studies are withheld: left out."]


def test_archives_of_which_everything_is_withheld_have_no_figures(tmp_path) -> None:
    guard = {**GUARD, "images": 0, "flagged_images": 0}
    none = write_results(tmp_path / "none", np.zeros(0), studies_scored=3, guard=guard, inputs=0)
    write_table(none / "studies.csv", ["study_key", "opacity"], [["s0", ""]])
    some = write_results(tmp_path / "some", np.linspace(0, 1, 41))
    drift = compare_results(read_results(none), read_results(some))
    found = drift["findings"]["opacity"]
    assert (found["studies"], found["mean"], found["median"]) == ([0, 41], [None, 0.5], [None, 0.5])
    assert (found["ks"], found["psi"], found["positive"]) == (None, None, None)
    assert drift["guard"]["flagged_images"] is None
    assert drift["rejected"]["rate"] is None


def test_mix_of_a_hand_worked_pair(tmp_path) -> None:
    """[[10, 20], [20, 10]]: chi-squared 60/9, without Yates' correction, and V sqrt(1/9)."""
    scanners = [
        [{"modality": m, "manufacturer": "", "images": n} for m, n in counts]
        for counts in ([("", 10), ("DX", 20)], [("DX", 10), ("", 20)], [("DX", 30)], [])
    ]
    a, b, one, empty = (
        read_results(write_results(tmp_path / f"{k}", np.linspace(0, 1, 30), scanners=of))
        for k, of in enumerate(scanners)
    )
    mix = compare_results(a, b)["scanners"]
    assert mix["counts"] == {"not stated": [10, 20], "DX": [20, 10]}
    assert mix["test"]["cramers_v"] == pytest.approx(1 / 3)
    assert mix["test"]["p_value"] == pytest.approx(0.00982, abs=1e-5)
    assert compare_results(one, one)["scanners"] == {"counts": {"DX": [30, 30]}, "test": None}
    assert compare_results(a, empty)["scanners"]["test"] is None
    rare = [{"modality": "DX", "manufacturer": "", "images": 1}]
    last = read_results(write_results(tmp_path / "rare", np.linspace(0, 1, 30), scanners=rare))
    assert compare_results(a, last)["scanners"]["test"] is not None


def test_what_cannot_be_compared_is_refused(tmp_path) -> None:
    one = write_results(tmp_path / "one", np.linspace(0, 1, 40))
    other = write_results(tmp_path / "other", np.linspace(0, 1, 40), weights_sha256="0" * 64)
    with pytest.raises(ResultsError) as caught:
        compare_results(read_results(one), read_results(other))
    assert str(caught.value) == (
        f"{other}: another weights_sha256 than {one} (000000000000, not abababababab); score both "
        "archives with one model and one rule"
    )
    for name in ("preprocessing_digest", "model_digest", "combine"):
        changed = read_results(one)
        changed = replace(changed, summary={**changed.summary, name: "max"})
        with pytest.raises(ResultsError, match=f"another {name} than "):
            compare_results(read_results(one), changed)
    with pytest.raises(ManifestError, match=f"^{tmp_path}: lacks summary.json; give a folder"):
        read_results(tmp_path)
    empty = write_results(tmp_path / "empty", np.zeros(0))
    with pytest.raises(ManifestError, match=f"^{empty}: holds no scored study; there is nothing"):
        read_results(empty)


def test_command_prints_the_tables_and_leaves_json_and_page(pair, tmp_path, capsys) -> None:
    out = tmp_path / "drift"
    assert main(["drift", *map(str, pair), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Images flagged by the guard" in said
    assert "+18.0 points (" in said
    assert "Population stability index" in said
    values = json.loads((out / "drift.json").read_text())
    assert (values["schema"], values["names"]) == ("medres.drift/1", ["a", "b"])
    page = (out / "drift.html").read_text(encoding="utf-8")
    assert "<h1>b against a</h1>" in page
    assert "http" not in page.replace("http-equiv", "")
