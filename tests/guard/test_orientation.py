import guarded_model
import torch
from torch.nn import functional as F

from medres.guard.orientation import TURNS, Orientation, contrast, turned


def outlines(count: int, seed: int) -> torch.Tensor:
    return F.adaptive_avg_pool2d(guarded_model.anatomy(count, seed), 16).flatten(1).double()


def test_turns_are_the_seven_other_symmetries_of_a_square() -> None:
    square = torch.arange(9).reshape(1, 3, 3)
    copies = {tuple(turn(square).flatten().tolist()) for turn in TURNS.values()}
    assert len(copies) == 7
    assert tuple(range(9)) not in copies
    assert TURNS["flipped_left_right"](square)[0, 0].tolist() == [2, 1, 0]
    assert TURNS["flipped_top_bottom"](square)[0, 0].tolist() == [6, 7, 8]
    assert TURNS["turned_90"](square)[0, 0].tolist() == [2, 5, 8]  # counter-clockwise
    assert torch.equal(
        turned(torch.arange(9.0)[None])[0, 0], torch.tensor([2, 1, 0, 5, 4, 3, 8, 7, 6.0])
    )


def test_each_copy_scores_above_every_image_that_lies_as_in_training() -> None:
    orientation = Orientation.fit(outlines(80, 1))
    own = orientation.of(outlines(60, 2))
    assert own.shape == (60, 7)
    for place, copy in enumerate(turned(outlines(60, 2))):
        assert orientation.of(copy)[:, place].min() > own[:, place].max()


def test_contrast_and_brightness_do_not_matter() -> None:
    orientation = Orientation.fit(outlines(80, 1))
    images = outlines(5, 2)
    torch.testing.assert_close(orientation.of(3 * images + 7), orientation.of(images))
    assert torch.equal(contrast(torch.full((1, 16), 3.0)), torch.zeros(1, 16))


def test_images_that_look_the_same_from_all_sides_tell_no_orientation() -> None:
    round_ones = torch.full((20, 256), 2.0, dtype=torch.float64)
    orientation = Orientation.fit(round_ones)
    assert orientation.of(round_ones).abs().max() == 0
    assert orientation.of(outlines(3, 1)).isfinite().all()
