"""Read single DICOM attributes: nested where the standard nests them, and never by their text.

pydicom's own exceptions and warnings quote values, and values name patients. Whatever fails here
is said by tag and kind of failure only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from pydicom import config
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.uid import UID, UID_dictionary

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.refusal import silent_log

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


Result = TypeVar("Result")
UNREGISTERED = "unregistered"


@contextmanager
def quiet_pydicom() -> Generator[None, None, None]:
    """Silence pydicom's warnings and log, which quote values, and its costly value checks."""
    with warnings.catch_warnings(), config.disable_value_validation(), silent_log("pydicom"):
        warnings.simplefilter("ignore")
        yield


def name_tag(keyword: str) -> str:
    """`Rescale Slope (0028,1053)` for `RescaleSlope`."""
    tag = tag_for_keyword(keyword) or 0
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def name_uid(uid: str) -> str:
    """The registered name of a UID; "unregistered" for any other, whose text is not shown."""
    return str(UID(uid).name) if uid in UID_dictionary else UNREGISTERED


def attempt(call: Callable[[], Result]) -> tuple[Result | None, type]:
    """The result and NoneType, or None and the type of what was raised.

    The exception itself is dropped, so that none of the file's values travels on in a traceback.
    """
    try:
        return call(), NoneType
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a decoder written in Rust panics with no Exception
        return None, type(error)


class Header:
    """One data set, whose attributes are read by keyword or refused by tag.

    Args:
        dataset: as pydicom read it.
        path: for errors.
        frame: index of the frame whose functional groups apply.
    """

    def __init__(self, dataset: Dataset, path: object, frame: int = 0) -> None:
        self.dataset = dataset
        self.path = path
        self.frame = frame

    def refuse(self, reason: RejectReason, message: str) -> UnreadableImageError:
        """The error to raise for this file."""
        return UnreadableImageError(reason, self.path, message)

    def value(self, keyword: str, where: Dataset | None = None) -> Any:
        """An attribute's value, None where it is absent or empty.

        Raises:
            UnreadableImageError: the value cannot be parsed.
        """
        dataset = self.dataset if where is None else where
        try:
            value = dataset.get(keyword)
        except Exception:
            value = self
        if value is self:  # outside the except block, so that no context carries a value along
            raise self.refuse(
                RejectReason.INVALID_HEADER,
                f"{name_tag(keyword)} cannot be parsed; the file needs repair",
            )
        return None if isinstance(value, str) and not value.strip() else value

    def text(self, keyword: str) -> str:
        """An attribute as text, empty where absent."""
        value = self.value(keyword)
        return "" if value is None else str(value).strip()

    def numbers(self, keyword: str, where: Dataset | None = None) -> list[float]:
        """An attribute's finite numbers, none where absent.

        Raises:
            UnreadableImageError: a value that is no finite number.
        """
        value = self.value(keyword, where)
        if value is None:
            return []
        try:
            single = isinstance(value, str) or not hasattr(value, "__iter__")
            numbers = [float(item) for item in ([value] if single else value)]
        except (TypeError, ValueError):
            numbers = [math.nan]
        if not all(map(math.isfinite, numbers)):
            raise self.refuse(
                RejectReason.INVALID_HEADER, f"{name_tag(keyword)} is no finite number"
            )
        return numbers

    def integer(self, keyword: str, default: int | None = None) -> int:
        """An attribute's whole number.

        Raises:
            UnreadableImageError: it is absent without a default, or no whole number.
        """
        numbers = self.numbers(keyword)
        if not numbers and default is not None:
            return default
        if len(numbers) != 1 or numbers[0] != int(numbers[0]):
            found = "is absent" if not numbers else "is no single whole number"
            raise self.refuse(
                RejectReason.INVALID_HEADER,
                f"{name_tag(keyword)} {found}; an image needs it to be read",
            )
        return int(numbers[0])

    def items(self, keyword: str, where: Dataset | None = None) -> list[Dataset]:
        """The items of a sequence, none where absent."""
        value = self.value(keyword, where)
        if value is None:
            return []
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise self.refuse(RejectReason.INVALID_HEADER, f"{name_tag(keyword)} is no sequence")
        return list(value)

    def group(self, keyword: str) -> Dataset:
        """Where a functional group's attributes stand: this frame's, the shared, or the top level.

        Args:
            keyword: of the group's sequence, such as FrameVOILUTSequence (PS3.3 C.7.6.16).
        """
        per_frame = self.items("PerFrameFunctionalGroupsSequence")
        for groups in (
            per_frame[self.frame : self.frame + 1],
            self.items("SharedFunctionalGroupsSequence")[:1],
        ):
            for item in groups:
                for found in self.items(keyword, item)[:1]:
                    return found
        return self.dataset
