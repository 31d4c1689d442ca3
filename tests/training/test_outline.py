import pytest

from medres.config import ModelConfig, RunConfig, StageConfig, StagesConfig, TrainingConfig
from medres.errors import ConfigError
from medres.training.outline import outline_training


def outline(n_train=1_000, *, trained=True, stem="adapter", **training):
    config = RunConfig(model=ModelConfig(stem=stem), training=TrainingConfig(**training))
    return outline_training(config, n_train, weights_are_trained=trained)


def test_steps_are_whole_batches_of_the_training_images():
    found = outline(n_train=1_000, batch_size=32, epochs=20)
    assert found.steps_per_epoch == 31
    assert found.schedule.total_steps == 620
    assert found.schedule.preset == "freeze_then_finetune"
    assert found.notes == ()


def test_accumulated_batches_make_one_step():
    assert outline(n_train=1_000, batch_size=32, accumulate=4).steps_per_epoch == 7


def test_every_key_of_the_schedule_reaches_it():
    stages = StagesConfig(layer1=StageConfig(opens_at_epoch="never"))
    schedule = outline(
        n_train=320,
        preset="discriminative",
        learning_rate=2e-3,
        course="one_cycle",
        cycle_momentum=True,
        adapter_frozen_steps=15,
        stage_warmup_epochs=0.5,
        stages=stages,
        batch_size=32,
        epochs=10,
    ).schedule
    assert (schedule.course, schedule.cycle_momentum) == ("one_cycle", True)
    assert schedule.stages[0].opens_at == 15
    assert schedule.stages[0].warmup_steps == 5
    assert schedule.stages[2].opens_at is None
    assert schedule.stages[-1].learning_rate == 2e-3


def test_random_weights_note_each_change_once():
    stages = StagesConfig(layer1=StageConfig(opens_at_epoch="never"))
    found = outline(trained=False, batch_size=8, preset="surgical", stages=stages)
    assert found.resolved.preset == found.schedule.preset == "full"
    assert len(found.notes) == len(set(found.notes)) == 3
    assert "stages were ignored" in found.notes[-1]


def test_fewer_images_than_a_step_are_refused():
    with pytest.raises(ConfigError, match="batch_size 32: 32 is more than the 31 training images"):
        outline(n_train=31)
    with pytest.raises(ConfigError, match=r"batch_size 32 x training\.accumulate 2: 64 "):
        outline(n_train=63, accumulate=2)


def test_outline_imports_no_framework():
    import subprocess
    import sys

    code = (
        "import sys, medres.training.outline, medres.training.advice, "
        "medres.training.schedule_table, medres.reports.schedule_picture; "
        "print([m for m in ('monai', 'ignite', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
