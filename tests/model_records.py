"""The record of a small model, for tests of model directories."""

from medres.bundle.record import ModelRecord, NetworkRecord
from medres.data.labels import LabelSchema
from medres.data.normalization import IntensityStatistics
from medres.metrics.operating_point import Threshold
from medres.metrics.recalibration import Temperature
from medres.training.calibrate import Calibration
from medres.transforms.preprocessing import Preprocessing

STATISTICS = IntensityStatistics(0.0, 1.0, 0.4, 0.2, (0.1, 99.9), 10, 5, 1000)
TEMPERED = Calibration(Temperature((2.0,), "sigmoid", 30), "", {})


def record_of(weights_sha256: str, depth: int = 18) -> ModelRecord:
    return ModelRecord(
        network=NetworkRecord(depth, "port", 1),
        labels=LabelSchema("binary", ("opacity",), ("label",)),
        preprocessing=Preprocessing("display", 64, "pad", STATISTICS),
        unit="patient",
        thresholds={"opacity": Threshold(0.25, "Youden index on validation", 30)},
        weights_sha256=weights_sha256,
        training={"initial_weights": "random weights", "splits": {}, "notes": ["A note."]},
        provenance={"medres": "0.1.0", "packages": {"monai": "1.6.1"}},
        calibration=TEMPERED,
    )
