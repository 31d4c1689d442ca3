from medres.training.presets import build_schedule
from medres.training.schedule_table import format_schedule, shown_rows


def test_table_shows_rates_what_is_frozen_and_where_statistics_move():
    schedule = build_schedule(
        "gradual",
        epochs=5,
        steps_per_epoch=10,
        frozen_epochs=1,
        course="constant",
        warmup_epochs=0,
        stage_warmup_epochs=0,
        stem="port",
    )
    text = format_schedule(schedule)
    assert text == (
        "Preset gradual: constant rates; 5 epochs of 10 steps.\n"
        "Batch-norm: train mode where a stage trains (batch statistics), evaluation mode where it "
        "is frozen.\n"
        "Rates at an epoch's end; - is frozen; n trains batch-norm's weights and biases alone.\n"
        "\n"
        "epoch     conv1    layer1    layer2    layer3    layer4      head"
        "  batch-norm statistics move in\n"
        "    1         -         -         -         -         -   1.0e-03  none\n"
        "    2         -         -         -         -   2.0e-04   1.0e-03  layer4\n"
        "    3         -         -         -   2.0e-04   2.0e-04   1.0e-03  layer3 to layer4\n"
        "    4         -         -   3.0e-04   2.0e-04   2.0e-04   1.0e-03  layer2 to layer4\n"
        "    5   5.0e-04   5.0e-04   3.0e-04   2.0e-04   2.0e-04   1.0e-03  conv1 to layer4"
    )


def test_table_marks_stages_of_which_the_norms_train_alone():
    schedule = build_schedule(
        "batch_norm_affine", epochs=3, steps_per_epoch=4, batch_norm="eval", course="linear"
    )
    text = format_schedule(schedule)
    assert "linear decay after 1 epoch of warm-up; 3 epochs of 4 steps" in text
    assert "Batch-norm: evaluation mode throughout (running statistics stay as they are)." in text
    assert text.splitlines()[5].split() == ["1", *["1.0e-03n"] * 5, "1.0e-03", "none"]


def test_table_says_that_momentum_cycles():
    schedule = build_schedule(
        "full", epochs=3, steps_per_epoch=4, course="one_cycle", cycle_momentum=True
    )
    assert "Preset full: one cycle, momentum against the rate; 3 epochs" in format_schedule(
        schedule
    )


def test_long_table_keeps_both_ends_of_each_phase():
    schedule = build_schedule("freeze_then_finetune", epochs=200, steps_per_epoch=2)
    shown = shown_rows(schedule.as_table())
    assert {0, 2, 3, 199} <= set(shown)
    assert len(shown) < 40
    assert shown == sorted(shown)
    assert "  ..." in format_schedule(schedule)


def test_stages_that_move_apart_are_named_one_by_one():
    from medres.config import StageConfig, StagesConfig

    stages = StagesConfig(layer2=StageConfig(opens_at_epoch="never"))
    text = format_schedule(build_schedule("full", epochs=2, steps_per_epoch=2, stages=stages))
    assert text.endswith("conv1, layer1, layer3, layer4")
