from pathlib import Path

from benchmarks.results import INTRODUCTION, write_section


def test_section_replaces_its_own_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    write_section(path, "## One\n\nfirst\n")
    write_section(path, "## Two\n\nsecond\n")
    write_section(path, "## One\n\nthird\n")
    assert path.read_text() == INTRODUCTION + "\n## One\n\nthird\n\n## Two\n\nsecond\n"
