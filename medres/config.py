"""The configuration of a training run: every key, its default and the reason for it.

`config_text` reads and writes it as flags and YAML, `config_check` refuses values that no run can
have. The defaults suit a few hundred to a few ten thousand radiographs and a network with ImageNet
weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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
