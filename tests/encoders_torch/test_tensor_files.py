"""The one reader of torch's and safetensors' files: what it reads, and what it refuses."""

import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from encoders_torch import tensor_files
from encoders_torch.tensor_files import read_folder, read_state, with_prefix, write_state
from fb_jax import files
from fb_jax.errors import FreeBindError

STATE = {"a.weight": torch.arange(600.0).reshape(20, 30).half(), "b.bias": torch.arange(3)}
DAMAGED = r"cannot be read: it is damaged, or holds more than tensors\n.*{}(.|\n)*any code"
OLD = {"_use_new_zipfile_serialization": False}


def save(path, content, **options):
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"), [("x.pt", {}), ("x.pth", {}), ("x.pt", OLD), ("x.safetensors", {})]
)
def test_every_format_gives_the_same_tensors(tmp_path, name, options):
    state = read_state(save(tmp_path / name, STATE, **options))
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], value) for key, value in STATE.items())
    assert all(state[key].dtype == value.dtype for key, value in STATE.items())


def test_a_training_state_gives_its_weights_and_numpy_numbers_beside_them_are_read(tmp_path):
    training = {"epoch": 3, "best": np.float64(0.5), "state_dict": STATE, "optimizer": {"lr": [1]}}
    path = save(tmp_path / "x.pt", training)
    assert read_state(path, key="state_dict").keys() == STATE.keys()
    assert read_state(save(tmp_path / "y.pt", STATE), key="state_dict").keys() == STATE.keys()
    with pytest.raises(FreeBindError, match=r"no state dict(.|\n)*epoch: int"):
        read_state(path)


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, name, share):
    path = save(tmp_path / name, STATE)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FreeBindError, match=DAMAGED.format(name)):
        read_state(path)


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"<html>404</html>" * 99, b"P", b"PK\x05\x06" + bytes(18)])
def test_a_file_of_another_kind_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FreeBindError, match=DAMAGED.format(name)):
        read_state(tmp_path / name)


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize(("kind", "got"), [(None, "is missing"), (os.mkfifo, "a named pipe")])
def test_a_missing_file_and_a_pipe_are_refused(tmp_path, name, kind, got):
    if kind:
        kind(tmp_path / name)
    with pytest.raises(FreeBindError, match=got):
        read_state(tmp_path / name)


def large_header(path):
    """The first tensor's end: at 10^15 bytes."""
    save_file(STATE, path)
    content = path.read_bytes()
    head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    head["a.weight"] |= {"shape": [10**15 // 2], "data_offsets": [0, 10**15]}
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(2000))


def zipped(path):
    """A part that becomes 1 MB, in 1 kB."""
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("x/data/9", bytes(10**6))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.pt", zipped),
        ("x.pt", lambda path: torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)),
        ("x.pt", lambda path: torch.save({"a": torch.eye(3).to_sparse()}, path)),
        ("x.pt", lambda path: torch.save({"a": torch.empty(3, device="meta")}, path)),
        ("x.safetensors", large_header),
        ("x.safetensors", lambda path: path.write_bytes((2**60).to_bytes(8, "little") + b"{}")),
    ],
)
def test_what_is_told_to_be_larger_than_its_file_is_refused(tmp_path, name, write):
    write(tmp_path / name)
    with pytest.raises(FreeBindError, match=r"cannot be read|a: a tensor that|bytes in a file of"):
        read_state(tmp_path / name)


class Code:
    """A pickle of this runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, pickle.DEFAULT_PROTOCOL])
@pytest.mark.parametrize("saved_by", ["torch", "pickle"])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, saved_by, protocol):
    content = {"state_dict": {"a": torch.ones(1)}, "args": Code(tmp_path / "ran")}
    if saved_by == "torch":
        torch.save(content, tmp_path / "x.pt", pickle_protocol=protocol)
    else:
        (tmp_path / "x.pt").write_bytes(pickle.dumps(content["args"], protocol))
    with pytest.raises(FreeBindError, match=DAMAGED.format("x.pt")) as caught:
        read_state(tmp_path / "x.pt", key="state_dict")
    assert not (tmp_path / "ran").exists()
    assert not re.search("weights_only.*False", str(caught.value))  # torch advises to try that


def test_no_other_module_loads_torch_s_files():
    package = Path(tensor_files.__file__).parent
    loading = [path for path in package.rglob("*.py") if "torch.load(" in path.read_text()]
    assert loading == [package / "tensor_files.py"]


@pytest.mark.parametrize(
    "content",
    [
        *([torch.zeros(2)], torch.zeros(2), 3, {}, {"epoch": 3}, {"model": STATE}),
        *({3: torch.zeros(2)}, {"state_dict": {}}, {"state_dict": {"a": 1}}),
    ],
)
def test_a_file_without_a_table_of_tensors_is_refused(tmp_path, content):
    with pytest.raises(FreeBindError, match=r"no state dict\n.*x\.pt\n.*name: tensor"):
        read_state(save(tmp_path / "x.pt", content), key="state_dict")


def test_tensors_of_a_prefix_lose_it():
    assert with_prefix(STATE, "a.").keys() == {"weight"}


# Folders


@pytest.fixture
def folder(tmp_path):
    """A folder of weights; its JSON file."""
    weights = write_state(tmp_path / "weights.safetensors", STATE)
    files.write_json(tmp_path / "x.json", {"format": "x", "version": 1, "weights": weights})
    return tmp_path / "x.json"


def read(path):
    return read_folder(path, "thing", ("x", 1), "make one")


def test_what_is_written_is_read(folder):
    about, state = read(folder)
    assert about["weights"]["bytes"] == (folder.parent / "weights.safetensors").stat().st_size
    assert torch.equal(state["a.weight"], STATE["a.weight"])


def altered(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.unlink(), r"no thing here(.|\n)*x\.json\n.*make one"),
        (lambda path: path.write_text("{"), r"x\.json"),
        (lambda path: path.write_text("[]"), "another format"),
        (lambda path: path.write_text('{"x": ' + "[" * 10**5), "not valid JSON"),
        (
            lambda path: path.write_text(json.dumps({"format": "x", "version": 2})),
            "another format",
        ),
        (lambda path: path.write_text('{"format": "x", "version": 1}'), "field `weights`"),
        (lambda path: path.write_text('{"format": "x", "version": 1, "weights": null}'), "null"),
        (lambda path: path.write_text('{"format": "x", "version": true}'), "version True"),
        (lambda path: altered(path.with_name("weights.safetensors")), "were altered"),
        (lambda path: path.with_name("weights.safetensors").unlink(), "are missing"),
    ],
)
def test_a_damaged_folder_is_refused(folder, change, says):
    change(folder)
    with pytest.raises(FreeBindError, match=says):
        read(folder)
