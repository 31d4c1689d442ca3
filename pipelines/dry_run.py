"""What `medres train --dry-run` shows: the whole course of a training, before any of it.

Reads the manifest and a few headers, no pixels and no weights. Equal pictures in two splits, which
the training finds, may take images from it.
"""

from __future__ import annotations

from medres.config import RunConfig


def run(config: RunConfig) -> None:
    """Print advice, notes and the schedule as a table, and draw it; nothing is trained.

    Of several processes, which a step's images are shared among, the first alone speaks.
    """
    from medres.data.run_manifest import read_run_manifest
    from medres.data.splits import assign_splits
    from medres.reports.schedule_picture import save_schedule_picture
    from medres.training.advice import advise, gather_facts
    from medres.training.distributed import is_first
    from medres.training.outline import outline_training
    from medres.training.schedule_table import format_schedule

    manifest = assign_splits(
        read_run_manifest(config), fractions=config.data.fractions, seed=config.data.split_seed
    )
    counts = ", ".join(
        f"{split} {len(manifest.split(split))}" for split in ("train", "validation", "test")
    )
    trained = config.model.weights != "none"
    outline = outline_training(config, len(manifest.split("train")), weights_are_trained=trained)
    if not is_first():
        return
    print(f"ResNet-{config.model.depth}, stem {config.model.stem}, weights {config.model.weights}")
    print(f"{len(manifest.rows)} images: {counts}; steps of {outline.step_images}\n")
    print(advise(gather_facts(manifest), config).format())
    for note in (*manifest.notes, *outline.notes):
        print(f"note: {note}")
    print(f"\n{format_schedule(outline.schedule)}")
    picture = config.out / "schedule.png"
    save_schedule_picture(outline.schedule, picture)
    print(f"\nnothing was trained (--dry-run)\npicture  {picture}")
