"""The way of the images, as an evaluation holds it."""

from medres.data.rejected import Origin
from medres.errors import RejectReason
from pipelines.flow import describe_flow


def test_flow_begins_with_the_files_where_it_is_known_what_was_left_out() -> None:
    missing = {"no_label": 4, RejectReason.TRUNCATED: 2, "localizer": 1, "empty_slices": 1}
    assert describe_flow(Origin(240, 8, missing), {"not asked for (data.where)": 3}) == {
        "found": {
            "n": 16,
            "excluded": [
                {"why": "without a label", "n": 4},
                {"why": "refused: truncated", "n": 2},
                {"why": "overviews of a series", "n": 1},
                {"why": "with empty slices alone", "n": 1},
            ],
        },
        "start": "images of the manifest, in 8 files",
        "n": 240,
        "excluded": [{"why": "not asked for (data.where)", "n": 3}],
    }


def test_flow_begins_with_the_manifest_where_it_is_not() -> None:
    assert describe_flow(Origin(12, 12), {}) == {
        "start": "images of the manifest",
        "n": 12,
        "excluded": [],
    }
