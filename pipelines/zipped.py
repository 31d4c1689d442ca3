"""Programmes that take a model take a zip of one too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar


class OfModel(Protocol):
    """A config that names a model."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def model(self) -> Path:
        """A folder, or a zip."""


Config = TypeVar("Config", bound=OfModel)
Result = TypeVar("Result")


def with_model_folder(config: Config, run: Callable[[Config], Result]) -> Result:
    """Run with the model's folder; a zip is unpacked before and removed after."""
    from medres.bundle.zipped import model_folder

    with model_folder(config.model) as folder:
        return run(dataclasses.replace(config, model=folder))
