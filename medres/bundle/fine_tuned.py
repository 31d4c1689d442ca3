"""What `train.json` leaves: the fine-tuned network as a model directory of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medres.bundle.directory import Model, build_network, load_model, write_bundle, write_weights
from medres.bundle.record import ModelRecord
from medres.bundle.seen import SeenCases
from medres.errors import BundleError, UnreadableImageError, WeightsError
from medres.imaging.reader_pool import inspect_ahead
from medres.imaging.reader_protocol import ReadRequest
from medres.models.state_file import read_state_file
from medres.provenance import collect_provenance
from medres.training.calibrate import Calibration

BEST = "best.pt"
MODEL = "model"
RECALIBRATE = (
    "The network was fine-tuned with MONAI after it was trained. Its temperature and thresholds "
    "are gone with the old weights: `medres evaluate` and then `medres recalibrate` fit new ones."
)


def write_fine_tuned(
    original: str | Path,
    output: str | Path,
    trained: Sequence[Mapping[str, Any]],
    validated: Sequence[Mapping[str, Any]],
) -> Path:
    """Write the best weights of a fine-tuning as a new model; returns its folder.

    Preprocessing, findings and network are the original's; temperature, thresholds, bands and
    figures are left out, since they were the old weights'. Patients and pictures that it was
    fine-tuned or selected on count as seen, beside those of the original.

    Args:
        original: the model that was fine-tuned.
        output: of the training: holds `best.pt`; `model` is written beside it.
        trained: items that were trained on (`medres.data.datalist.read_datalist`).
        validated: items that the best epoch was chosen on.

    Raises:
        BundleError: no best weights, or weights of another network.
    """
    model, output = load_model(Path(original)), Path(output)
    try:
        state = read_state_file(output / BEST)
        build_network(model.record).load_state_dict(state)
    except (WeightsError, RuntimeError, TypeError, OSError) as error:
        raise BundleError(
            f"{output / BEST}: no weights of the network that was fine-tuned; run train.json to "
            "its end"
        ) from error
    folder = output / MODEL
    record = _record(model.record, write_weights(folder, state), len(trained))
    write_bundle(folder, record, _seen(model, [*trained, *validated]))
    return folder


def _record(original: ModelRecord, weights_sha256: str, images: int) -> ModelRecord:
    training = {
        **original.training,
        "initial_weights": f"fine-tuned from {original.weights_sha256[:16]} on {images} images",
        "notes": [*original.training.get("notes", ()), RECALIBRATE],
    }
    return replace(
        original,
        weights_sha256=weights_sha256,
        thresholds={},
        bands={},
        calibration=Calibration(None, "the network was fine-tuned since", {}),
        replaced=(),
        figures={},
        training=training,
        provenance=collect_provenance(device=original.provenance.get("device") or "unknown"),
    )


def _seen(model: Model, items: Sequence[Mapping[str, Any]]) -> SeenCases:
    intensity = model.record.preprocessing.intensity
    asked = (ReadRequest(item["image"], int(item.get("frame", 0)), intensity) for item in items)
    facts = [f for f in inspect_ahead(asked) if not isinstance(f, UnreadableImageError)]
    patients = {str(item["patient_id"]) for item in items if "patient_id" in item}
    new = SeenCases.of(patients, (f.digest for f in facts))
    return SeenCases(model.seen.patients | new.patients, model.seen.pixels | new.pixels)
