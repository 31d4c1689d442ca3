"""A file is told by its record or by its reason, and by nothing that a parser says of it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from medres.errors import UnreadableImageError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def told_alone(read: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let an `UnreadableImageError` leave a reader without what it was raised from.

    Parsers quote what they stumble over, and a file's words name patients: neither the cause nor
    the context of an error may travel on, nor the frames, whose variables hold the data set (and
    keep it in memory for as long as the error is kept).
    """

    @functools.wraps(read)
    def alone(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            return read(*arguments, **options)
        except UnreadableImageError as error:
            refused = error
        refused.__cause__ = refused.__context__ = None
        raise refused.with_traceback(None)

    return alone


@contextmanager
def silent_log(*names: str) -> Generator[None, None, None]:
    """Nothing in a parser's log, which quotes what it reads, nor in the logs below it.

    Args:
        names: of its loggers: of the topmost, and of each below that has a level of its own.
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)  # holds for the loggers below it; `disabled` not
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
