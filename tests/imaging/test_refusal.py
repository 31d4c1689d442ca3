import logging

import pytest

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.refusal import silent_log, told_alone


@told_alone
def read(path):
    try:
        int("SECRET")
    except ValueError as error:
        raise UnreadableImageError(RejectReason.TRUNCATED, path, "cut short") from error


def test_an_error_leaves_a_reader_alone():
    with pytest.raises(UnreadableImageError, match=r"^a\.dcm: cut short") as caught:
        read("a.dcm")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    names = [entry.name for entry in caught.traceback]
    assert "read" not in names


def test_an_error_keeps_the_context_of_whoever_called():
    def retry():
        try:
            int("ours")
        except ValueError:
            read("a.dcm")

    with pytest.raises(UnreadableImageError) as caught:
        retry()
    assert "ours" in str(caught.value.__context__)


def test_results_and_other_errors_pass():
    assert told_alone(lambda x: x + 1)(1) == 2
    with pytest.raises(ZeroDivisionError):
        told_alone(lambda: 1 / 0)()


def test_a_log_is_silent_for_a_while_with_all_below_it(caplog):
    loggers = [logging.getLogger(f"{name}.child") for name in ("pydicom", "PIL", "nibabel")]
    loggers.append(logging.getLogger("nibabel.global"))
    with caplog.at_level(logging.DEBUG):
        with silent_log("pydicom", "PIL", "nibabel", "nibabel.global"):
            for logger in loggers:
                logger.critical("SECRET")
                logger.debug("SECRET")
        assert not caplog.records
        loggers[0].error("heard")
    assert caplog.messages == ["heard"]
