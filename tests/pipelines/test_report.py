from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from pipelines.report import main


def write_scores(path: Path, seed: int = 0, n: int = 240, findings: tuple[str, ...] = ()) -> Path:
    generator = np.random.default_rng(seed)
    names = findings or ("y",)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        labels = [*findings] or ["y_true"]
        scores = [f"{name}_score" for name in names]
        table.writerow([*labels, *scores, "patient_id", "sex", "age"])
        for k in range(n):
            y = generator.integers(0, 2, len(names))
            p = 1 / (1 + np.exp(-(2 * y - 1 + generator.normal(size=len(names)))))
            table.writerow([*y, *p.round(4), f"P{k}", "FM"[k % 2], 20 + k % 70])
    return path


def evaluation(folder: Path) -> dict:
    assert (folder / "evaluation.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def test_scores_become_a_report_with_subgroups(tmp_path: Path, capsys):
    scores = write_scores(tmp_path / "scores.csv")
    out = tmp_path / "report"
    options = ["--threshold", "0.5", "--prevalence", "0.1", "--at-specificity", "0.9"]
    options += ["--band", "0.4", "0.6", "--intersect", "sex,age", "--resamples", "200"]
    assert main([str(scores), "--out", str(out), *options]) == 0
    content = evaluation(out)
    finding = content["findings"]["finding"]
    with scores.open(newline="") as file:
        rows = list(csv.DictReader(file))
    y, s = ([float(row[name]) for row in rows] for name in ("y_true", "y_score"))
    assert finding["auroc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(y, s))
    assert finding["threshold"] == {"value": 0.5, "rule": "given by hand", "n": 0}
    assert finding["at_prevalence"]["prevalence"] == 0.1
    assert list(finding["sensitivity_at_specificity"]) == ["0.9"]
    assert finding["three_way"]["counts"]["undecided_positive"] > 0
    assert list(finding["subgroups"]) == ["sex", "age", "sex, age"]
    assert set(finding["subgroups"]["age"]["groups"]) == {
        "18 to 39", "40 to 59", "60 to 79", "80 and over",
    }  # fmt: skip
    assert content["dataset"] == {"scores": "scores.csv", "rows": 240, "patient_ids_given": True}
    assert len(content["provenance"]["scores_sha256"]) == 64
    page = (out / "evaluation.html").read_text(encoding="utf-8")
    for words in ("By sex", "Net benefit", "At a prevalence of 10.0%", "Undecided between 0.4 and"):
        assert words in page
    assert "report  " in capsys.readouterr().out
    files = {str(path.relative_to(out)) for path in out.rglob("*.*")}
    worst = min(
        (row for row in rows if row["y_true"] == "1"), key=lambda row: float(row["y_score"])
    )
    assert content["cases"]["finding"][0] == {
        "kind": "missed",
        "key": f"case-{rows.index(worst) + 1}",
        "score": float(worst["y_score"]),
        "positive": True,
    }
    assert "case-1 is the first row with a score in scores.csv" in page
    assert files >= {"figures/roc.pdf", "figures/roc.svg", "tables/figures.csv"}


def test_scores_take_the_card_of_their_model_along(tmp_path: Path):
    scores, card = write_scores(tmp_path / "scores.csv"), tmp_path / "card.md"
    card.write_text("# Another program's model")
    argv = [str(scores), "--out", str(tmp_path / "report"), "--resamples", "20"]
    assert main([*argv, "--model-card", str(card)]) == 0
    assert (tmp_path / "report" / "model_card.md").read_bytes() == card.read_bytes()


def test_threshold_comes_from_validation_alone(tmp_path: Path):
    scores, validation = (
        write_scores(tmp_path / f"{seed}.csv", seed, findings=("opacity", "effusion"))
        for seed in (1, 2)
    )
    out = tmp_path / "report"
    arguments = [str(scores), "--out", str(out), "--validation", str(validation)]
    options = ["--rule", "sensitivity_at_least", "--target", "0.8", "--resamples", "100"]
    assert main([*arguments, *options]) == 0
    content = evaluation(out)
    threshold = content["findings"]["opacity"]["threshold"]
    assert threshold["rule"] == "sensitivity of at least 0.8 by its lower 95% bound on validation"
    assert threshold["n"] == 240
    assert content["micro"]["n"] == 480
    assert len(content["provenance"]["validation_sha256"]) == 64


def test_classes_that_exclude_one_another_have_a_confusion_matrix(tmp_path: Path):
    path = tmp_path / "scores.csv"
    generator = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["a", "b", "c", "a_score", "b_score", "c_score"])
        for _ in range(90):
            y = np.eye(3, dtype=int)[generator.integers(3)]
            p = np.exp(y + generator.normal(size=3))
            table.writerow([*y, *(p / p.sum()).round(6)])
    out = tmp_path / "report"
    assert main([str(path), "--out", str(out), "--kind", "multiclass", "--resamples", "100"]) == 0
    assert evaluation(out)["multiclass"]["hand_till_auroc"]["value"] > 0.6
    assert "Hand till AUROC" in (out / "evaluation.html").read_text(encoding="utf-8")


def test_two_models_are_compared_on_the_same_rows(tmp_path: Path, capsys):
    first = write_scores(tmp_path / "first.csv", 1, findings=("opacity", "effusion"))
    with first.open(newline="") as file:
        rows = list(csv.DictReader(file))
    generator = np.random.default_rng(3)
    for row in rows:
        row["opacity_score"] = f"{float(row['opacity_score']) * generator.random():.4f}"
    second = tmp_path / "second.csv"
    with second.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    out = tmp_path / "report"
    options = ["--compare", str(second), "--threshold", "0.5", "--resamples", "100"]
    assert main([str(first), "--out", str(out), *options]) == 0
    comparison = evaluation(out)["comparison"]
    assert (comparison["first"], comparison["second"]) == ("first.csv", "second.csv")
    opacity, effusion = (comparison["findings"][name] for name in ("opacity", "effusion"))
    assert opacity["auroc"]["difference"]["value"] > 0
    assert opacity["auroc"]["p_value"] <= opacity["auroc"]["p_holm"] < 0.01
    assert opacity["sensitivity"]["test"] == "McNemar, exact"
    assert effusion["auroc"]["difference"]["value"] == 0
    assert effusion["auroc"]["p_holm"] == 1
    page = (out / "evaluation.html").read_text(encoding="utf-8")
    assert "first.csv against second.csv" in page
    other = write_scores(tmp_path / "other.csv", 9, findings=("opacity", "effusion"))
    assert main([str(first), "--out", str(out), "--compare", str(other)]) == 2
    assert "has another label of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "half"], "--threshold half: give a number, or FINDING=NUMBER"),
        (["--threshold", "x=0.5"], "--threshold x=0.5: no finding 'x'; the findings are finding"),
        (["--subgroup", "view"], "no subgroup column 'view'"),
        (["--prevalence", "1.5", "--threshold", "0.5"], "prevalence 1.5; give"),
        (["--band", "0.6", "0.4"], "a band from 0.6 to 0.4; give its lower end first"),
    ],
)
def test_wrong_options_end_in_a_message(tmp_path: Path, capsys, options, message: str):
    scores = write_scores(tmp_path / "scores.csv", n=40)
    assert main([str(scores), "--out", str(tmp_path / "r"), "--resamples", "9", *options]) == 2
    assert message in capsys.readouterr().err


