from pathlib import Path

import pytest
import torch

from medres.errors import BundleError
from medres.training.checkpoint import load_checkpoint, save_checkpoint


def test_checkpoint_reads_back(tmp_path: Path) -> None:
    state = {"network": {"a": torch.arange(3.0)}, "epoch": 2, "best": [0.5, -0.1], "none": None}
    save_checkpoint(tmp_path / "deep" / "last.pt", state)
    loaded = load_checkpoint(tmp_path / "deep" / "last.pt")
    assert torch.equal(loaded["network"]["a"], torch.arange(3.0))
    assert {**loaded, "network": None} == {**state, "network": None}


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(BundleError, match="not a checkpoint of tensors and plain values"):
        load_checkpoint(tmp_path / "last.pt")


def test_checkpoint_that_hides_code_is_refused(tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploited",))

    torch.save({"network": Exploit()}, tmp_path / "last.pt")
    with pytest.raises(BundleError):
        load_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "exploited").exists()
