"""Fit a model to a new site: another temperature, other thresholds and bands, the old kept too.

    medres evaluate runs/mine/model local.csv --out local
    medres recalibrate runs/mine/model local/predictions.csv
    medres recalibrate runs/mine/model local/predictions.csv --rule cost --miss-cost 20

Takes the model's own scores of local patients with labels (the `predictions.csv` of `medres
evaluate`) and changes the model's record, or that of a copy with --out; weights and preprocessing
stay as they are. Judge the result on other patients than these. Patients that the model was fitted
on are refused.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.decision_options import add_rule_options, rule_of
from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.bundle.directory import Model
    from medres.data.score_table import ScoreTable
    from medres.scoring.recalibration import Recalibrated

PROGRAM = "medres recalibrate"


@dataclass(frozen=True)
class RecalibrateConfig:
    """Which model, on what.

    Attributes:
        model: a run's `model` folder.
        scores: table of its probabilities with labels.
        out: folder of a changed copy; None: the model itself is changed.
        rule: how thresholds are chosen.
        target: sensitivity or specificity that the rule asks for.
        target_by: its lower confidence bound, or the observed rate.
        miss_cost: for the rule cost.
        band_at: sensitivity and specificity of the indeterminate band; None: those that the
            model's own was chosen for, and none where it has none.
    """

    model: Path
    scores: Path
    out: Path | None = None
    rule: Literal["youden", "sensitivity_at_least", "specificity_at_least", "cost"] = "youden"
    target: float = 0.9
    target_by: Literal["lower_bound", "observed"] = "lower_bound"
    miss_cost: float = 10.0
    band_at: tuple[float, float] | None = None


def run(config: RecalibrateConfig) -> Path:
    """Fit, write and say what changed; returns the model's folder."""
    from medres.bundle.directory import load_model, write_bundle
    from medres.data.score_table import read_scores
    from medres.errors import ConfigError
    from medres.files import file_digest
    from medres.scoring.recalibration import recalibrate

    model = load_model(config.model)
    local = read_scores(config.scores, model.record.findings)
    check_unseen(model, local)
    result = recalibrate(model.record, local, rule_of(config), file_digest(config.scores))
    folder = config.out or config.model
    if config.out:
        if config.out.exists():
            raise ConfigError(f"{config.out}: exists already; give a folder that does not")
        shutil.copytree(config.model, config.out)
    write_bundle(folder, result.record, model.seen)
    print("\n".join(format_changes(result)))
    print(f"\nmodel  {folder}")
    return folder


def check_unseen(model: Model, local: ScoreTable) -> None:
    """Refuse local patients that the model was fitted on.

    Raises:
        LeakageError: there are such patients.
    """
    from medres.errors import LeakageError

    patients = set(local.patient_ids or ())
    if seen := sum(model.seen.has_patient(patient) for patient in patients):
        raise LeakageError(
            f"{local.path}: {seen} of {len(patients)} patients are ones that the model was fitted "
            "on; its scores are too good there: leave them out"
        )


def format_changes(result: Recalibrated) -> Iterator[str]:
    """What changed, before and after, as lines."""
    changes = result.changes
    before, after = (changes["temperature"][k] for k in ("before", "after"))
    yield f"{'':<28}{'before':>12}{'after':>12}"
    yield f"{'temperature':<28}{before:>12.4f}{after:>12.4f}"
    for name, value in changes["calibration"]["before"].items():
        other = changes["calibration"]["after"][name]
        yield f"{name.replace('_', ' '):<28}{value:>12.4f}{other:>12.4f}"
    for finding, sides in changes["findings"].items():
        yield f"{finding[:28]}"
        for of, rows in ((sides, ROWS), (sides.get("band"), BAND_ROWS)):
            for name, show in rows.items() if of else ():
                cells = [show(of[side]) if of[side] else "none" for side in ("before", "after")]
                yield f"{'  ' + name:<28}{cells[0]:>12}{cells[1]:>12}"
    yield from (f"note: {note}" for note in result.notes)
    yield "Figures after are of the cases that they were fitted on: judge them on others."


def _rate(side: dict[str, Any], right: str, wrong: str) -> str:
    counts = side["confusion"] or {}
    total = counts.get(right, 0) + counts.get(wrong, 0)
    return f"{counts[right] / total:.1%}" if total else "undefined"


ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "threshold": lambda side: f"{side['threshold']['value']:.4f}",
    "sensitivity": lambda side: _rate(side, "tp", "fn"),
    "specificity": lambda side: _rate(side, "tn", "fp"),
}


def _undecided(side: dict[str, Any]) -> str:
    counts = side["counts"] or {}
    between = sum(n for name, n in counts.items() if name.startswith("undecided"))
    return f"{between / sum(counts.values()):.1%}" if counts else "undefined"


BAND_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "band from": lambda side: f"{side['lower']['value']:.4f}",
    "band to": lambda side: f"{side['upper']['value']:.4f}",
    "indeterminate": _undecided,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a run's model folder")
    parser.add_argument("scores", type=Path, metavar="LOCAL_SCORES", help="CSV or Parquet")
    parser.add_argument("--out", type=Path, help="folder of a changed copy")
    add_rule_options(parser)
    options = vars(parser.parse_args(argv))
    band_at = options.pop("band_at")
    config = RecalibrateConfig(**options, band_at=tuple(band_at) if band_at else None)
    return exit_status(PROGRAM, lambda: run(config))


if __name__ == "__main__":
    sys.exit(main())
