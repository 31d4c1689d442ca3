"""The configuration of a training run: frozen dataclasses, one YAML a run, every key checked.

A flag beats the file, the file beats the default. The defaults below suit a few hundred to a few
ten thousand radiographs and a network with ImageNet weights.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from medres.errors import ConfigError

StemName = Literal["duplicate", "port", "adapter"]
StemInit = Literal[
    "auto",
    "equal",
    "imagenet",
    "sum",
    "mean",
    "luma",
    "bare_mean",
    "bare_luma",
    "ones",
    "third",
    "bare_third",
]
STEM_INITS: dict[StemName, tuple[StemInit, ...]] = {
    "duplicate": ("equal", "imagenet"),
    "port": ("sum", "mean", "luma", "imagenet", "bare_mean", "bare_luma"),
    "adapter": ("ones", "imagenet", "third", "bare_third"),
}
"""What each stem may start as; `auto` takes the first. See `medres.models.stem`."""
Preset = Literal[
    "freeze_then_finetune",
    "discriminative",
    "gradual",
    "layerwise_decay",
    "surgical",
    "batch_norm_affine",
    "linear_probe",
    "full",
]
"""Of unfreezing; see `medres.training.presets`."""
ShownImages = Literal["none", "synthetic", "all"]
"""Whose pixels a page may show: nobody's; the phantom's, which show nobody; all, patients' too."""


@dataclass(frozen=True)
class DataConfig:
    """Which images, whose, and in which split.

    Args:
        manifest: CSV or Parquet, as `medres prepare` writes it.
        findings: label columns; empty takes `label`, or every column `label_*`.
        positive: which of two text labels is the finding; needed for a column such as
            NORMAL/PNEUMONIA, and never guessed.
        uncertain: what an uncertain label (-1 in CheXpert's tables) is taken for in training:
            refuse accepts none; ignore leaves it out; ones and zeros make it the finding or its
            absence; ones_smoothed and zeros_smoothed a target of .70 or .15. Validation and test
            never count one.
        uncertain_value: the cell that stands for an uncertain label.
        where: keep only rows whose columns have these values, as `column=value`.
        fractions: of patients, for train, validation and test, where the manifest has no split.
        split_seed: seed of the split, apart from the run's, so that runs compare on equal patients.
        on_duplicate: what to do about the same pixels in two splits.
    """

    manifest: Path | None = None
    findings: tuple[str, ...] = ()
    positive: str | None = None
    uncertain: Literal["refuse", "ignore", "ones", "zeros", "ones_smoothed", "zeros_smoothed"] = (
        "refuse"
    )
    uncertain_value: str = "-1"
    where: tuple[str, ...] = ()
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    split_seed: int = 0
    on_duplicate: Literal["error", "drop_from_train"] = "error"