def test_threshold_and_validation_together_are_refused(tmp_path: Path, capsys):
    scores = write_scores(tmp_path / "scores.csv", n=40)
    options = ["--threshold", "0.5", "--validation", str(scores)]
    assert main([str(scores), "--out", str(tmp_path / "r"), *options]) == 2
    assert "give --threshold or --validation, not both" in capsys.readouterr().err


def test_a_model_brings_its_thresholds_and_its_card(trained: Path, tmp_path: Path, capsys):
    scores, model = trained / "predictions" / "test.csv", trained / "model"
    out = tmp_path / "report"
    assert main([str(scores), "--out", str(out), "--model", str(model)]) == 0
    record = json.loads((model / "configs" / "medres.json").read_text(encoding="utf-8"))
    found = evaluation(out)["findings"]
    assert {name: f["threshold"]["value"] for name, f in found.items()} == {
        name: t["value"] for name, t in record["thresholds"].items()
    }
    card = (out / "model_card.md").read_text(encoding="utf-8")
    assert card == (model / "docs" / "README.md").read_text(encoding="utf-8")
    assert main([str(scores), "--out", str(out), "--model", str(model), "--threshold", "0.5"]) == 2
    assert "--model brings thresholds and a card; leave out" in capsys.readouterr().err


def test_a_models_table_is_judged_as_evaluate_judges_its_images(trained: Path, tmp_path: Path):
    scores, model = trained / "predictions" / "test.csv", trained / "model"
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    assert len({row["patient_id"] for row in rows}) < len(rows)
    assert main([str(scores), "--out", str(tmp_path), "--model", str(model)]) == 0
    expected = evaluation(trained / "report")
    found = evaluation(tmp_path)
    assert found["unit"] == expected["unit"] == "patient"
    assert found["n"]["patients"] == expected["n"]["patients"]
    assert found["n"]["studies"] == expected["n"]["studies"]
    ours, theirs = (e["findings"]["label"] for e in (found, expected))
    assert ours["confusion"] == theirs["confusion"]
    for name in ("auroc", "auroc_delong", "average_precision", "sensitivity", "f1_score", "ppv"):
        for part in ("value", "low", "high"):
            if theirs[name]["value"] is not None:
                assert ours[name][part] == pytest.approx(theirs[name][part], abs=1e-7)
    shown, same = ([(c["kind"], c["key"]) for c in e["cases"]["label"]] for e in (found, expected))
    assert shown == same
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert "case-1 is the first patient of test.csv, by patient_id, and so on." in page


