import itertools
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedules import STAGES, constant, rates

from medres.config import StageConfig, StagesConfig, TrainingConfig
from medres.errors import ConfigError
from medres.training.course import COURSES
from medres.training.optimizer import OptimizerName
from medres.training.presets import PRESETS, ResolvedPreset, build_schedule, resolve_preset

TRUNK = {"conv1", "layer1", "layer2", "layer3", "layer4"}
NEVER = {"surgical": {"layer2", "layer3", "layer4"}, "linear_probe": TRUNK}


def test_freeze_then_finetune_has_the_seeds_figures():
    schedule = constant("freeze_then_finetune")
    assert rates(schedule, 19) == {"adapter": 1e-3, "head": 1e-3}
    assert rates(schedule, 20) == {
        "adapter": 1e-3,
        "conv1": 5e-4,
        "layer1": 5e-4,
        "layer2": 2.5e-4,
        "layer3": 1.25e-4,
        "layer4": 1.25e-4,
        "head": 1e-3,
    }


def test_discriminative_has_the_seeds_figures_from_the_first_step():
    assert rates(constant("discriminative"), 0) == {
        "adapter": 1e-3,
        "conv1": 5e-4,
        "layer1": 5e-4,
        "layer2": 3e-4,
        "layer3": 2e-4,
        "layer4": 2e-4,
        "head": 1e-3,
    }


def test_gradual_opens_one_stage_at_a_time_from_the_head_down():
    schedule = constant("gradual")
    opened = [tuple(rates(schedule, step)) for step in (0, 19, 20, 39, 40, 60, 80, 99)]
    assert opened == [
        ("adapter", "head"),
        ("adapter", "head"),
        ("adapter", "layer4", "head"),
        ("adapter", "layer4", "head"),
        ("adapter", "layer3", "layer4", "head"),
        ("adapter", "layer2", "layer3", "layer4", "head"),
        STAGES,
        STAGES,
    ]
    assert rates(schedule, 99)["layer4"] == 2e-4


def test_full_trains_everything_at_one_rate():
    assert set(rates(constant("full"), 0).values()) == {1e-3}


def test_rates_scale_with_the_base_learning_rate():
    schedule = constant("discriminative", base_learning_rate=4e-3)
    assert rates(schedule, 0)["layer2"] == pytest.approx(1.2e-3)


@pytest.mark.parametrize("stem", ["duplicate", "port"])
def test_networks_without_an_adapter_have_no_such_stage(stem):
    assert tuple(constant("gradual", stem=stem).at(0)) == STAGES[1:]


@settings(deadline=None, max_examples=60)
@given(
    preset=st.sampled_from(PRESETS),
    steps_per_epoch=st.integers(1, 40),
    epochs=st.integers(2, 30),
    frozen=st.floats(0, 0.24),
    warmup=st.floats(0, 0.99),
)
def test_stages_once_open_stay_open_and_all_that_ever_do_open(
    preset, steps_per_epoch, epochs, frozen, warmup
):
    schedule = build_schedule(
        preset,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        frozen_epochs=frozen * (epochs - 1 / steps_per_epoch),
        warmup_epochs=warmup * epochs,
    )
    steps = range(epochs * steps_per_epoch)
    active = [{n for n, s in schedule.at(i).items() if s.active} for i in steps]
    assert all(a <= b for a, b in itertools.pairwise(active))
    assert "head" in active[0]
    never = {plan.stage for plan in schedule.stages if plan.opens_at is None}
    assert never == NEVER.get(preset, set())
    assert active[-1] == set(STAGES[1:]) - never


def test_random_weights_resolve_every_preset_to_full_and_say_so():
    resolved = resolve_preset("gradual", weights_are_trained=False, batch_size=8, batch_norm="eval")
    assert (resolved.preset, resolved.batch_size, resolved.batch_norm) == ("full", 32, "train")
    text = " | ".join(resolved.notes)
    assert "preset gradual became full: the weights are random" in text
    assert "batch_norm eval became train" in text
    assert "batch_size 8 became 32" in text


def test_random_weights_with_a_fitting_configuration_need_no_notes():
    resolved = resolve_preset("full", weights_are_trained=False, batch_size=17)
    assert resolved == ResolvedPreset("full", 17, "train")


@pytest.mark.parametrize(("batch_size", "expected"), [(1, "eval"), (16, "eval"), (17, "train")])
def test_small_batches_keep_trained_statistics(batch_size, expected):
    resolved = resolve_preset("gradual", weights_are_trained=True, batch_size=batch_size)
    assert resolved == ResolvedPreset("gradual", batch_size, expected)


