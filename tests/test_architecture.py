"""The folders are stations on one line: imports go one way, and some stations stay light."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import medres
from pipelines.__main__ import VERBS

ROOT = Path(medres.__file__).parents[1]
LINE = re.findall(r"\w+", medres.__doc__.partition("::")[2])
HEAVY = {"torch", "torchvision", "monai", "ignite"}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Modules that a file imports; not those for type checking alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else [*ast.walk(tree)]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = ROOT / Path(*node.module.split(".")) / f"{alias.name}.py"
                yield f"{node.module}.{alias.name}" if module.exists() else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_the_line_names_every_folder() -> None:
    folders = {p.name for p in (ROOT / "medres").iterdir() if (p / "__init__.py").exists()}
    assert folders == set(LINE)


@pytest.mark.parametrize("folder", LINE)
def test_imports_go_down_the_line(folder: str) -> None:
    beside = {"errors", "config", "config_text", "contained", "files", "provenance"}
    allowed = {*LINE[: LINE.index(folder) + 1], *beside}
    for path in modules(f"medres/{folder}"):
        for name in imports(path):
            if name.startswith("medres."):
                assert name.split(".")[1] in allowed, f"{path.name} imports {name}"
            assert not name.startswith("pipelines"), f"{path.name} imports {name}"


def test_nobody_imports_from_a_package() -> None:
    for path in [*modules("medres"), *modules("pipelines")]:
        for name in imports(path):
            parts = name.split(".")
            assert parts[0] != "medres" or not (ROOT / Path(*parts)).is_dir() or name == "medres", (
                f"{path.name} imports from the package {name}; name the module"
            )


@pytest.mark.parametrize("part", ["imaging/**/*", "data/**/*", "phantom/**/*", "config*"])
def test_reading_data_and_configuration_know_no_torch(part: str) -> None:
    found = [*(ROOT / "medres").glob(f"{part}.py")]
    assert found
    for path in found:
        assert not {name.split(".")[0] for name in imports(path)} & HEAVY, path.name


def test_metrics_know_no_files() -> None:
    for path in modules("medres/metrics"):
        assert not {name.split(".")[0] for name in imports(path)} & {"pathlib", "os", "io", "csv"}


def test_programmes_import_heavy_packages_only_when_they_run() -> None:
    for name in ("__main__", *(module for module, _ in VERBS.values())):
        path = ROOT / "pipelines" / f"{name}.py"
        for module in imports(path, top_level_only=True):
            assert module.split(".")[0] not in HEAVY | {"matplotlib", "pydicom"}
