r"""Train with several seeds, and over settings, and tell the mean and its spread.

    medres sweep --seeds 1 2 3 --config pipelines/configs/kermany.yaml --data.manifest kermany.csv
    medres sweep --seeds 1 2 3 --over training.preset=full,gradual --over model.depth=18,34 \
        --data.manifest manifest.csv --out runs/sweep

Every other option is one of `medres train`. Each run has a folder of its own under --out; a sweep
that was killed goes on when started again, and a longer list of seeds adds to it. Leaves
`sweep.md`, `sweep.json`, `summary.csv` (mean, standard deviation and number of seeds of each
figure) and `runs.csv`. The split stays the same for all (`data.split_seed`), so that seeds differ
in nothing but the chance of training.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medres.config import RunConfig
from medres.config_text import parse_config
from medres.errors import ConfigError
from pipelines.shell import exit_status

PROGRAM = "medres sweep"
Setting = dict[str, str]


def plan_runs(
    seeds: Sequence[int], over: Sequence[str], train: Sequence[str]
) -> list[tuple[Setting, RunConfig]]:
    """Every run, checked before the first one starts.

    Args:
        seeds: one run a seed and setting.
        over: settings to vary, each as `key=value,value`; several are crossed.
        train: options of `medres train`.

    Raises:
        ConfigError: an option that `medres train` refuses, a setting without values, seeds or
            settings that repeat, or two settings with the same folder.
    """
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds: {' '.join(map(str, seeds))} repeat one; give each once")
    if any(word.partition("=")[0] == "--seed" for word in train):
        raise ConfigError("--seed: a sweep has several; give them with --seeds")
    runs = []
    for setting in _settings(over):
        flags = [word for key, value in setting.items() for word in (f"--{key}", value)]
        for seed in seeds:
            arguments = [*train, *flags, "--seed", str(seed)]
            config = parse_config(arguments, prog=PROGRAM)
            runs.append((setting, replace(config, out=_folder(config.out, setting, seed))))
    if len({config.out for _, config in runs}) < len(runs):
        raise ConfigError(
            "--over: two settings would share a run folder; name their files differently"
        )
    return runs


def _settings(over: Sequence[str]) -> list[Setting]:
    axes = []
    for text in over:
        key, _, values = text.partition("=")
        choices = [value for value in values.split(",") if value]
        if not key or not choices or len(set(choices)) < len(choices):
            raise ConfigError(
                f"--over {text}: expects KEY=VALUE,VALUE,... with a key of `medres train` and "
                "different values, such as training.preset=full,gradual"
            )
        axes.append([(key, choice) for choice in choices])
    return [dict(choices) for choices in itertools.product(*axes)]


def _folder(out: Path, setting: Setting, seed: int) -> Path:
    parts = [f"{key.rsplit('.', 1)[-1]}={value}" for key, value in setting.items()]
    name = re.sub(r"[^\w.=,-]+", "_", ",".join(parts))
    return out / name / f"seed-{seed}"


def run(runs: Sequence[tuple[Setting, RunConfig]], out: Path) -> str:
    """Train and judge each; returns the table."""
    from medres.files import read_json
    from medres.reports.sweep import SweptRun, format_sweep, list_swept_figures, write_sweep
    from pipelines import xray_train
    from pipelines.sample import make_sample_manifest

    done = []
    for setting, config in runs:
        print(f"{config.out}", file=sys.stderr, flush=True)
        if config.data.manifest is not None:
            make_sample_manifest(config.data.manifest)
        xray_train.run(config)
        evaluation = read_json(config.out / "report" / "evaluation.json")
        done.append(SweptRun(setting, config.seed, list_swept_figures(evaluation)))
        write_sweep(done, out)
    return format_sweep(done)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seeds", type=int, nargs="+", required=True, metavar="SEED")
    parser.add_argument(
        "--over", action="append", default=[], metavar="KEY=A,B", help="vary a setting as well"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/sweep"), help="folder of the runs")
    options, train = parser.parse_known_args(argv)

    def sweep() -> None:
        runs = plan_runs(options.seeds, options.over, [*train, "--out", str(options.out)])
        print(f"\n{run(runs, options.out)}\ntables  {options.out}")

    return exit_status(PROGRAM, sweep)


if __name__ == "__main__":
    sys.exit(main())
