"""What a training knows of where its images come from."""

from pathlib import Path

from pictures import write_pictures

from medres.config import DataConfig, PixelsConfig, RunConfig
from medres.data.rejected import Origin, RejectedFile, write_rejected
from medres.errors import RejectReason
from medres.training.training_data import prepare_training_data


def test_origin_is_the_whole_manifest_and_what_was_left_out_of_it(tmp_path: Path) -> None:
    manifest = write_pictures(tmp_path, per_patient=1)
    header, *rows = manifest.read_text().splitlines()
    sites = [f"{row},{'other' if number < 2 else 'here'}" for number, row in enumerate(rows)]
    manifest.write_text("\n".join([f"{header},site", *sites]))
    write_rejected(manifest, [RejectedFile("a.dcm", RejectReason.TRUNCATED, "ends early")])
    data = prepare_training_data(
        RunConfig(
            data=DataConfig(manifest=manifest, where=("site=here",)), pixels=PixelsConfig(size=32)
        )
    )
    assert len(data.manifest.rows) == 28
    assert data.origin == Origin(images=30, files=30, missing={RejectReason.TRUNCATED: 1})
