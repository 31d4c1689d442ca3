from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from medres.reports.cases import ShownCase, cases_as_json, select_cases, write_case_keys

NAN = float("nan")


def chosen(*args: object, **options: object) -> list[tuple[str, str, float]]:
    return [(case.kind, case.key, case.score) for case in select_cases(*args, **options)]


def test_worst_mistakes_come_first_and_borderline_cases_are_right() -> None:
    labels = [1, 1, 0, 0, 1, 0, 1, NAN]
    scores = [0.1, 0.4, 0.9, 0.6, 0.55, 0.44, 0.99, 0.0]
    assert chosen(labels, scores, 0.5, count=2) == [
        ("missed", "case-1", 0.1),
        ("missed", "case-2", 0.4),
        ("false_alarm", "case-3", 0.9),
        ("false_alarm", "case-4", 0.6),
        ("borderline", "case-5", 0.55),
        ("borderline", "case-6", 0.44),
    ]


def test_score_at_the_threshold_is_flagged() -> None:
    assert chosen([0, 1], [0.5, 0.5], 0.5) == [
        ("false_alarm", "case-1", 0.5), ("borderline", "case-2", 0.5),
    ]  # fmt: skip


def test_each_case_may_have_a_threshold_of_its_own() -> None:
    assert chosen([1, 1, 0, 0], [0.4, 0.4, 0.6, 0.6], [0.3, 0.5, 0.55, 0.9]) == [
        ("missed", "case-2", 0.4),
        ("false_alarm", "case-3", 0.6),
        ("borderline", "case-1", 0.4),
        ("borderline", "case-4", 0.6),
    ]


def test_without_a_threshold_the_extremes_are_shown() -> None:
    assert chosen([1, 1, 0, 0], [0.2, 0.9, 0.8, 0.1], None, count=1) == [
        ("missed", "case-1", 0.2), ("false_alarm", "case-3", 0.8),
    ]  # fmt: skip


def test_right_models_make_no_mistakes() -> None:
    kinds = {kind for kind, _, _ in chosen([1, 0], [0.9, 0.1], 0.5)}
    assert kinds == {"borderline"}


@given(st.lists(st.tuples(st.sampled_from([0, 1, NAN]), st.floats(0, 1)), max_size=40))
def test_no_case_is_shown_twice_and_every_kind_is_what_it_says(cases: list) -> None:
    labels, scores = [c[0] for c in cases], [c[1] for c in cases]
    shown = select_cases(labels, scores, 0.5)
    assert len({case.place for case in shown}) == len(shown)
    for case in shown:
        assert labels[case.place] == case.positive
        right = (case.score >= 0.5) == case.positive
        assert right == (case.kind == "borderline")


def test_cases_in_json_say_nothing_of_whose_they_are() -> None:
    case = ShownCase("missed", 4, 0.25, True)
    assert cases_as_json({"opacity": [case]}) == {
        "opacity": [{"kind": "missed", "key": "case-5", "score": 0.25, "positive": True}]
    }


def test_keys_lead_back_and_only_for_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    write_case_keys(path, ["p1", "p2"], [[("a.dcm", 0), ("b.dcm", 1)], [("c.dcm", 0)]])
    assert path.read_text().splitlines() == [
        "key,patient_id,image,frame",
        "case-1,p1,a.dcm,0",
        "case-1,p1,b.dcm,1",
        "case-2,p2,c.dcm,0",
    ]
    assert path.stat().st_mode & 0o777 == 0o600
