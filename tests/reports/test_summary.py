from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from medres.reports.summary import (
    RESEARCH_USE,
    collect_notes,
    describe_band,
    describe_evaluation,
    describe_threshold,
    format_summary,
)


def test_threshold_says_who_chose_it() -> None:
    threshold = {"value": 0.5, "rule": "Youden index on validation", "n": 1200}
    assert describe_threshold(threshold).replace("\N{NO-BREAK SPACE}", " ") == (
        "0.500 (Youden index on validation, n = 1,200)"
    )
    assert describe_threshold({"value": 0.5}) == "0.500 (rule not recorded)"


def test_summary_of_one_finding_says_the_result_in_words(evaluation: dict[str, Any]) -> None:
    cases, ranking, chance, decisions, predictive = describe_evaluation(evaluation)
    assert cases == (
        "The model was evaluated for opacity on 10 patients (11 studies, 20 images) of ten "
        "phantoms; 4 of 10 patients are positive: 40.0% (16.8–68.7%)."
    )
    assert ranking == (
        "AUROC 0.833 (95% interval 0.500–0.970): of one positive and one negative patient drawn "
        "at random, the model gives the positive one the higher score about 83 times in 100."
    )
    assert chance.startswith("The interval contains 0.5")
    assert decisions.replace("\N{NO-BREAK SPACE}", " ") == (
        "At the threshold 0.500 (Youden index on validation, n = 20), the model flags 3 of 4 "
        "positive patients, sensitivity 75.0% (30.1–95.4%); clears 5 of 6 negative patients, "
        "specificity 83.3% (43.6–97.0%)."
    )
    assert predictive == (
        "At the prevalence of this test set, PPV is 75.0% (30.1–95.4%) and NPV is 83.3% "
        "(43.6–97.0%)."
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.0, 0.6, 1.0, "the higher score every time in this test."),
        (0.996, 0.9, 0.999, "more than 99 times in 100."),
        (0.2, 0.1, 0.3, "below 0.5, worse than chance: check which label is the positive."),
    ],
)
def test_summary_words_follow_the_auroc(
    evaluation: dict[str, Any], value: float, low: float, high: float, text: str
) -> None:
    evaluation["findings"]["opacity"]["auroc"] |= {"value": value, "low": low, "high": high}
    assert any(sentence.endswith(text) for sentence in describe_evaluation(evaluation))


def three_way(lower: float | None, upper: float | None) -> dict[str, Any]:
    return {
        "lower": {"value": lower, "rule": "low", "n": 20},
        "upper": {"value": upper, "rule": "high", "n": 20},
        "targets": {"sensitivity": 0.95, "specificity": 0.9},
        "counts": {
            "tp": 2, "fp": 1, "tn": 3, "fn": 0, "undecided_positive": 2, "undecided_negative": 2,
        },
        "undecided": {"value": 0.4, "low": 0.2, "high": 0.7, "level": 0.95, "method": "Wilson"},
    }  # fmt: skip


def test_summary_with_a_band_says_who_is_left_to_a_person(evaluation: dict[str, Any]) -> None:
    (finding,) = evaluation["findings"].values()
    finding["three_way"] = three_way(0.25, 0.625)
    *_, band, undecided = describe_evaluation(evaluation)
    assert band.replace("\N{NO-BREAK SPACE}", " ") == (
        "Undecided from 0.250 (low, n = 20) to below 0.625 (high, n = 20)."
    )
    assert undecided == (
        "With that band 4 of 10 patients are left to a person: 40.0% (20.0–70.0%); 0 positive "
        "patients are cleared, and 1 negative patient is flagged."
    )


def test_a_band_says_that_it_is_empty_or_of_several_models() -> None:
    assert describe_band(three_way(0.25, 0.25)).startswith(
        "No score is undecided: the band is empty, at 0.250 (low"
    )
    assert describe_band(three_way(None, None)) == "Undecided by low."


def test_summary_without_threshold_says_so(evaluation: dict[str, Any]) -> None:
    finding = evaluation["findings"]["opacity"]
    evaluation["findings"]["opacity"] = {**finding, "threshold": None, "confusion": None}
    assert describe_evaluation(evaluation)[-1].startswith("No threshold was given")


def test_summary_of_several_findings_names_what_is_left_out(several: dict[str, Any]) -> None:
    sentences = describe_evaluation(several)
    assert sentences[1].startswith("Prevalence lies between 40.0% (opacity) and 40.0%")
    assert sentences[2] == "Macro AUROC, the plain mean over 1 finding: 0.833 (0.500–0.970)."
    assert sentences[-1] == "Left out of the mean: pneumothorax (no positive patients)."
    assert len(sentences) == 4


def test_summary_of_several_findings_names_worst_and_best(several: dict[str, Any]) -> None:
    opacity = several["findings"]["opacity"]
    better = {**opacity, "auroc": {**opacity["auroc"], "value": 0.9}}
    several["findings"] = {"opacity": opacity, "effusion": better}
    assert "By finding, AUROC lies between 0.833 (opacity) and 0.900 (effusion)." in (
        describe_evaluation(several)
    )


def test_summary_of_undefined_findings_only_says_so(several: dict[str, Any]) -> None:
    empty = several["findings"]["pneumothorax"]
    several["findings"] = {"a": empty, "b": empty}
    assert describe_evaluation(several)[-1] == "The AUROC is undefined for every finding."


def test_notes_come_from_every_section_once(evaluation: dict[str, Any]) -> None:
    evaluation["leakage"]["notes"] = ["The preset resolved to full."]
    assert collect_notes(evaluation) == (
        "opacity: only 4 positive patients",
        "The preset resolved to full.",
        "The model was trained from random weights, without pretraining.",
    )


def test_notes_do_not_repeat_random_weights(evaluation: dict[str, Any]) -> None:
    evaluation["notes"] = ["Trained from Random Weights."]
    assert len(collect_notes(evaluation)) == 2


def test_terminal_text_is_narrow_and_complete(
    evaluation: dict[str, Any], several: dict[str, Any]
) -> None:
    evaluation["findings"]["opacity"]["ppv"]["method"] = "patient bootstrap, lower limit reflected"
    for content in (evaluation, several):
        text = format_summary(content)
        assert max(map(len, text.splitlines())) <= 100
        assert all(line == line.rstrip() for line in text.splitlines())
        assert text.endswith(f"{RESEARCH_USE}\n")
        assert "  - The preset resolved to full." in text
    assert "AUROC                            0.833   0.500–0.970      DeLong" in format_summary(
        evaluation
    )
    assert "  pneumothorax: undefined (no positive patients): auroc, sensitivity" in format_summary(
        several
    )


def test_terminal_text_holds_no_control_characters(evaluation: dict[str, Any]) -> None:
    evaluation["findings"] = {"a\x1b[2Jb": evaluation["findings"]["opacity"]}
    evaluation["notes"] = ["c\x1b[31md"]
    assert "\x1b" not in format_summary(evaluation)


def test_terminal_text_of_a_bare_evaluation(finding: dict[str, Any]) -> None:
    text = format_summary({"findings": {"opacity": finding}})
    assert text.startswith("The model was evaluated for opacity on a test set of unrecorded size")


def test_summary_imports_nothing_heavy() -> None:
    code = (
        "import sys, medres.reports.summary, medres.reports.evidence; "
        "print(sorted({'torch', 'monai', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
