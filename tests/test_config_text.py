import dataclasses
from pathlib import Path

import pytest
import yaml

from medres.config import ImageRuleConfig, RunConfig
from medres.config_check import check_config
from medres.config_text import config_as_json, format_config, parse_config
from medres.data.image_rule import ImageRule
from medres.errors import ConfigError


def parse(*argv: str) -> RunConfig:
    return parse_config(argv, prog="medres train")


def test_no_arguments_give_the_defaults() -> None:
    assert parse() == RunConfig()


def test_flag_beats_file_beats_default_wherever_config_stands(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("seed: 3\ntraining:\n  epochs: 7\n")
    for argv in (["--seed", "5", "--config", str(file)], ["--config", str(file), "--seed", "5"]):
        config = parse(*argv)
        assert (config.seed, config.training.epochs) == (5, 7)
        assert config.training.batch_size == RunConfig().training.batch_size
    assert parse(f"--config={file}").seed == 3


def test_lists_are_given_with_commas() -> None:
    config = parse("--data.findings", "effusion,nodule", "--data.where", "scanner=A")
    assert config.data.findings == ("effusion", "nodule")
    assert config.data.where == ("scanner=A",)


def test_the_rule_on_headers_is_stated_part_by_part() -> None:
    config = parse("--image_rule.modality", "DX,CR", "--image_rule.view", "any")
    assert config.image_rule == ImageRuleConfig(modality=("DX", "CR"), view=("any",))
    assert ImageRule(("DX",), ("CHEST",), ("PA",)).stating(config.image_rule) == ImageRule(
        ("DX", "CR"), ("CHEST",), ()
    )


@pytest.mark.parametrize("values", ["any,PA", "[PA, '']"])
def test_a_rule_that_contradicts_itself_is_refused(values: str) -> None:
    with pytest.raises(ConfigError, match=r"image_rule.view: \(.*\) is not accepted; give values"):
        parse("--image_rule.view", values)


def test_resolved_config_reads_back_as_itself(tmp_path: Path) -> None:
    config = parse("--data.manifest", "a/b.csv", "--training.augmentation.gamma", "0.3")
    file = tmp_path / "config.yaml"
    file.write_text(format_config(config))
    assert parse("--config", str(file)) == config
    assert yaml.safe_load(file.read_text()) == config_as_json(config)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sed", "3"], "unknown key 'sed'; did you mean 'seed'?"),
        (["--epochs", "3"], "unknown key 'epochs'; did you mean 'training.epochs'?"),
        (["--training.epoch", "3"], "did you mean 'training.epochs'?"),
        (["--model.depth", "20"], "model.depth: 20 is not accepted; give one of 18, 34, 50, 101"),
        (["--model.stem_init", "ones"], "give one of auto, equal, imagenet with model.stem dupl"),
        (["--training.epochs", "x"], "training.epochs: x is not accepted; give int"),
        (["--data.fractions", "3"], "data.fractions: 3 is not accepted; give tuple"),
        (["--config"], "--config: expects a YAML file"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such configuration file"),
        (["--pixels.size", "8"], "pixels.size: 8 is not accepted; give at least 32 pixels"),
        (["--data.fractions", "[.5,.2,.2]"], "three positive fractions that add up to 1"),
        (["--pixels.clip_percentiles", "[9,3]"], "0 <= low < high <= 100"),
        (["--training.warmup_epochs", "30"], "from 0 to below training.epochs"),
        (["--training.focal_gamma", "0.5"], "training.focal_gamma: 0.5 is not accepted; give 1 or"),
        (["--data.uncertain_value", "1"], "data.uncertain_value: '1' is not accepted; give a cell"),
        (
            ["--data.uncertain", "maybe"],
            "data.uncertain: maybe is not accepted; give one of refuse",
        ),
        (["--training.augmentation.preset", "x"], "augmentation.preset: x is not accepted"),
        (["--training.augmentation.blur", "x"], "blur: x is not accepted; give a number, or null"),
        (["--training.augmentation.noise", "-1"], "augmentation.noise: -1.0 is not accepted"),
        (["--training.accumulate", "0"], "training.accumulate: 0 is not accepted; give at least 1"),
        (["--training.precision", "fp8"], "give one of auto, fp32, bf16, fp16"),
        (["--training.checkpoint_minutes", "-1"], "checkpoint_minutes: -1.0 is not accepted; give"),
        (["--training.checkpoint_steps", "-1"], "checkpoint_steps: -1 is not accepted; give 0"),
        (["--training.cache_gib", "-1"], "training.cache_gib: -1.0 is not accepted"),
        (["--evaluation.sensitivity", "1"], "evaluation.sensitivity: 1.0 is not accepted"),
        (["--evaluation.specificity", "0"], "evaluation.specificity: 0.0 is not accepted"),
        (["--evaluation.band", "[0.95, 1]"], "evaluation.band: (0.95, 1.0) is not accepted; give"),
        (
            ["--evaluation.band", "[0, 0.9]"],
            "a sensitivity and a specificity between 0 and 1, as",
        ),
        (["--evaluation.band", "0.9"], "evaluation.band: 0.9 is not accepted; give two numbers"),
        (
            ["--evaluation.band", "[0.9]"],
            "evaluation.band: [0.9] is not accepted; give two num",
        ),
        (["--evaluation.miss_cost", "0"], "evaluation.miss_cost: 0.0 is not accepted; give a num"),
        (["--evaluation.prevalence", "1"], "evaluation.prevalence: 1.0 is not accepted; give betw"),
    ],
)
def test_wrong_command_line_says_what_is_accepted(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(*argv)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed: 3", "run.yaml: unknown key 'sed'; did you mean 'seed'?"),
        ("data:\n  finding: [a]", "unknown key 'data.finding'; did you mean 'data.findings'?"),
        ("training:\n  augmentation:\n    blurr: 1", "'training.augmentation.blur'?"),
        ("zebra: 1", "valid keys are data, data.manifest"),
        ("- a\n- b", "expects a YAML mapping"),
        ("a: [", "not a YAML file"),
    ],
)
def test_wrong_file_says_where_and_what_is_near(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse("--config", str(file))
    assert message in str(caught.value)


def test_every_shipped_config_is_valid() -> None:
    configs = sorted((Path(__file__).parents[1] / "pipelines" / "configs").glob("*.yaml"))
    assert configs
    for file in configs:
        parse("--config", str(file))


def test_check_config_accepts_and_returns_the_default() -> None:
    config = dataclasses.replace(RunConfig(), seed=9)
    assert check_config(config) is config


def test_single_stages_are_set_by_flag_and_file(tmp_path):
    path = tmp_path / "stages.yaml"
    path.write_text("training: {stages: {layer1: {opens_at_epoch: never}}}")
    flags = ["--config", str(path), "--training.stages.head.learning_rate", "0.002"]
    stages = parse_config([*flags, "--training.stages.layer4.opens_at_epoch", "2"], prog="x")
    assert stages.training.stages.layer1.opens_at_epoch == "never"
    assert stages.training.stages.layer4.opens_at_epoch == 2.0
    assert stages.training.stages.head.learning_rate == 0.002
    assert stages.training.stages.conv1.learning_rate is None


def test_a_band_is_off_until_two_rates_ask_for_it(tmp_path: Path) -> None:
    assert parse().evaluation.band is None
    assert parse("--evaluation.band", "[0.95, 0.9]").evaluation.band == (0.95, 0.9)
    file = tmp_path / "run.yaml"
    file.write_text("evaluation:\n  band: [0.95, 0.9]\n")
    assert parse("--config", str(file)).evaluation.band == (0.95, 0.9)
    assert parse("--config", str(file), "--evaluation.band", "null").evaluation.band is None
    again = tmp_path / "again.yaml"
    again.write_text(format_config(parse("--config", str(file))))
    assert parse("--config", str(again)).evaluation.band == (0.95, 0.9)