@dataclass(frozen=True)
class PixelsConfig:
    """From a file to the network's input; stored with the model and compared by digest.

    Args:
        intensity: display (as a workstation shows it), modality (HU and the like), or auto:
            display for CR, DX, MG, RF, XA, US and pictures, modality for CT, MR and NIfTI.
        size: side of the square network input, in pixels.
        geometry: pad and crop keep the aspect ratio, squash does not.
        clip_percentiles: of the training pixels; what lies outside is clipped.
    """

    intensity: Literal["auto", "display", "modality"] = "auto"
    size: int = 224
    geometry: Literal["pad", "crop", "squash"] = "pad"
    clip_percentiles: tuple[float, float] = (0.1, 99.9)


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and how one channel enters it.

    Args:
        depth: of the ResNet.
        stem: duplicate the channel, port conv1 to one channel, or a learnable 1→3 adapter.
        stem_init: which function of the RGB network it starts as. auto: the network on three equal
            channels. imagenet: with ImageNet's normalisation of each colour. port also takes sum,
            mean (the same) and luma (a tint); adapter also takes third (the same as ones).
            bare_mean, bare_luma and bare_third do not keep the scale: for comparison only.
        weights: imagenet, none (random), or a file with a state dict.
        batch_norm: eval keeps the running statistics fixed while training; auto does so for
            trained weights and at most 16 images a batch.
    """

    depth: Literal[18, 34, 50, 101, 152] = 18
    stem: StemName = "duplicate"
    stem_init: StemInit = "auto"
    weights: str = "imagenet"
    batch_norm: Literal["auto", "train", "eval"] = "auto"


AugmentationPreset = Literal[
    "auto", "none", "general", "radiograph", "mammogram", "ultrasound", "ct", "mr"
]


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of the training images; zero switches one off, none leaves it to the preset.

    Args:
        preset: amounts that suit a modality (`medres.transforms.augmentation`); auto takes the one
            of the images' own modality, and says which and why.
        rotate_degrees: largest rotation either way.
        translate: largest shift, as a fraction of the side.
        scale: largest relative change of size either way.
        flip_probability: of a left-right flip; presets have none where the side matters.
        gamma: largest change of log-gamma either way, on the clipped range.
        contrast: largest relative change of contrast either way.
        brightness: largest shift, in standard deviations of the training pixels.
        noise: largest standard deviation of added noise, in the same unit.
        blur: largest standard deviation of a Gaussian blur, in pixels.
        erase: largest side of one erased rectangle, as a fraction of the image's.
        fixed_views: draw so many changes of each image once and show them in turn, epoch by epoch,
            so that what a frozen trunk makes of them can be kept; 0 draws anew in every epoch.
    """

    preset: AugmentationPreset = "auto"
    rotate_degrees: float | None = None
    translate: float | None = None
    scale: float | None = None
    flip_probability: float | None = None
    gamma: float | None = None
    contrast: float | None = None
    brightness: float | None = None
    noise: float | None = None
    blur: float | None = None
    erase: float | None = None
    fixed_views: int = 0


