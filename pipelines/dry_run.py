"""What `medres train --dry-run` shows: the whole course of a training, before any of it.

Reads the manifest and a few headers, no pixels and no weights. Equal pictures in two splits, which
the training finds, may take images from it.
"""

from __future__ import annotations

from dataclasses import asdict

from medres.config import ImageRuleConfig, RunConfig


def run(config: RunConfig) -> None:
    """Print advice, notes and the schedule as a table, and draw it; nothing is trained.

    Of several processes, which a step's images are shared among, the first alone speaks.
    """
    from medres.data.run_manifest import read_run_manifest
    from medres.data.splits import assign_splits
    from medres.reports.schedule_picture import save_schedule_picture
    from medres.training.advice import advise, gather_facts
    from medres.training.distributed import is_first
    from medres.training.feature_plan import plan_run_features
    from medres.training.outline import outline_training
    from medres.training.schedule_table import format_schedule
    from medres.transforms.augmentation import resolve_augmentation

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
    facts = gather_facts(manifest)
    print(advise(facts, config).format())
    for note in (*manifest.notes, *outline.notes):
        print(f"note: {note}")
    print(f"\n{format_schedule(outline.schedule)}")
    print(f"\nimages of an archive: {_describe_rule(config.image_rule)}")
    augmentation = resolve_augmentation(
        config.training.augmentation, {facts.modality: facts.images}
    )
    features = plan_run_features(
        config,
        outline.schedule,
        train=facts.images,
        validation=len(manifest.split("validation")),
        random=augmentation.amounts.is_random,
        value_bytes=2 if config.training.precision in ("bf16", "fp16") else 4,  # auto: at most 4
    )
    print("\nfrozen stages", *features.describe(), sep="\n  ")
    picture = config.out / "schedule.png"
    save_schedule_picture(outline.schedule, picture)
    print(f"\nnothing was trained (--dry-run)\npicture  {picture}")


def _describe_rule(asked: ImageRuleConfig) -> str:
    """What is stated of the rule, and what the training images are to tell."""
    words = {"body_part": "body part", "leave_out": "image types left out"}
    parts = {words.get(name, name): values for name, values in asdict(asked).items()}
    stated = [f"{name} {' or '.join(values)}" for name, values in parts.items() if values]
    learned = ", ".join(name for name, values in parts.items() if not values)
    return "; ".join([*stated, *([f"{learned}: as in the training images"] if learned else [])])
