"""The manifest that a run's configuration names."""

from __future__ import annotations

from pathlib import Path

from medres.config import RunConfig
from medres.data.manifest import Manifest, read_manifest, select_rows
from medres.data.rejected import Origin, read_origin
from medres.errors import ConfigError


def read_run_manifest(config: RunConfig) -> Manifest:
    """The manifest that a configuration names, with the rows that `data.where` keeps."""
    data = config.data
    manifest = read_manifest(
        _path(config),
        findings=data.findings,
        positive=data.positive,
        uncertain="" if data.uncertain == "refuse" else data.uncertain_value,
    )
    return select_rows(manifest, data.where)


def read_run_origin(config: RunConfig) -> Origin:
    """What that manifest holds, all of it, and what was left out when it was prepared."""
    return read_origin(_path(config))


def _path(config: RunConfig) -> Path:
    if config.data.manifest is None:
        raise ConfigError(
            "data.manifest: none given; make one with `medres prepare FOLDER --labels TABLE.csv "
            "--out manifest.csv` and pass --data.manifest manifest.csv"
        )
    return config.data.manifest
