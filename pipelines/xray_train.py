"""Train a classifier on radiographs and write its report.

    python -m pipelines.xray_train                                     # the sample data
    medres prepare FOLDER --labels TABLE.csv --out manifest.csv
    medres train --data.manifest manifest.csv --out runs/mine          # your own
    medres train --config pipelines/configs/kermany.yaml --data.manifest manifest.csv
    medres train --data.manifest manifest.csv --out runs/mine --dry-run    # look before you train
    torchrun --nproc-per-node 2 -m pipelines.xray_train --data.manifest manifest.csv --out runs/two

Leaves in the run folder: `model/`, which `medres evaluate` and `medres score` take; `report/`,
whose page is `evaluation.html` (docs/evidence.md); `predictions/`; `manifest.csv` with its split;
`config.yaml`; `schedule.txt` and `.png`; `training.html`, which shows how it goes while it runs;
`epochs.jsonl`, TensorBoard `events/` and `checkpoints/`.
Started again on the same folder, it resumes. `--dry-run` prints advice and the schedule, draws it
and trains nothing; it reads no pixels. Without arguments it trains on the sample data: about 5
minutes on 2 cores.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medres.config import RunConfig
from medres.config_text import parse_config
from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.training.fine_tuning import FineTuned
    from medres.training.training_data import TrainingData
    from pipelines.run_folder import Judged

PROGRAM = "medres train"
DRY_RUN = "--dry-run"
SAMPLE_CONFIG = Path(__file__).parent / "configs" / "sample.yaml"


def run(config: RunConfig) -> Path:
    """Train, judge and write everything; returns the path of the HTML report.

    Of several processes all train, and the first does the rest.
    """
    from medres.training.distributed import is_first, leave_group, process_group
    from medres.training.training_data import prepare_training_data
    from pipelines.progress import follow

    with process_group():
        first = is_first()
        data = prepare_training_data(config, follow=follow)
        trained = train_on(config, data)
        leave_group()  # judging is for the first alone, and none waits for it
    return judge(config, data, trained).page if first else config.out


def train_on(config: RunConfig, data: TrainingData) -> FineTuned:
    """Say what is trained, write down what it starts from, and train."""
    from medres.reports.training_page import FollowedTraining
    from medres.training.distributed import is_first
    from medres.training.fine_tuning import fine_tune, initialise
    from pipelines import run_folder

    initial = initialise(config, data)
    if not is_first():
        return fine_tune(config, data, initial)
    run_folder.announce(config, data, initial)
    run_folder.record_inputs(config, data, initial)
    watch = FollowedTraining(config.out, run_folder.describe_start(config, data, initial))
    return fine_tune(config, data, initial, watch=watch)


def judge(config: RunConfig, data: TrainingData, trained: FineTuned) -> Judged:
    """Calibrate and choose thresholds on validation, judge on test, write model and report."""
    from medres.reports.training_page import judging

    with judging(config.out):
        return _judge(config, data, trained)


def _judge(config: RunConfig, data: TrainingData, trained: FineTuned) -> Judged:
    from medres.bundle.directory import CARD_NAME
    from medres.metrics.finding_details import AskedDetails
    from medres.reports.evidence import write_evidence
    from medres.reports.summary import format_summary
    from pipelines import run_folder
    from pipelines.shown_cases import show_cases

    unit, findings = config.evaluation.unit, data.manifest.schema.findings
    predictor, validation = run_folder.calibrate(config, data, trained)
    chosen_on = validation.combine(unit)
    thresholds, without = chosen_on.choose_thresholds(findings, config.evaluation)
    bands, undecided = chosen_on.choose_bands(findings, config.evaluation)
    guard, unguarded = run_folder.fit_model_guard(config, data, trained)
    record = run_folder.save_model(
        config, data, trained, thresholds, bands, predictor.calibration, guard
    )

    images = run_folder.score_test(config, data, predictor)
    cases = images.combine(unit)
    asked = AskedDetails(bands=bands)
    figures = cases.evaluate(
        findings, thresholds, kind=data.manifest.schema.kind, asked=asked, seed=config.seed
    )
    evaluation = {**figures, **run_folder.describe_run(config, data, trained, record)}
    evaluation["notes"] = [
        *evaluation["notes"],
        *without,
        *undecided,
        *unguarded,
        *figures["notes"],
    ]
    evaluation["cases"], shown = show_cases(
        predictor,
        images,
        cases,
        findings,
        thresholds,
        allowed=config.evaluation.images,
        keys=config.out / "predictions" / "cases.csv",
    )
    record = run_folder.add_figures(config, data, record, evaluation)
    card = config.out / "model" / CARD_NAME
    page = write_evidence(evaluation, config.out / "report", model_card=card, sections=[shown])
    print(format_summary(evaluation))
    print(f"\nmodel   {config.out / 'model'}\nreport  {page}")
    return run_folder.Judged(page, record, images, evaluation)


def train(arguments: Sequence[str], program: str, description: str) -> None:
    """Parse a command line, make the sample data if it is theirs to train on, and run.

    `--dry-run` is a word to the program, no key of the run: it stands in no config file.
    """
    keys = [word for word in arguments if word != DRY_RUN]
    config = parse_config(keys, prog=program, description=description)

    from medres.training.distributed import first_before_others, process_group
    from pipelines import dry_run
    from pipelines.sample import make_sample_manifest

    with process_group():
        if config.data.manifest is not None:
            with first_before_others():
                make_sample_manifest(config.data.manifest)
        if len(keys) < len(arguments):
            dry_run.run(config)
        else:
            run(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print("no arguments: training on the sample data (medres train --help says more)")
        arguments = ["--config", str(SAMPLE_CONFIG)]
    return exit_status(PROGRAM, lambda: train(arguments, PROGRAM, __doc__ or ""))


if __name__ == "__main__":
    sys.exit(main())