@dataclass(frozen=True)
class StageConfig:
    """Where one stage of the network differs from the preset.

    Args:
        opens_at_epoch: from when on it trains, from 0; fractions are accepted; never keeps it
            frozen; null is as the preset says.
        learning_rate: its own, above 0; null is the preset's share of training.learning_rate.
    """

    opens_at_epoch: float | Literal["never"] | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class StagesConfig:
    """Where single stages differ from the preset, in the order of the data.

    Args:
        adapter: of stem `adapter`.
        conv1: with its batch-norm, bn1.
        layer1: the first block of the trunk.
        layer2: the second.
        layer3: the third.
        layer4: the fourth.
        head: the linear layer that gives the logits.
    """

    adapter: StageConfig = field(default_factory=StageConfig)
    conv1: StageConfig = field(default_factory=StageConfig)
    layer1: StageConfig = field(default_factory=StageConfig)
    layer2: StageConfig = field(default_factory=StageConfig)
    layer3: StageConfig = field(default_factory=StageConfig)
    layer4: StageConfig = field(default_factory=StageConfig)
    head: StageConfig = field(default_factory=StageConfig)


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is fine-tuned.

    Args:
        preset: of unfreezing, see docs/stems_and_schedules.md; with random weights every preset
            resolves to full, and says so.
        epochs: at most so many.
        batch_size: per device; the last partial batch of an epoch is dropped.
        accumulate: so many batches make one optimizer step, for a batch that memory does not hold.
            Batch-norm still sees them one by one.
        learning_rate: of head and adapter; the other stages' rates are the preset's share of it.
        weight_decay: on weights of convolutions and of the head, never on norms and biases.
        optimizer: adamw; adam, whose decay goes into the gradient; or sgd with Nesterov momentum
            0.9.
        course: how all rates change together: warm-up and then cosine, linear or constant; or
            one_cycle, which has its own warm-up.
        cycle_momentum: with one_cycle, let the momentum run against the rate.
        warmup_epochs: of linear warm-up of all rates.
        frozen_epochs: how long freeze_then_finetune keeps the trunk frozen, and how long each
            step of gradual lasts.
        stage_warmup_epochs: of linear warm-up of each stage that opens later.
        adapter_frozen_steps: keep the adapter as it is for so many steps; -1 for good.
        stages: where single stages differ from the preset.
        loss: cross_entropy, or focal, which turns from the easy images to the hard ones.
        focal_gamma: how much so, 1 or more.
        class_weights: weigh positives by the training set's negatives per positive. It raises the
            probability of a rare finding, which no temperature undoes; leave it off where the
            probability itself is used.
        label_smoothing: moves targets this far toward the middle.
        ema_decay: validate and keep an exponential moving average of the weights; 0 for none.
        select_by: which epoch's weights are kept: of the best validation auroc or loss, or the
            last, where validation is too small or too easy to tell epochs apart.
        patience: stop after so many epochs without a better one; 0 never stops early.
        precision: of the forward pass; auto takes bf16 where the device computes it natively, fp16
            on GPUs that have tensor cores for it alone, else fp32.
        compile: let `torch.compile` make the training code, anew at each phase's start: a minute or
            so each time, which only long phases on a GPU give back.
        checkpoint_minutes: save the whole state so often within an epoch, beside each epoch's end;
            0 at the end of epochs alone. A killed run loses at most so much.
        checkpoint_steps: the same at every so many optimizer steps; 0 for none.
        workers: processes that read images; 0 reads in the main one.
        cache_gib: keep the read and resized images in memory if they take at most so many GiB;
            else each epoch reads them anew, for which workers help. 0 never keeps them. Features
            get what the images leave.
        feature_cache: auto computes what the frozen stages in front make of each image once, where
            images repeat (see `augmentation`), and trains the rest from that, with equal results:
            in memory if `cache_gib` allows, else in a file in the run folder. off never does.
        augmentation: random changes of the training images.
    """

    preset: Preset = "freeze_then_finetune"
    epochs: int = 20
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    course: Literal["cosine", "linear", "one_cycle", "constant"] = "cosine"
    cycle_momentum: bool = False
    warmup_epochs: float = 1.0
    frozen_epochs: float = 3.0
    stage_warmup_epochs: float = 1.0
    adapter_frozen_steps: int = 0
    stages: StagesConfig = field(default_factory=StagesConfig)
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = 2.0
    class_weights: bool = True
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    select_by: Literal["auroc", "loss", "last"] = "auroc"
    patience: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    checkpoint_minutes: float = 10.0
    checkpoint_steps: int = 0
    workers: int = 0
    cache_gib: float = 4.0
    feature_cache: Literal["auto", "off"] = "auto"
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


@dataclass(frozen=True)
class EvaluationConfig:
    """How the trained model is judged.

    Args:
        calibration: temperature divides the logits by what fits validation best, so that a
            probability means what it says; none leaves them. AUROC stays the same image by image.
        unit: what one case is. Images combine to a study by their mean, studies to a patient by
            their maximum.
        threshold_rule: how the threshold is chosen on validation; youden needs no other key.
        sensitivity: to be reached by the rule sensitivity_at_least.
        specificity: to be reached by the rule specificity_at_least.
        target_by: whether the lower confidence bound of that rate is to reach it, or the observed
            rate, which is hardly more than an even chance of reaching it elsewhere.
        miss_cost: how many false alarms a missed finding is worth, for the rule cost.
        prevalence: at which costs arise, for the rule cost; validation's own if not given.
        band: sensitivity and specificity of an indeterminate band, as [0.95, 0.9]. Below it a case
            is called negative, from its upper end on positive, in between a person decides: the
            narrowest one with that sensitivity at its lower and that specificity at its upper end
            is chosen on validation, by `target_by`, and locked beside the threshold. null has none,
            since somebody must then be there for what is left undecided.
        intended_use: a sentence for the report: whose images, for which decision, beside whom.
        images: whose pixels may stand in the report, as examples of mistakes: none's; the
            phantom's, which show nobody; all, patients' too. `--images` for short.
    """

    calibration: Literal["temperature", "none"] = "temperature"
    unit: Literal["patient", "study", "image"] = "patient"
    threshold_rule: Literal["youden", "sensitivity_at_least", "specificity_at_least", "cost"] = (
        "youden"
    )
    sensitivity: float = 0.9
    specificity: float = 0.9
    target_by: Literal["lower_bound", "observed"] = "lower_bound"
    miss_cost: float = 10.0
    prevalence: float | None = None
    band: tuple[float, float] | None = None
    intended_use: str = ""
    images: ShownImages = "synthetic"


@dataclass(frozen=True)
class GuardConfig:
    """What tells images of another kind from the model's own; see docs/guard.md.

    Args:
        fit: fit one at the end of training, in one pass over train and validation images.
        false_alarms: share of the model's own images that may be flagged, all checks together.
    """

    fit: bool = True
    false_alarms: float = 0.02


@dataclass(frozen=True)
class ImageRuleConfig:
    """Which images of an archive the model is meant for, by their headers; stored with it.

    Whoever trains may know more than the training images tell: that all views are meant, or CR
    too, though all of them are DX. A part that is not given is learned from the training images;
    `any` asks for nothing. `medres score` may replace each part again.

    Args:
        modality: such as DX, CR.
        body_part: such as CHEST.
        view: such as PA, AP.
        leave_out: image types of images that are not meant, such as LOCALIZER.
    """

    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunConfig:
    """One training run.

    Args:
        data: which images, whose, and in which split.
        pixels: from a file to the network's input.
        model: which network, and how one channel enters it.
        training: how the network is fine-tuned.
        evaluation: how the trained model is judged.
        guard: against images of another kind.
        image_rule: which images of an archive it is meant for.
        out: the run folder; started again on the same folder, a run resumes.
        seed: of weights, order and augmentation.
        device: cpu, cuda, cuda:1, mps, or auto for the first that is there.
    """

    data: DataConfig = field(default_factory=DataConfig)
    pixels: PixelsConfig = field(default_factory=PixelsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    image_rule: ImageRuleConfig = field(default_factory=ImageRuleConfig)
    out: Path = Path("runs/train")
    seed: int = 0
    device: str = "auto"


def parse_config(argv: Sequence[str], *, prog: str, description: str = "") -> RunConfig:
    """Read a run's configuration from a command line.

    Args:
        argv: arguments; `--config FILE` may stand anywhere, flags beat it.
        prog: the program's name, for its help.
        description: one paragraph for its help.

    Raises:
        ConfigError: an unknown key or flag, naming the nearest valid one; a value of the wrong
            type or outside its range; a file that is no YAML mapping.
    """
    import argparse

    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [--config FILE] [--KEY VALUE ...]",
        description=description,
        exit_on_error=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", action="config", help="YAML file; flags beat it")
    parser.add_class_arguments(RunConfig, None)
    arguments = _config_first(argv)
    for name, value in itertools.pairwise(arguments):
        if name == "--config":
            check_config_file(Path(value))
    _check_flags(arguments)
    try:
        config: RunConfig = parser.instantiate(parser.parse_args(arguments)).as_dict()
    except argparse.ArgumentError as error:
        raise _wrong_value(str(error)) from error
    return check_config(_from_namespace(config))


def _wrong_value(message: str) -> ConfigError:
    """Say jsonargparse's message in our own words: key, found, accepted."""
    found = re.search(
        r'Parser key "([\w.]+)":.*(?:Got|Given) value: (.*)', message, flags=re.DOTALL
    )
    if found is None:
        return ConfigError(message)
    key, value = found.groups()
    record: Any = RunConfig
    for name in key.split(".")[:-1]:
        record = get_type_hints(record)[name]
    accepted = get_type_hints(record)[key.rsplit(".", 1)[-1]]
    if get_origin(accepted) is Literal:
        words = "one of " + ", ".join(str(choice) for choice in get_args(accepted))
    elif accepted == float | None:
        words = "a number, or null for the default"
    elif accepted == tuple[float, float] | None:
        words = "two numbers, as [0.95, 0.9], or null"
    else:
        words = getattr(accepted, "__name__", str(accepted))
        words = str(accepted) if words in ("tuple", "Union") else words
    return ConfigError(f"{key}: {value.strip()} is not accepted; give {words}")


