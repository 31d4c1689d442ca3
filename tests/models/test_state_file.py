import collections
import io
import pickle
import struct
import zipfile

import pytest
import torch

from medres.errors import WeightsError
from medres.models.state_file import read_state_file


class Call:
    """Unpickled, it calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def rewritten(path, pickled=None, *, compression=zipfile.ZIP_STORED, twice=False):
    """The same archive with another pickle, or packed."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, pickled if pickled and name.endswith(".pkl") else content)
    return path


def test_state_dicts_come_back(tmp_path):
    state = torch.nn.BatchNorm2d(3).state_dict()
    found = read_state_file(saved(tmp_path / "a.pt", state))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"w": torch.ones(2)}, "epoch": 3, "name": "a", "rates": [0.1, None]},
        {"w": torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))},
        {"milestones": collections.Counter({3: 1}), "dtype": torch.float32},
        {"view": torch.arange(12.0).reshape(3, 4).T[1:]},
    ],
)
def test_checkpoints_of_plain_values_come_back(content, tmp_path):
    assert read_state_file(saved(tmp_path / "a.pt", content)).keys() == content.keys()


def test_files_from_before_pytorch_1_6_are_read(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.ones(2)}, _use_new_zipfile_serialization=False)
    assert torch.equal(read_state_file(path)["w"], torch.ones(2))


@pytest.mark.parametrize("new", [True, False])
def test_bytearray_of_any_size_is_refused_before_it_is_allocated(new, tmp_path):
    bomb = {"w": Call(bytearray, 10**12)}
    path = saved(tmp_path / "a.pt", bomb, _use_new_zipfile_serialization=new)
    with pytest.raises(WeightsError, match=r"a\.pt: its pickle names '.* bytearray', which no sta"):
        read_state_file(path)


def test_code_is_named_and_not_run(tmp_path):
    path = saved(tmp_path / "a.pt", {"w": Call(eval, f"open('{tmp_path}/ran', 'w')")})
    with pytest.raises(WeightsError, match=r"names '.* eval'.* not opened: they can run code"):
        read_state_file(path)
    assert not (tmp_path / "ran").exists()


def test_name_that_is_put_together_while_reading_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"w": torch.ones(2)})
    indirect = pickle.dumps(Call(eval, "1"), protocol=4)
    with pytest.raises(WeightsError, match="its pickle names 'STACK_GLOBAL'"):
        read_state_file(rewritten(path, indirect))


def test_compressed_archive_is_refused_before_it_is_inflated(tmp_path):
    path = saved(tmp_path / "a.pt", {"w": torch.zeros(2**20)})
    rewritten(path, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    with pytest.raises(WeightsError, match="holds compressed or overlapping parts"):
        read_state_file(path)


def test_tensor_that_repeats_one_number_without_end_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"w": torch.ones(1).expand(10**12)})
    with pytest.raises(WeightsError, match="tensor w claims 4000000000000 bytes and has 4 in a"):
        read_state_file(path)


def test_storage_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"w": torch.arange(6.0)})
    with zipfile.ZipFile(path) as archive:
        pickled = next(archive.read(n) for n in archive.namelist() if n.endswith(".pkl"))
    claimed = pickled.replace(b"K\x06", b"J" + struct.pack("<i", 10**9))
    with pytest.raises(WeightsError, match=r"not a file of tensors|claims"):
        read_state_file(rewritten(path, claimed))


def test_pickle_that_is_too_large_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"w": torch.ones(1)})
    words = pickle.dumps(["x" * 2**20 + str(k) for k in range(17)], protocol=2)
    with pytest.raises(WeightsError, match="larger than 16777216 bytes, which no state dict needs"):
        read_state_file(rewritten(path, words))


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"\x80\x02", b"PK\x05\x06" + bytes(18)]
)
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"a\.pt: not a file of tensors .*state dict as torch.sa"
    ):
        read_state_file(tmp_path / "a.pt")


def test_container_that_holds_itself_ends(tmp_path):
    ring = {"w": torch.ones(1)}
    ring["self"] = [ring]
    buffer = io.BytesIO()
    torch.save(ring, buffer)
    (tmp_path / "a.pt").write_bytes(buffer.getvalue())
    assert torch.equal(read_state_file(tmp_path / "a.pt")["w"], torch.ones(1))
