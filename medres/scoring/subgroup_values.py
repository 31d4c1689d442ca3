"""The groups of scored cases, from the manifest's columns or from the files' DICOM headers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medres.data.manifest import Manifest
from medres.errors import ManifestError, UnreadableImageError
from medres.imaging.read import sniff_format
from medres.imaging.subgroup_attributes import ATTRIBUTES, read_subgroup_attribute
from medres.metrics.age_bands import age_bands
from medres.scoring.case_scores import CaseScores


def subgroup_values(
    manifest: Manifest, cases: CaseScores, columns: Sequence[str]
) -> dict[str, list[str]]:
    """A value for each case and column; ages in bands.

    A column of the manifest comes first; a name that it has not, such as sex, age, scanner, view or
    site, is read from the DICOM headers. A case whose images differ is in no group of the column.

    Args:
        manifest: whose rows were scored, in order.
        cases: made of them.
        columns: names.

    Raises:
        ManifestError: a name that is neither a column nor a DICOM attribute known here.
    """
    known = {name for row in manifest.rows for name in row.groups}
    values = {}
    for name in columns:
        if name in known:
            of_image = [row.groups.get(name, "") for row in manifest.rows]
        elif name in ATTRIBUTES:
            of_image = _from_headers(manifest, name)
        else:
            raise ManifestError(
                f"no subgroup column {name!r}: the manifest has "
                f"{', '.join(sorted(known)) or 'none'}, and DICOM headers give "
                f"{', '.join(ATTRIBUTES)}"
            )
        of_image = age_bands(of_image) if name == "age" else of_image
        values[name] = cases.groups(of_image)
    return values


def _from_headers(manifest: Manifest, name: str) -> list[str]:
    """Of each row; files without such a header have none."""
    read: dict[str, str] = {}
    for row in manifest.rows:
        address = manifest.address(row)
        if address not in read:
            read[address] = _from_header(Path(address), name)
    return [read[manifest.address(row)] for row in manifest.rows]


def _from_header(path: Path, name: str) -> str:
    if not path.is_file() or sniff_format(path) != "dicom":
        return ""
    try:
        return read_subgroup_attribute(path, name)
    except UnreadableImageError:
        return ""