def _from_namespace(values: Any) -> RunConfig:
    known = {f.name for f in dataclasses.fields(RunConfig)}
    return RunConfig(**{key: value for key, value in values.items() if key in known})


def _config_first(argv: Sequence[str]) -> list[str]:
    """Move `--config FILE` to the front: jsonargparse lets whatever comes later win."""
    first: list[str] = []
    rest: list[str] = []
    words = iter([re.sub(r"^--images(?==|$)", "--evaluation.images", word) for word in argv])
    for word in words:
        if word == "--config":
            value = next(words, None)
            if value is None:
                raise ConfigError("--config: expects a YAML file")
            first += [word, value]
        elif word.startswith("--config="):
            first += ["--config", word.removeprefix("--config=")]
        else:
            rest.append(word)
    return first + _words_as_lists(rest)


def _words_as_lists(arguments: list[str]) -> list[str]:
    """Let `--data.findings a,b` mean `--data.findings [a, b]`."""
    parts = [f"--image_rule.{part.name}" for part in dataclasses.fields(ImageRuleConfig)]
    lists = {"--data.findings", "--data.where", *parts}
    return [
        f"[{word}]" if previous in lists and not word.startswith("[") else word
        for previous, word in zip(["", *arguments], arguments, strict=False)
    ]


def _valid_keys(record: type, prefix: str = "") -> list[str]:
    """Every dotted key of a configuration record, groups included."""
    keys = []
    for f in dataclasses.fields(record):
        keys.append(prefix + f.name)
        default = f.default_factory() if callable(f.default_factory) else f.default
        if dataclasses.is_dataclass(default):
            keys += _valid_keys(type(default), f"{prefix}{f.name}.")
    return keys


