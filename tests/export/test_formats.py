"""Which files a choice of formats stands for."""

import pytest

from medres.errors import ConfigError
from medres.export.formats import Artifact, asked_artifacts


def test_a_choice_stands_for_files() -> None:
    files = [a.file for a in asked_artifacts(("openvino", "torch-export"), bf16=True, int8=True)]
    assert files == ["model.pt2", "model.xml", "model_bf16.pt2", "model_int8.xml"]
    assert asked_artifacts(("onnx",)) == (Artifact("onnx", "fp32"),)


def test_choices_that_stand_for_no_file_are_refused() -> None:
    with pytest.raises(ConfigError, match="formats: 'tflite' given; give some of torch-export, on"):
        asked_artifacts(("onnx", "tflite"))
    with pytest.raises(ConfigError, match="formats: none given"):
        asked_artifacts(())
    with pytest.raises(ConfigError, match="bf16: is written as a torch"):
        asked_artifacts(("onnx",), bf16=True)
    with pytest.raises(ConfigError, match="int8: is written as onnx or openvino; add one to form"):
        asked_artifacts(("torch-export",), int8=True)
