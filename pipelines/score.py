"""Score images that have no labels: folders, files, zips and tars, a DICOMDIR, a manifest.

    medres score STUDIES --model runs/demo/model --out results
    medres score STUDIES --model runs/demo/model --out results     # again: goes on, or is done
    medres score INBOX --model runs/demo/model --out results --watch
    medres score STUDIES --model runs/demo/model --out results --num-shards 8 --shard 0   # of 8

Says what it is about to do, then does it. Leaves `images.parquet` and `studies.parquet` (and CSV)
with a probability a finding; `rejected.jsonl` with what could not be scored and why;
`not_chosen.jsonl`; `summary.html` and `.json`; `keys.parquet`, readable by its owner alone, from
the tables' keys back to files and UIDs; and `journal.jsonl`, by which a run that was killed goes
on. Columns, options and promises: docs/scoring.md. Exit status 3 where anything was rejected.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.shell import exit_status, say
from pipelines.zipped import with_model_folder

if TYPE_CHECKING:
    from medres.data.image_rule import ImageRule
    from medres.scoring.plan import Plan
    from medres.scoring.run import ScoringRun, Settings

PROGRAM = "medres score"
REJECTED = 3


@dataclass(frozen=True)
class ScoreConfig:
    """What to score, with which model, and how; see `--help`."""

    sources: tuple[Path, ...]
    model: Path
    out: Path
    site_secret: Path | None = None
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    batch_size: int = 16
    workers: int | None = None
    read_seconds: int | None = None
    combine: Literal["mean", "max", "noisy-or"] = "mean"
    guard: Literal["mark", "withhold", "off"] = "mark"
    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    every_image: bool = False
    num_shards: int = 1
    shard: int = 0
    retry_rejected: bool = False
    with_uids: bool = False
    plan_only: bool = False
    watch: bool = False
    until_idle: float | None = None
    trust: bool = False


def run(config: ScoreConfig) -> int:
    """Score and write; returns the exit status."""
    from medres.data.pseudonyms import Keys
    from medres.scoring.load import load_scorer
    from medres.scoring.run import open_run
    from medres.scoring.secret import open_secret

    model = load_scorer(config.model, trust=config.trust)
    settings = _settings(config, model.record.image_rule)
    keys = Keys(open_secret(config.out, config.site_secret))
    with open_run(
        config.out, config.sources, model, settings, keys, retry_rejected=config.retry_rejected
    ) as run:
        watched = config.watch and not config.plan_only
        rejected = _watch(config, run) if watched else _score(config, run)
    return REJECTED if rejected else 0


def _score(config: ScoreConfig, run: ScoringRun) -> int:
    """Look, say the plan, score and write; returns how many inputs are rejected."""
    from pipelines.progress import follow

    run.look(follow=lambda files: follow(files, "looking"))
    counts = _say(run.plan())
    if config.plan_only:
        return counts["rejected"]
    summary = _score_planned(config, run, counts["planned"])
    say(
        f"{summary['images_scored']} images of {summary['studies_scored']} studies scored, "
        f"{summary['rejected']} rejected, {summary['not_chosen']} not chosen\n"
        f"results  {config.out}",
        sys.stdout,
    )
    return int(summary["rejected"])


def _watch(config: ScoreConfig, run: ScoringRun) -> int:
    """The same again and again, as files come; the tables are up to date after each time."""
    from medres.scoring.watch import Settled, rounds

    settled, rejected = Settled(), -1
    for came in rounds(config.until_idle):
        new = run.look(keep=settled)
        if new or rejected < 0:
            rejected = _score_planned(config, run, _say(run.plan())["planned"])["rejected"]
        if settled.next_listing() or new:
            came()
    return rejected


def _say(plan: Plan) -> Mapping[str, int]:
    say("\n".join(f"{PROGRAM}: {line}" for line in plan.lines()), sys.stderr)
    return plan.counts


def _score_planned(config: ScoreConfig, run: ScoringRun, images: int) -> dict[str, Any]:
    from medres.reports.score_page import write_score_page
    from pipelines.progress import follow_outcomes

    for _ in follow_outcomes(run.score(), images):
        pass
    summary = run.write(config.out, with_uids=config.with_uids)
    write_score_page(config.out)
    return summary


def _settings(config: ScoreConfig, own: ImageRule) -> Settings:
    from medres.imaging.limits import LIMITS
    from medres.scoring.look import Shard
    from medres.scoring.run import Settings
    from medres.training.precision import resolve_device

    seconds = LIMITS.read_seconds if config.read_seconds is None else config.read_seconds
    return Settings(
        device=resolve_device(config.device),
        precision=config.precision,
        batch_size=config.batch_size,
        workers=config.workers,
        rule=_rule(config, own),
        combine=config.combine,
        guard=config.guard,
        shard=Shard(config.shard, config.num_shards),
        limits=dataclasses.replace(LIMITS, read_seconds=seconds),
    )


def _rule(config: ScoreConfig, own: ImageRule) -> ImageRule:
    """The model's rule, changed where an option says so."""
    from medres.data.image_rule import EVERY_IMAGE

    return (EVERY_IMAGE if config.every_image else own).stating(config)


def build_parser() -> argparse.ArgumentParser:
    """Every option."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="STUDIES", help="folders, files, archives")
    add(
        "--model",
        type=Path,
        required=True,
        help="a run's model, or a zoo bundle; folder or zip",
    )
    add("--out", type=Path, required=True, help="folder of the results")
    add(
        *("--site-secret", "--secret"),
        type=Path,
        help="file with the secret for the keys, else $MEDRES_SITE_SECRET names it, else OUT's own",
    )
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of the network")
    add(
        "--batch-size",
        type=int,
        default=16,
        help="images kept together; best a multiple of 16",
    )
    add("--workers", type=int, help="processes that read images; one a processor, at most 8")
    add("--read-seconds", type=int, help="after which reading one image counts as hung (120)")
    add("--combine", choices=("mean", "max", "noisy-or"), default="mean", help="images to studies")
    add(
        "--guard",
        choices=("mark", "withhold", "off"),
        default="mark",
        help="images of another kind, by the model's guard: say so, or give them no score",
    )
    rule = parser.add_argument_group("which images, in place of the model's own rule (`any`: all)")
    for name, example in (("modality", "CR DX"), ("body-part", "CHEST"), ("view", "PA AP")):
        rule.add_argument(f"--{name}", nargs="+", default=(), help=f"such as {example}")
    rule.add_argument("--leave-out", nargs="+", default=(), help="image types, such as LOCALIZER")
    rule.add_argument("--every-image", action="store_true", help="whatever the headers say")
    add("--num-shards", type=int, default=1, help="runs that share the work, by study")
    add("--shard", type=int, default=0, help="which of them this one is, from 0")
    add("--retry-rejected", action="store_true", help="try again what was rejected before")
    add("--with-uids", action="store_true", help="raw UIDs in the tables too")
    add("--watch", action="store_true", help="go on as files come; Ctrl-C ends it")
    add(
        "--until-idle", type=float, metavar="S", help="with --watch: end when none came for so long"
    )
    add("--trust", action="store_true", help="run the config of a bundle of others as code")
    add("--plan-only", action="store_true", help="say what would be done")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    found = vars(build_parser().parse_args(argv))
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
    }
    config = ScoreConfig(**values)
    return exit_status(PROGRAM, lambda: with_model_folder(config, run))


if __name__ == "__main__":
    sys.exit(main())
