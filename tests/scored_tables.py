"""Scoring an archive in one call, and comparing what two runs have left."""

from pathlib import Path

import pytest

from medres.bundle.directory import Model
from medres.data.pseudonyms import Keys
from medres.data.table import read_table
from medres.scoring.run import Settings, open_run

KEYS = Keys(b"a secret of thirty-two bytes ....")
SETTINGS = Settings(batch_size=4, workers=2)


def score(archive: Path, out: Path, model: Model, settings: Settings = SETTINGS, **options) -> dict:
    with open_run(out, [archive], model, settings, KEYS, **options) as run:
        run.look()
        for _ in run.score():
            pass
        return run.write(out)


def table(out: Path, name: str = "images") -> dict:
    """Rows by their key and frame, numbers rounded to the tolerance."""
    keyed = {}
    for row in read_table(out / f"{name}.csv").rows:
        key = (row.get("image_key", row["study_key"]), row.get("frame", ""))
        assert key not in keyed
        keyed[key] = {**row, "opacity": float(row["opacity"])}
    return keyed


def assert_same(first: Path, second: Path) -> None:
    for name in ("images", "studies"):
        a, b = table(first, name), table(second, name)
        assert a.keys() == b.keys()
        for key, row in a.items():
            assert row["opacity"] == pytest.approx(b[key]["opacity"], abs=1e-5)
            assert {**row, "opacity": 0} == {**b[key], "opacity": 0}
    for name in ("rejected.jsonl", "not_chosen.jsonl"):
        assert (first / name).read_text() == (second / name).read_text()
