"""What every program here does alike: warnings, errors and exit statuses."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from medres.errors import MedresError

if TYPE_CHECKING:
    from medres.data.rejected import RejectedFile


NO_ROOM_OR_LEAVE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def exit_status(program: str, action: Callable[[], object]) -> int:
    """Run a program's action and turn what medres raises into a message and a status.

    Returns:
        The status that the action returns, 0 where it returns none; 2 for an error that the user
        can mend; 130 after Ctrl-C.
    """
    _open_closed_streams()
    try:
        status = action()
        return status if isinstance(status, int) else 0
    except (MedresError, RuntimeError) as error:
        ours = _cause(error)
        if ours is None:
            raise
        say(f"{program}: {ours}", sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in NO_ROOM_OR_LEAVE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        say(
            f"{program}: {where}cannot be written or read ({os.strerror(error.errno)}); make room, "
            "or give a place where you may, and start the same command again",
            sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        say(f"{program}: interrupted; start it again on the same folder to go on", sys.stderr)
        return 130


def say(text: str, stream: TextIO) -> None:
    """Print a line; whoever reads no further ends no work by it, nor does a full disk of logs."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed_streams() -> None:
    """Give a program started without standard output or error a place for what it says."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the end
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def format_missing_decoders(rejected: Iterable[RejectedFile]) -> list[str]:
    """A line a transfer syntax that lacks a decoder: how many files, and what to install."""
    from medres.data.image_index import missing_decoders

    return [
        f"{count} {'file' if count == 1 else 'files'}: {message}"
        for message, count in missing_decoders(rejected).items()
    ]


def _cause(error: BaseException | None) -> MedresError | None:
    """The error of ours behind one of MONAI's, which wraps whatever a transform raises."""
    while error is not None and not isinstance(error, MedresError):
        error = error.__cause__
    return error
