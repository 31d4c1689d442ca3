import pytest
from matplotlib.figure import Figure
from PIL import Image

from medres.reports.schedule_picture import draw_schedule, save_schedule_picture
from medres.training.presets import PRESETS, build_schedule


@pytest.mark.parametrize("preset", PRESETS)
def test_picture_of_every_preset_is_small_and_the_same_each_time(preset, tmp_path):
    schedule = build_schedule(preset, epochs=20, steps_per_epoch=50, stem="adapter")
    for name in ("a.png", "b.png"):
        save_schedule_picture(schedule, tmp_path / "folder" / name)
    first, second = (tmp_path / "folder" / name for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 100_000
    with Image.open(first) as picture:
        assert picture.size == (792, 477)


def test_bands_are_the_stages_with_their_peak_rates():
    schedule = build_schedule(
        "surgical", epochs=4, steps_per_epoch=10, course="constant", warmup_epochs=0
    )
    axes = Figure().add_subplot()
    draw_schedule(axes, schedule)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("conv1", "layer1", "layer2", "layer3", "layer4", "head")
    ]
    assert [text.get_text() for text in axes.texts] == ["5.0e-4", "5.0e-4", "–", "–", "–", "1.0e-3"]


def test_a_line_marks_each_opening():
    schedule = build_schedule("gradual", epochs=20, steps_per_epoch=10)
    axes = Figure().add_subplot()
    draw_schedule(axes, schedule)
    assert [line.get_xdata()[0] for line in axes.lines] == [3, 6, 9, 12]
