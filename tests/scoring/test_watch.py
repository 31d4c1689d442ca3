"""Files that come while somebody looks; time is the test's own."""

from medres.scoring.sources import Found
from medres.scoring.watch import Settled, rounds


def test_a_file_has_settled_when_two_listings_agree() -> None:
    settled = Settled(now=lambda: 1000.0)
    young = int(999e9)
    assert not settled(Found("a", stamp=f"5-{young}"))
    settled.next_listing()
    assert not settled(Found("a", stamp=f"9-{young}"))
    settled.next_listing()
    assert settled(Found("a", stamp=f"9-{young}"))


def test_an_old_file_has_settled_at_once_and_one_that_is_none_too() -> None:
    settled = Settled(now=lambda: 1000.0)
    assert settled(Found("a", stamp=f"5-{int(939e9)}"))
    assert settled(Found("link"))


def test_a_file_that_has_to_wait_is_on_its_way() -> None:
    settled = Settled(now=lambda: 1000.0)
    young = Found("a", stamp=f"5-{int(999e9)}")
    settled(young)
    settled(Found("b", stamp=f"5-{int(939e9)}"))
    assert settled.next_listing()
    settled(young)
    assert not settled.next_listing()


def test_watching_ends_when_nothing_has_come_for_a_while() -> None:
    clock, seen = [0.0], 0
    for came in rounds(
        10, poll_seconds=4, now=lambda: clock[0], sleep=lambda s: clock.__setitem__(0, clock[0] + s)
    ):
        seen += 1
        if seen == 2:
            came()
    assert (seen, clock[0]) == (5, 16.0)


def test_watching_ends_with_ctrl_c_while_it_waits() -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    assert len(list(rounds(None, sleep=interrupted))) == 1
