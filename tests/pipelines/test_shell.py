import errno
import subprocess
import sys
from pathlib import Path

import pytest

from medres.errors import ConfigError
from pipelines.shell import exit_status


def fail_through_monai() -> None:
    raise RuntimeError("applying transform <object at 0x7f>") from ConfigError("seed: wrong")


def test_status_of_the_action_is_passed_on() -> None:
    assert exit_status("medres", lambda: None) == 0
    assert exit_status("medres", lambda: 3) == 3


def test_our_error_is_a_message_even_behind_one_of_monai(capsys) -> None:
    assert exit_status("medres x", fail_through_monai) == 2
    assert capsys.readouterr().err == "medres x: seed: wrong\n"


def test_error_that_is_not_ours_keeps_its_traceback() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        exit_status("medres", fail)


def test_interrupt_says_how_to_go_on(capsys) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert exit_status("medres", interrupt) == 130
    assert "interrupted; start it again" in capsys.readouterr().err


def test_reader_that_closes_the_pipe_is_no_error() -> None:
    code = """
from pipelines.shell import exit_status
raise SystemExit(exit_status("medres", lambda: print("a line\\n" * 100_000)))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        process.stdout.read(6)
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (0, b"")


def test_a_full_disk_is_said_in_one_line(capsys) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, "full", "results/summary.html")

    assert exit_status("medres score", fill) == 2
    assert capsys.readouterr().err == (
        "medres score: results/summary.html: cannot be written or read (No space left on device); "
        "make room, or give a place where you may, and start the same command again\n"
    )


def test_an_error_of_the_system_that_nobody_can_mend_keeps_its_traceback() -> None:
    def fail() -> None:
        raise OSError(errno.EBADF, "a bug")

    with pytest.raises(OSError, match="a bug"):
        exit_status("medres", fail)


def test_a_line_that_nobody_reads_ends_no_work_and_changes_no_status() -> None:
    code = """
import sys
from pipelines.shell import exit_status, say
def work():
    sys.stdin.read()
    say("a line", sys.stdout)
    return 3
raise SystemExit(exit_status("medres", work))
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        process.stdout.close()
        process.stdin.close()
    assert process.returncode == 3


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_of_logs_ends_no_work_and_changes_no_status(stream: str) -> None:
    code = f"""
import sys
from pipelines.shell import exit_status, say
def work():
    for _ in range(3):
        say("a line", sys.{stream})
    return 3
raise SystemExit(exit_status("medres", work))
"""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], check=False, **{stream: full})
    assert done.returncode == 3


def test_a_program_without_output_and_error_keeps_its_status() -> None:
    code = """
import sys
from pipelines.shell import exit_status, say
def work():
    say("a line", sys.stderr)
    sys.stderr.isatty(), sys.stdout.isatty()
    return 3
raise SystemExit(exit_status("medres", work))
"""
    command = ["sh", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, code]
    assert subprocess.run(command, check=False).returncode == 3