def _unknown_key(where: str, key: str) -> ConfigError:
    valid = _valid_keys(RunConfig)
    leaf = key.rsplit(".", 1)[-1]
    by_leaf = [name for name in valid if name.rsplit(".", 1)[-1] == leaf]
    leaves = {name.rsplit(".", 1)[-1]: name for name in valid}
    near = by_leaf or difflib.get_close_matches(key, valid, n=1, cutoff=0.7)
    near = near or [leaves[n] for n in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)]
    hint = f"; did you mean {near[0]!r}?" if near else f"; valid keys are {', '.join(valid)}"
    return ConfigError(f"{where}: unknown key {key!r}{hint}")


def _check_flags(arguments: Sequence[str]) -> None:
    valid = {*_valid_keys(RunConfig), "config", "help", "print_config"}
    for word in arguments:
        if word.startswith("--"):
            key = word[2:].split("=", 1)[0].removesuffix("+")
            if key not in valid:
                raise _unknown_key("command line", key)


def check_config_file(path: Path) -> None:
    """Refuse a configuration file with keys that do not exist, naming the nearest.

    Raises:
        ConfigError: no such file, no YAML mapping, or an unknown key.
    """
    import yaml

    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expects a YAML mapping of keys, such as 'seed: 0'")
    _check_keys(str(path), values, _valid_keys(RunConfig))


def _check_keys(where: str, values: dict[Any, Any], valid: list[str], prefix: str = "") -> None:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if key not in valid:
            raise _unknown_key(where, key)
        if isinstance(value, dict):
            _check_keys(where, value, valid, f"{key}.")


