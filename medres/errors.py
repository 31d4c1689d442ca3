"""Every error medres raises on purpose.

::

    MedresError
    ├── ConfigError(ValueError)              a misspelt key, an impossible value, a contradiction
    ├── UnreadableImageError(ValueError)     a file that is no image to score; carries a reason code
    ├── ManifestError(ValueError)            a table that does not describe the data
    │   └── LeakageError                     the same patient or pixels in two splits
    ├── NormalizationError(ValueError)       intensities from which no statistics can be fitted
    ├── WeightsError(ValueError)             weights that cannot be had or do not fit the network
    ├── GuardError(ValueError)               images from which no guard can be fitted
    ├── BundleError(ValueError)              a model directory that is damaged or not ours
    │   └── PreprocessingMismatchError       the model expects another preprocessing
    ├── ExportError(ValueError)              an exported file that disagrees with its model
    ├── ResultsError(ValueError)             a results folder in use, or of another model
    ├── MetricInputError(ValueError)         labels or scores that no metric can take
    ├── UndefinedMetricError(ValueError)     a statistic that these labels do not define
    └── MissingDependencyError(ImportError)  an optional package that this call needs

A message says where, what was found, what is accepted and what to do. It never holds a patient's
name, identifier, birth date or accession number.
"""

from __future__ import annotations

from enum import StrEnum


class MedresError(Exception):
    """Root of every error that medres raises on purpose."""


class ConfigError(MedresError, ValueError):
    """A configuration with an unknown key, an impossible value or a contradiction."""


class RejectReason(StrEnum):
    """Why a file cannot be read as an image to score. One word each, stable across versions."""

    NOT_FOUND = "not_found"
    EMPTY_FILE = "empty_file"
    UNKNOWN_FORMAT = "unknown_format"
    NOT_DICOM = "not_dicom"
    TRUNCATED = "truncated"
    NO_PIXEL_DATA = "no_pixel_data"
    NOT_AN_IMAGE = "not_an_image"
    NO_DECODER = "no_decoder"
    DECODE_FAILED = "decode_failed"
    DECODER_CRASHED = "decoder_crashed"
    TIMED_OUT = "timed_out"
    UNSUPPORTED_PHOTOMETRIC = "unsupported_photometric"
    INVALID_HEADER = "invalid_header"
    FRAME_OUT_OF_RANGE = "frame_out_of_range"
    TOO_LARGE = "too_large"
    CONSTANT_IMAGE = "constant_image"
    NESTED_ARCHIVE = "nested_archive"
    ENCRYPTED = "encrypted"
    DAMAGED_ARCHIVE = "damaged_archive"


class UnreadableImageError(MedresError, ValueError):
    """A file that cannot be read as an image to score.

    Attributes:
        reason: one code of `RejectReason`.
        path: where, as given by the caller.
    """

    def __init__(self, reason: RejectReason, path: object, message: str) -> None:
        super().__init__(f"{path}: {message} [{reason.value}]")
        self.reason = reason
        self.path = str(path)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the three arguments, so that the error survives worker processes."""
        return (type(self), (self.reason, self.path, self.message))


class ManifestError(MedresError, ValueError):
    """A manifest or label table that does not describe the data."""


class LeakageError(ManifestError):
    """The same patient, SOP instance or pixels stand in two splits."""


class NormalizationError(MedresError, ValueError):
    """Training intensities from which no normalisation can be fitted."""


class WeightsError(MedresError, ValueError):
    """Weights that cannot be had, fail their digest, or do not fit the network."""


class GuardError(MedresError, ValueError):
    """Images from which no guard against wrong input can be fitted, or one that is not ready."""


class BundleError(MedresError, ValueError):
    """A model directory that is incomplete, damaged or not written by medres."""


class PreprocessingMismatchError(BundleError):
    """The preprocessing at hand is not the one that the model was trained with."""


class ExportError(MedresError, ValueError):
    """An exported file whose probabilities are not those of its model."""


class ResultsError(MedresError, ValueError):
    """A results folder that is in use, holds another model's scores, or cannot be written to."""


class MetricInputError(MedresError, ValueError):
    """Labels or scores that no metric can take: wrong shapes, labels not 0 or 1, NaN scores."""


class UndefinedMetricError(MedresError, ValueError):
    """A statistic that the given labels do not define, such as an AUROC of one class."""


class MissingDependencyError(MedresError, ImportError):
    """An optional package that the call needs is not installed."""
