"""Make a manifest: which images, whose, with which labels.

    medres prepare FOLDER --labels TABLE.csv --out manifest.csv
    medres prepare FOLDER --labels TABLE.csv --out manifest.csv --findings dx --positive PNEUMONIA
    medres prepare pneumoniamnist.npz --out manifest.csv               # brings its own labels

TABLE names each image by `image` (or `file`, `path`: relative to FOLDER), `sop_instance_uid`,
`series_instance_uid`, `study_instance_uid` or `patient_id`, and labels it in `label` or
`label_<finding>`: 0, 1, or empty where unknown. A column `frame` labels single slices or frames.
Other columns are kept, for subgroups. Patient ids and study UIDs become pseudonyms. Files that are
no images or that are left out are counted, and listed in OUT.rejected.jsonl. Slices of CT and MR
come in the order in which they lie in the patient, and what is wrong with a series is said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.shell import exit_status, format_missing_decoders

if TYPE_CHECKING:
    from medres.data.manifest import Manifest
    from medres.data.prepare import Preparation

PROGRAM = "medres prepare"
SHOWN = 3


@dataclass(frozen=True)
class PrepareConfig:
    """What to prepare, and where to.

    Attributes:
        folder: with images, or one image or `.npz` file.
        out: the manifest.
        labels: the table; None where the images bring their own.
        findings: label columns.
        positive: of a label column with two words, the finding.
        patient_column: of the table.
        frames: of files with several that the table labels as one.
        empty_slices: of such files, whether slices without content are listed.
        localizers: of CT and MR, whether overview images are listed where a series, study or
            patient is labelled as a whole.
        uncertain: cell of the table that stands for an uncertain label.
        site_secret: file with the key of the pseudonyms.
        keep_identifiers: write patient ids and study UIDs as they are.
    """

    folder: Path
    out: Path
    labels: Path | None = None
    findings: tuple[str, ...] = ()
    positive: str | None = None
    patient_column: str = ""
    frames: Literal["all", "first"] = "all"
    empty_slices: Literal["keep", "drop"] = "keep"
    localizers: Literal["drop", "keep"] = "drop"
    uncertain: str = ""
    site_secret: Path | None = None
    keep_identifiers: bool = False


def run(config: PrepareConfig) -> str:
    """Write the manifest; returns what is in it, in a few lines."""
    from medres.data.prepare import PrepareOptions, prepare_manifest
    from medres.data.pseudonyms import Pseudonyms, read_secret
    from pipelines.progress import follow

    secret = read_secret(config.site_secret) if config.site_secret else b""
    options = PrepareOptions(
        findings=config.findings,
        positive=config.positive,
        patient_column=config.patient_column,
        frames=config.frames,
        empty_slices=config.empty_slices,
        localizers=config.localizers,
        uncertain=config.uncertain,
        pseudonyms=None if config.keep_identifiers else Pseudonyms(secret),
    )
    prepared = prepare_manifest(
        config.folder,
        config.labels,
        out=config.out,
        options=options,
        follow=lambda files: follow(files, "reading headers"),
    )
    return format_preparation(prepared, config.out)


def format_preparation(prepared: Preparation, out: Path) -> str:
    """What was found, in a few lines, with the next command."""
    from medres.data.rejected import describe_rejected

    manifest = prepared.manifest
    lines = [f"{out}: {_count_manifest(manifest)}", *_count_labels(manifest)]
    if prepared.rejected:
        lines.append(f"no images: {describe_rejected(prepared.rejected, out)}")
        lines += format_missing_decoders(prepared.rejected)
    if prepared.unlabelled:
        lines.append(f"without label, left out: {_counted(prepared.unlabelled)}")
    if prepared.rows_without_image:
        rows = [f"row {number}" for number in prepared.rows_without_image]
        lines.append(f"label rows without an image, by {prepared.key}: {_counted(rows)}")
    lines += [f"note: {note}" for note in prepared.notes]
    uncertain = any(row.uncertain for row in manifest.rows)
    policy = " --data.uncertain ignore" if uncertain else ""
    return "\n".join([*lines, f"next: medres train --data.manifest {out}{policy} --out runs/first"])


def _count_manifest(manifest: Manifest) -> str:
    from medres.data.manifest import SPLITS

    sizes = {split: len(manifest.split(split)) for split in SPLITS}
    shares = ", ".join(f"{size} {split}" for split, size in sizes.items() if size)
    studies = len({row.study_instance_uid for row in manifest.rows} - {""})
    patients = len({row.patient_id for row in manifest.rows})
    counts = [f"{len(manifest.rows)} images" + (f" ({shares})" if shares else "")]
    counts += [f"{studies} studies"] if studies else []
    counts += [f"{patients} patients" if manifest.patient_ids_given else "patients unknown"]
    return ", ".join(counts)


def _count_labels(manifest: Manifest) -> list[str]:
    lines = []
    for index, finding in enumerate(manifest.schema.findings):
        labels = [row.labels[index] for row in manifest.rows]
        positive, negative = labels.count(1.0), labels.count(0.0)
        uncertain = sum(index in row.uncertain for row in manifest.rows)
        missing = len(labels) - positive - negative - uncertain
        lines.append(
            f"  {finding}: {positive} positive, {negative} negative"
            + (f", {uncertain} uncertain" if uncertain else "")
            + (f", {missing} missing" if missing else "")
        )
    return lines


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} ({_some(names)})"


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with images, or one .npz file")
    parser.add_argument("--out", type=Path, required=True, help="manifest, .csv or .parquet")
    parser.add_argument("--labels", type=Path, help="label table, CSV or Parquet")
    parser.add_argument("--findings", nargs="+", default=[], metavar="COLUMN", help="label columns")
    parser.add_argument("--positive", help="which of two words in the label column is the finding")
    parser.add_argument("--patient-column", default="", help="column of the table; else the header")
    parser.add_argument(
        "--frames", choices=["all", "first"], default="all", help="of files labelled as one"
    )
    parser.add_argument(
        "--uncertain", default="", metavar="CELL", help="stands for an uncertain label, such as -1"
    )
    parser.add_argument(
        "--empty-slices", choices=["keep", "drop"], default="keep", help="of such files"
    )
    parser.add_argument(
        "--localizers",
        choices=["drop", "keep"],
        default="drop",
        help="overviews of CT and MR, where a series, study or patient has the label",
    )
    parser.add_argument("--site-secret", type=Path, metavar="FILE", help="key of the pseudonyms")
    parser.add_argument(
        "--keep-identifiers", action="store_true", help="no pseudonyms: ids and UIDs as they are"
    )
    options = vars(parser.parse_args(argv))
    config = PrepareConfig(**{**options, "findings": tuple(options["findings"])})
    return exit_status(PROGRAM, lambda: print(run(config)))


if __name__ == "__main__":
    sys.exit(main())
