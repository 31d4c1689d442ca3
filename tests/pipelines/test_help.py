"""What a shell sees before anything heavy is imported."""

import subprocess
import sys

import pytest

from pipelines.__main__ import VERBS, main

HEAVY = "('torch', 'monai', 'ignite', 'torchvision', 'matplotlib', 'pydicom')"


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_answers_without_importing_torch_or_monai(verb: str) -> None:
    code = f"""
import sys
from pipelines.__main__ import main
try:
    status = main([*{[verb] if verb else []}, "--help"])
except SystemExit as done:
    status = done.code
assert not status, status
print("heavy:", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_module_and_verb_are_the_same_programme() -> None:
    for module, _ in VERBS.values():
        done = subprocess.run(
            [sys.executable, "-m", f"pipelines.{module}", "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert "medres" in done.stdout


def test_unknown_verb_names_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trane"]) == 2
    assert "no verb 'trane'; there are demo, prepare, train" in capsys.readouterr().err


def test_no_verb_prints_the_usage_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: medres VERB" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("medres 0.")