@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_batch_norm_as_asked_for_is_kept_for_trained_weights(batch_norm):
    resolved = resolve_preset("full", weights_are_trained=True, batch_size=8, batch_norm=batch_norm)
    assert resolved.batch_norm == batch_norm


def test_schedule_for_random_weights_is_full_and_notes_it():
    schedule = build_schedule(
        "freeze_then_finetune",
        epochs=2,
        steps_per_epoch=5,
        frozen_epochs=3,
        batch_norm="eval",
        weights_are_trained=False,
    )
    assert schedule.preset == "full"
    assert schedule.batch_norm == "train"
    assert all(state.active for state in schedule.at(0).values())
    assert schedule.notes[0].startswith("preset freeze_then_finetune became full")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"preset": "surgery"}, "preset: 'surgery' is not accepted; give one of freeze_then"),
        ({"batch_norm": "auto"}, "batch_norm: 'auto' is not accepted; give one of train, eval"),
        ({"course": "step"}, "course: 'step' is not accepted; give one of cosine, linear"),
        ({"epochs": 0}, "epochs: 0 of 10 steps are not accepted; give at least one step"),
        ({"base_learning_rate": 0.0}, "base_learning_rate: 0 is not accepted; give a rate above"),
        ({"warmup_epochs": 8}, "warmup_epochs: 8 is not accepted; give 0 or more and less than"),
        ({"frozen_epochs": 2}, "frozen_epochs: 2 is not accepted; with 8 epochs gradual takes"),
        ({"frozen_epochs": 9}, "0 or more and less than 2, or its last stage never opens"),
        ({"frozen_epochs": -1}, "frozen_epochs: -1 is not accepted"),
        ({"stage_warmup_epochs": -1}, "stage_warmup_epochs: -1 is not accepted; give 0 or more"),
        ({"stem": "gray"}, "stem: 'gray' is not accepted; give one of duplicate, port, adapter"),
    ],
)
def test_impossible_schedules_are_refused(options, text):
    settings = {"preset": "gradual", "epochs": 8, "steps_per_epoch": 10, "frozen_epochs": 1}
    settings |= options
    with pytest.raises(ConfigError, match=text):
        build_schedule(settings.pop("preset"), **settings)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"preset": "all"}, "preset: 'all' is not accepted"),
        ({"batch_norm": "off"}, "batch_norm: 'off' is not accepted; give one of auto, train, eval"),
        ({"batch_size": 0}, "batch_size: 0 is not accepted; give at least 1"),
    ],
)
def test_impossible_presets_are_refused(options, text):
    settings = {"preset": "full", "weights_are_trained": True, "batch_size": 4} | options
    with pytest.raises(ConfigError, match=text):
        resolve_preset(settings.pop("preset"), **settings)


def test_layerwise_decay_falls_toward_the_input_by_2_6():
    found = rates(constant("layerwise_decay"), 0)
    assert found == {
        "adapter": 1e-3,
        "conv1": 8.417e-6,
        "layer1": 2.1883e-5,
        "layer2": 5.6896e-5,
        "layer3": 1.47929e-4,
        "layer4": 3.84615e-4,
        "head": 1e-3,
    }
    trunk = [found[stage] for stage in STAGES[1:]]
    assert [above / below for below, above in itertools.pairwise(trunk)] == pytest.approx(
        [2.6] * 5, rel=1e-4
    )


def test_surgical_trains_the_first_block_and_the_head():
    schedule = constant("surgical")
    expected = {"adapter": 1e-3, "conv1": 5e-4, "layer1": 5e-4, "head": 1e-3}
    assert rates(schedule, 0) == rates(schedule, 99) == expected


@pytest.mark.parametrize(
    ("stem", "trained"), [("adapter", {"adapter", "head"}), ("port", {"head"})]
)
def test_linear_probe_trains_the_head_and_an_adapter(stem, trained):
    schedule = constant("linear_probe", stem=stem)
    assert set(rates(schedule, 0)) == set(rates(schedule, 99)) == trained


def test_linear_probe_without_the_adapter_on_request():
    schedule = constant("linear_probe", adapter_frozen_steps=-1)
    assert set(rates(schedule, 99)) == {"head"}