def test_rows_combine_to_what_is_asked_for_and_so_do_validation_and_the_other_model(
    tmp_path: Path, capsys
):
    paths = {}
    for seed, name in enumerate(("scores", "other", "validation")):
        path = paths[name] = tmp_path / f"{name}.csv"
        labels = np.random.default_rng(9 if name == "other" else seed + 9)
        noise = np.random.default_rng(seed)
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["y_true", "y_score", "patient_id", "study_instance_uid"])
            for k in range(200):
                y = int(labels.random() < 0.15)
                score = 1 / (1 + np.exp(-(2 * y - 1 + noise.normal())))
                table.writerow([y, f"{score:.6f}", f"P{k // 4:02}", f"S{k // 2}"])
    out = tmp_path / "report"
    argv = [str(paths["scores"]), "--out", str(out), "--resamples", "50", "--unit"]
    more = ["--validation", str(paths["validation"]), "--compare", str(paths["other"])]
    more += ["--compare-validation", str(paths["validation"])]
    for unit, n, rule_n in (("patient", 50, 50), ("study", 100, 100), ("row", 200, 200)):
        assert main([*argv, unit, *more]) == 0
        content = evaluation(out)
        finding = content["findings"]["finding"]
        assert (finding["n"], finding["threshold"]["n"]) == (n, rule_n)
        assert content["n"]["studies"] == 100
        assert content["dataset"]["rows"] == content["flow"]["n"] == 200
        assert content["comparison"]["findings"]["finding"]["auroc"]["second"] < 1
        assert ("bootstrap" in finding["sensitivity"]["method"]) == (unit != "patient")
    assert main([*argv[:-1], *more]) == 0
    assert evaluation(out)["findings"]["finding"]["n"] == 200  # no model says otherwise
    bare = tmp_path / "bare.csv"
    bare.write_text("y_true,y_score\n1,0.5\n0,0.2\n")
    assert main([str(bare), "--out", str(out), "--unit", "patient"]) == 2
    assert "bare.csv: no column patient_id, by which rows combine" in capsys.readouterr().err


def test_rows_of_nobody_count_as_a_models_cases_and_the_report_says_so(
    trained: Path, tmp_path: Path
):
    bare = tmp_path / "bare.csv"
    bare.write_text("label,label_score\n1,0.5\n0,0.2\n1,0.9\n0,0.4\n")
    argv = [str(bare), "--out", str(tmp_path / "out"), "--model", str(trained / "model")]
    assert main(argv) == 0
    note = "The model decides by patient; without patient_id each row counts as one."
    assert note in evaluation(tmp_path / "out")["notes"]


def test_bad_cells_end_in_a_message_with_row_and_column(tmp_path: Path, capsys):
    path = tmp_path / "scores.csv"
    path.write_text("y_true,y_score\n1,0.5\nmaybe,0.5\n", encoding="utf-8")
    assert main([str(path), "--out", str(tmp_path / "r")]) == 2
    assert "row 3, column y_true: found 'maybe'" in capsys.readouterr().err


def test_a_band_is_chosen_on_validation_for_the_rates_that_are_asked_for(tmp_path: Path, capsys):
    scores, validation = (write_scores(tmp_path / f"{seed}.csv", seed) for seed in (1, 2))
    out = tmp_path / "report"
    argv = [str(scores), "--out", str(out), "--resamples", "50"]
    chosen = ["--validation", str(validation), "--band-at", "0.95", "0.9"]
    assert main([*argv, *chosen, "--target-by", "observed"]) == 0
    section = evaluation(out)["findings"]["finding"]["three_way"]
    assert section["targets"] == {"sensitivity": 0.95, "specificity": 0.9}
    with validation.open(newline="") as file:
        rows = [(float(r["y_score"]), r["y_true"] == "1") for r in csv.DictReader(file)]
    low, high = (section[end]["value"] for end in ("lower", "upper"))
    positives, negatives = ([s for s, y in rows if y == wanted] for wanted in (True, False))
    assert 0.95 <= np.mean([s >= low for s in positives]) < 0.95 + 1 / len(positives)
    assert 0.9 <= np.mean([s < high for s in negatives]) < 0.9 + 1 / len(negatives)
    assert section["lower"]["rule"] == "sensitivity of at least 0.95 on validation"
    for options, words in (
        (["--band-at", "0.9", "0.9"], "--band-at chooses a band on validation: give --valid"),
        ([*chosen, "--band", "0.2", "0.4"], "give one band: the model's own, or --band, or --band"),
        (
            [*chosen[:2], "--band-at", "1", "0.9"],
            "--band-at 1 0.9: give a sensitivity and a spec",
        ),
    ):
        assert main([*argv, *options]) == 2
        assert words in capsys.readouterr().err


def test_a_band_that_few_patients_cannot_show_is_left_out_and_said(tmp_path: Path):
    scores, few = write_scores(tmp_path / "a.csv"), write_scores(tmp_path / "b.csv", 2, n=20)
    argv = [str(scores), "--out", str(tmp_path / "report"), "--resamples", "50"]
    assert main([*argv, "--validation", str(few), "--band-at", "0.95", "0.9"]) == 0
    content = evaluation(tmp_path / "report")
    assert content["findings"]["finding"]["three_way"] is None
    assert any(note.startswith("finding: no band was locked: a thr") for note in content["notes"])
