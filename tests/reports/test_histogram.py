import re

from medres.reports.histogram import draw_histogram


def test_bars_are_as_tall_as_their_counts_and_coloured_by_the_mark() -> None:
    chart = draw_histogram([10, 5, 0, 1], title="scores", mark=0.5)
    heights = [float(h) for h in re.findall(r'<rect[^>]*height="([\d.]+)"', chart)]
    assert [h / heights[0] for h in heights] == [1, 0.5, 0, 0.1]
    assert re.findall(r'<rect class="(\w+)"', chart) == ["below", "below", "above", "above"]
    assert chart.count('class="mark"') == 1


def test_a_bin_that_the_mark_divides_is_below_it() -> None:
    chart = draw_histogram([1, 1], title="scores", mark=0.7)
    assert re.findall(r'<rect class="(\w+)"', chart) == ["below", "below"]


def test_axis_counts_whole_things() -> None:
    chart = draw_histogram([1, 0], title="scores")
    ticks = re.findall(r'text-anchor="end">([^<]+)<', chart)
    assert ticks == ["0", "1"]
    assert 'class="mark"' not in chart


def test_chart_says_what_it_shows_and_escapes_its_title() -> None:
    chart = draw_histogram([3, 1500], title="<script>")
    assert "<title>&lt;script&gt;</title>" in chart
    assert "1,503 in 2 equal bins from 0 to 1; most, 1,500, from 0.50 to 1.00" in chart


def test_nothing_counted_is_no_chart() -> None:
    assert draw_histogram([0, 0], title="scores") == ""