def test_batch_norm_affine_opens_norms_alone_in_the_trunk():
    states = constant("batch_norm_affine").at(0)
    assert set(rates(constant("batch_norm_affine"), 0).values()) == {1e-3}
    assert {stage: state.tensors for stage, state in states.items()} == {
        "adapter": "all",
        "conv1": "batch_norm",
        "layer1": "batch_norm",
        "layer2": "batch_norm",
        "layer3": "batch_norm",
        "layer4": "batch_norm",
        "head": "all",
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_adapter_waits_for_as_many_steps_as_asked_and_warms_up(preset):
    schedule = build_schedule(
        preset,
        epochs=10,
        steps_per_epoch=10,
        frozen_epochs=1,
        course="constant",
        warmup_epochs=0,
        adapter_frozen_steps=25,
        stem="adapter",
    )
    active = [schedule.at(step)["adapter"].active for step in range(100)]
    assert active == [False] * 25 + [True] * 75
    shares = [schedule.at(step)["adapter"].learning_rate / 1e-3 for step in range(24, 36)]
    assert shares == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1])
    assert 25 in schedule.openings


def test_adapter_of_random_weights_may_wait_too():
    schedule = constant("gradual", adapter_frozen_steps=7, weights_are_trained=False)
    assert set(rates(schedule, 6)) == set(STAGES[1:])
    assert set(rates(schedule, 7)) == set(STAGES)


def test_single_stages_may_differ_from_the_preset():
    stages = StagesConfig(
        layer4=StageConfig(learning_rate=3e-5),
        layer2=StageConfig(opens_at_epoch=2.5),
        conv1=StageConfig(opens_at_epoch="never"),
    )
    schedule = constant("discriminative", stages=stages)
    assert rates(schedule, 24) == {
        "adapter": 1e-3,
        "layer1": 5e-4,
        "layer3": 2e-4,
        "layer4": 3e-5,
        "head": 1e-3,
    }
    assert rates(schedule, 25)["layer2"] == 3e-4
    assert not schedule.at(99)["conv1"].active
    assert schedule.openings == (0, 25)


def test_random_weights_ignore_changed_stages_and_say_so():
    stages = StagesConfig(layer4=StageConfig(opens_at_epoch="never"))
    schedule = constant("full", stages=stages, weights_are_trained=False)
    assert all(state.active for state in schedule.at(0).values())
    assert schedule.notes == ("stages were ignored: the weights are random, and all stages train",)


def test_momentum_of_one_cycle_runs_against_the_rate_where_asked():
    schedule = build_schedule(
        "full", epochs=4, steps_per_epoch=10, course="one_cycle", cycle_momentum=True
    )
    assert schedule.momentum(0) == 0.95
    assert schedule.momentum(11) == pytest.approx(0.85)
    assert schedule.momentum(39) == schedule.momentum(400) == pytest.approx(0.95)
    assert build_schedule("full", epochs=4, steps_per_epoch=10).momentum(0) is None


def test_one_cycle_is_shared_by_all_stages():
    schedule = build_schedule("discriminative", epochs=4, steps_per_epoch=10, course="one_cycle")
    assert schedule.at(0)["head"].learning_rate == pytest.approx(1e-3 / 25)
    assert schedule.at(11)["layer4"].learning_rate == pytest.approx(2e-4)


def test_configuration_has_the_same_names():
    hints = get_type_hints(TrainingConfig)
    assert get_args(hints["preset"]) == PRESETS
    assert get_args(hints["course"]) == COURSES
    assert get_args(hints["optimizer"]) == get_args(OptimizerName)
    assert tuple(field.name for field in fields(StagesConfig)) == STAGES


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"adapter_frozen_steps": -2}, "adapter_frozen_steps: -2 is not accepted; give 0 or more"),
        (
            {"adapter_frozen_steps": 80},
            r"stage adapter: opens at step 80 of 80 \(10 an epoch\); give an earlier one, or never",
        ),
        (
            {"stages": StagesConfig(layer1=StageConfig(opens_at_epoch=-1.0))},
            "stage layer1: opens at step -10 of 80",
        ),
        (
            {"stages": StagesConfig(layer1=StageConfig(learning_rate=0.0))},
            "stage layer1: learning_rate 0 is not accepted; give a rate above 0, or opens_at_epoch",
        ),
        (
            {
                "adapter_frozen_steps": -1,
                "stages": StagesConfig(head=StageConfig(opens_at_epoch=1.0)),
            },
            "stages: none trains at the first step; let at least one open at epoch 0, such as head",
        ),
        ({"cycle_momentum": True}, "cycle_momentum: needs the course one_cycle, found cosine"),
    ],
)
def test_impossible_stages_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        build_schedule(
            "gradual", epochs=8, steps_per_epoch=10, frozen_epochs=1, stem="adapter", **options
        )
