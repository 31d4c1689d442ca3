"""Which preset and which stem suit the data, why, and when the network is the wrong choice.

The rules are those of the recipe that this project grew from: with little data or a big shift from
photographs, freeze first or open stages one by one; with a moderate amount, discriminative rates;
with plenty, train everything. They say where to start. No preset always wins: compare on
validation, with `medres sweep --over training.preset=A,B`.

What counts as little and as plenty is a rule of thumb of this project, not a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from medres.config import Preset, RunConfig, StemName
from medres.data.manifest import Manifest
from medres.errors import UnreadableImageError
from medres.imaging.grayscale import ImageRecord
from medres.imaging.read import read_record

Size = Literal["small", "moderate", "plenty"]
Shift = Literal["some", "big"]

TINY, SMALL, PLENTY = 500, 2_000, 50_000
"""Training images: below, below, and from."""
FEW, MANY = 200, 2_000
"""Images of the rarer class of the rarest finding: below is small, from MANY on plenty."""
FAR_MODALITIES = frozenset(("CT", "MR", "PT", "NM", "US"))
FINE_DETAIL = 4
"""From so many pixels of the file in one of the input, small findings may vanish."""
COMPLEX_FINDINGS = 10
DEEP = 50
SAMPLED_HEADERS = 8


@dataclass(frozen=True)
class DataFacts:
    """What advice goes by.

    Attributes:
        images: for training.
        rarer: images of the rarer class of the rarest finding among them.
        findings: F.
        modality: of the files, DICOM's code; NIfTI for such volumes; empty where they say none.
        longer_side: of the files' images, median, in pixels; 0 where no header could be read.
    """

    images: int
    rarer: int
    findings: int
    modality: str = ""
    longer_side: int = 0


@dataclass(frozen=True)
class Advice:
    """Where to start.

    Attributes:
        preset: of unfreezing.
        stem: of one channel into three.
        size: of the data.
        shift: from photographs, which ImageNet weights know.
        reasons: one line each, with its source.
        cautions: what speaks against the configured network, likewise.
    """

    preset: Preset
    stem: StemName
    size: Size
    shift: Shift
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]

    def format(self) -> str:
        """For a terminal."""
        lines = [f"advice: preset {self.preset}, stem {self.stem}"]
        lines += [f"  {reason}" for reason in self.reasons]
        lines += [f"caution: {caution}" for caution in self.cautions]
        return "\n".join(lines)


def gather_facts(manifest: Manifest) -> DataFacts:
    """Count the training images, and read a few headers; no pixels."""
    rows = manifest.split("train")
    columns = list(zip(*(row.labels for row in rows), strict=True))
    rarer = [min(column.count(1.0), column.count(0.0)) for column in columns]
    records = []
    for row in rows[:: max(1, len(rows) // SAMPLED_HEADERS)][:SAMPLED_HEADERS]:
        try:
            records.append(read_record(manifest.address(row), row.frame))
        except UnreadableImageError:  # training says so
            continue
    return DataFacts(
        images=len(rows),
        rarer=min(rarer, default=0),
        findings=len(manifest.schema.findings),
        modality=_modality(records),
        longer_side=round(median([max(r.rows, r.columns) for r in records] or [0])),
    )


def _modality(records: Sequence[ImageRecord]) -> str:
    found = ["NIfTI" if r.format == "nifti" else r.modality for r in records]
    return max(found, key=found.count) if found else ""


def advise(facts: DataFacts, config: RunConfig) -> Advice:
    """Propose a preset and a stem for the data, and say what speaks against the network."""
    size, shift = _size(facts), _shift(facts)
    reasons = [f"{_describe_size(facts, size)}; {_describe_shift(facts, shift)}"]
    preset: Preset
    if config.model.weights == "none":
        preset = "full"
        reasons.append(
            "random weights: nothing is worth freezing; pretrained ones are worth a file "
            "(PneumoniaMNIST at 224: AUC .956 from scratch in MedMNIST v2, .980 with ImageNet "
            "weights in MedMNIST+)"
        )
    elif size == "plenty":
        preset = "full"
        reasons.append("plenty of data: train all at one rate")
    elif size == "moderate" and shift == "some":
        preset = "discriminative"
        reasons.append("a moderate amount, some shift: all stages from the start, each at its rate")
    else:
        preset, reason = _careful(facts, shift)
        reasons.append(reason)
    if shift == "big" and preset != "full":
        reasons.append(
            "a shift at the level of the input may want the first block alone: try surgical "
            "(Lee et al., ICLR 2023)"
        )
    stem: StemName = "adapter" if shift == "big" else "duplicate"
    reasons.append(
        "adapter: intensities are unusual for ImageNet weights, and may be mapped by learning"
        if shift == "big"
        else "duplicate: exact with any weights; port computes the same with one input channel"
    )
    return Advice(preset, stem, size, shift, tuple(reasons), tuple(_cautions(facts, config, size)))


def _careful(facts: DataFacts, shift: Shift) -> tuple[Preset, str]:
    if facts.images < TINY:
        return "gradual", "very little data: head first, then one stage at a time"
    why = "little data" if shift == "some" else "a big shift"
    return "freeze_then_finetune", (
        f"{why}: head first, then all; a probe before fine-tuning gained 1 % in and 10 % out of "
        "distribution (Kumar et al., ICLR 2022)"
    )


def _size(facts: DataFacts) -> Size:
    if facts.images < SMALL or facts.rarer < FEW:
        return "small"
    return "plenty" if facts.images >= PLENTY and facts.rarer >= MANY else "moderate"


def _shift(facts: DataFacts) -> Shift:
    return "big" if facts.modality in (*FAR_MODALITIES, "NIfTI") else "some"


def _describe_size(facts: DataFacts, size: Size) -> str:
    words = {"small": "little", "moderate": "moderate", "plenty": "plenty"}[size]
    return (
        f"{facts.images:,} training images, {facts.rarer:,} of the rarest class ({words}: "
        f"little is below {SMALL:,} or {FEW}, plenty from {PLENTY:,} and {MANY:,})"
    )


def _describe_shift(facts: DataFacts, shift: Shift) -> str:
    if not facts.modality:
        return "some shift from photographs assumed: the files name no modality"
    return f"{shift} shift from photographs ({facts.modality})"


def _cautions(facts: DataFacts, config: RunConfig, size: Size) -> list[str]:
    depth, side = config.model.depth, config.pixels.size
    cautions = []
    if facts.longer_side >= FINE_DETAIL * side:
        cautions.append(
            f"a pixel of the input ({side}) covers {facts.longer_side / side:.0f} of the file's "
            f"({facts.longer_side}): if findings are small or fine, raise pixels.size, and a "
            "deeper network often does better on fine detail"
        )
    if depth < DEEP and size == "plenty" and facts.findings >= COMPLEX_FINDINGS:
        cautions.append(
            f"ResNet-{depth} is light for {facts.findings} findings and plenty of data: compare "
            "model.depth 50 (TorchXRayVision: ResNet-50, mean AUC about .81 on ChestX-ray14)"
        )
    if depth >= DEEP and size == "small":
        cautions.append(
            f"ResNet-{depth} is deep for so little data: compare model.depth 18 (BreastMNIST, 546 "
            "training images: AUC .857 and .866 of ResNet-50 against .901 and .891 of ResNet-18)"
        )
    return cautions