def check_config(config: RunConfig) -> RunConfig:
    """Refuse values that no run can have.

    Returns:
        The same configuration.

    Raises:
        ConfigError: naming the key, its value and what is accepted.
    """
    training, pixels, fractions = config.training, config.pixels, config.data.fractions
    low, high = pixels.clip_percentiles
    stem_inits = ("auto", *STEM_INITS[config.model.stem])
    rules: list[tuple[str, object, bool, str]] = [
        (
            "model.stem_init",
            config.model.stem_init,
            config.model.stem_init in stem_inits,
            f"one of {', '.join(stem_inits)} with model.stem {config.model.stem}",
        ),
        ("pixels.size", pixels.size, pixels.size >= 32, "at least 32 pixels"),
        (
            "pixels.clip_percentiles",
            pixels.clip_percentiles,
            0 <= low < high <= 100,
            "two percentiles, 0 <= low < high <= 100",
        ),
        (
            "data.fractions",
            fractions,
            min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-6,
            "three positive fractions that add up to 1",
        ),
        ("training.epochs", training.epochs, training.epochs >= 1, "at least 1"),
        ("training.batch_size", training.batch_size, training.batch_size >= 2, "at least 2"),
        ("training.accumulate", training.accumulate, training.accumulate >= 1, "at least 1"),
        (
            "training.checkpoint_minutes",
            training.checkpoint_minutes,
            training.checkpoint_minutes >= 0,
            "0 or more",
        ),
        (
            "training.checkpoint_steps",
            training.checkpoint_steps,
            training.checkpoint_steps >= 0,
            "0 or more",
        ),
        ("training.learning_rate", training.learning_rate, training.learning_rate > 0, "above 0"),
        ("training.weight_decay", training.weight_decay, training.weight_decay >= 0, "0 or more"),
        (
            "training.label_smoothing",
            training.label_smoothing,
            0 <= training.label_smoothing < 1,
            "from 0 to below 1",
        ),
        ("training.focal_gamma", training.focal_gamma, training.focal_gamma >= 1, "1 or more"),
        (
            "data.uncertain_value",
            repr(config.data.uncertain_value),
            config.data.uncertain_value not in ("", "0", "1"),
            "a cell that is no label, such as -1",
        ),
        ("training.ema_decay", training.ema_decay, 0 <= training.ema_decay < 1, "0 to below 1"),
        ("training.patience", training.patience, training.patience >= 0, "0 or more"),
        ("training.workers", training.workers, training.workers >= 0, "0 or more"),
        ("training.cache_gib", training.cache_gib, training.cache_gib >= 0, "0 or more"),
        (
            "training.warmup_epochs",
            training.warmup_epochs,
            0 <= training.warmup_epochs < training.epochs,
            "from 0 to below training.epochs",
        ),
        (
            "evaluation.sensitivity",
            config.evaluation.sensitivity,
            0 < config.evaluation.sensitivity < 1,
            "between 0 and 1",
        ),
        (
            "evaluation.specificity",
            config.evaluation.specificity,
            0 < config.evaluation.specificity < 1,
            "between 0 and 1",
        ),
        (
            "evaluation.band",
            config.evaluation.band,
            all(0 < rate < 1 for rate in config.evaluation.band or ()),
            "a sensitivity and a specificity between 0 and 1, as [0.95, 0.9], or null",
        ),
        (
            "guard.false_alarms",
            config.guard.false_alarms,
            0 < config.guard.false_alarms < 1,
            "a share between 0 and 1",
        ),
        (
            "evaluation.miss_cost",
            config.evaluation.miss_cost,
            0 < config.evaluation.miss_cost < float("inf"),
            "a number above 0",
        ),
        (
            "evaluation.prevalence",
            config.evaluation.prevalence,
            0 < (config.evaluation.prevalence or 0.5) < 1,
            "between 0 and 1",
        ),
    ]
    for key, value, holds, accepted in rules:
        if not holds:
            raise ConfigError(f"{key}: {value} is not accepted; give {accepted}")
    for f in dataclasses.fields(config.image_rule):
        values = getattr(config.image_rule, f.name)
        if "" in values or ("any" in values and len(values) > 1):
            raise ConfigError(
                f"image_rule.{f.name}: {values} is not accepted; give values of the header, or "
                "any alone"
            )
    for f in dataclasses.fields(training.augmentation):
        amount = getattr(training.augmentation, f.name)
        if isinstance(amount, float | int) and amount < 0:
            raise ConfigError(
                f"training.augmentation.{f.name}: {amount} is not accepted; give 0 or more"
            )
    return config


def config_as_json(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain JSON values, in the order of its fields."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=_plain))
    return values


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"not a configuration value: {type(value).__name__}")


def format_config(config: RunConfig) -> str:
    """The resolved configuration as YAML, ready for `--config`."""
    import yaml

    text: str = yaml.safe_dump(config_as_json(config), sort_keys=False)
    return text
