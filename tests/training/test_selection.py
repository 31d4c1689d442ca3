import json

from medres.training.selection import Selection


def test_first_epoch_with_the_highest_auroc_is_best_and_loss_decides_ties() -> None:
    selection = Selection("auroc", patience=0, epochs=4)
    judged = [selection.judge(1, 0.9, 0.7), selection.judge(2, 0.8, 0.7)]
    judged += [selection.judge(3, 0.8, 0.7), selection.judge(4, 0.1, 0.6)]
    assert judged == [True, True, False, False]
    assert selection.best_epoch == 2
    assert selection.finished
    assert not selection.stopped_early


def test_loss_decides_where_it_is_asked_for_or_no_auroc_is_defined() -> None:
    by_loss, undefined = Selection("loss", 0, 3), Selection("auroc", 0, 3)
    for epoch, loss, area in ((1, 0.5, 0.9), (2, 0.3, 0.8), (3, 0.4, 0.95)):
        by_loss.judge(epoch, loss, area)
        undefined.judge(epoch, loss, None)
    assert (by_loss.best_epoch, undefined.best_epoch) == (2, 2)


def test_last_epoch_is_kept_where_it_is_asked_for() -> None:
    selection = Selection("last", 0, 3)
    assert [selection.judge(epoch, epoch, 0.5) for epoch in (1, 2, 3)] == [True, True, True]


def test_patience_ends_a_run_before_its_last_epoch_only() -> None:
    selection = Selection("loss", patience=2, epochs=10)
    for epoch, loss in ((1, 0.5), (2, 0.6)):
        selection.judge(epoch, loss, None)
    assert not selection.finished
    selection.judge(3, 0.7, None)
    assert selection.finished
    assert selection.stopped_early
    at_the_end = Selection("loss", patience=2, epochs=3)
    for epoch, loss in ((1, 0.5), (2, 0.6), (3, 0.7)):
        at_the_end.judge(epoch, loss, None)
    assert at_the_end.finished
    assert not at_the_end.stopped_early


def test_selection_goes_on_from_its_saved_state() -> None:
    first = Selection("auroc", 1, 5)
    first.judge(1, 0.5, 0.8)
    second = Selection("auroc", 1, 5)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second == first
