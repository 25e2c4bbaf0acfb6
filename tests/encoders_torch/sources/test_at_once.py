"""Two exports that write one item list at once."""

import signal

import numpy as np
import pytest
from disturb import At, run, start, wait_until_stopped

from fb_jax.banks import Split, open_banks, verify_split

EXPORT = ("-m", "encoders_torch.export", "--encoder", "lengths:Lengths", "--out", "banks")
ENCODER = """
import numpy as np
from encoders_torch.encoder import FrozenEncoder


class Lengths(FrozenEncoder):
    def __init__(self, weights, device):
        super().__init__(name="lengths", dim=2, modalities=("text",), weights_sha256="none")

    def read(self, modality, item):
        return np.float32([len(item), 1])

    def encode(self, modality, batch):
        return batch.numpy()
"""


@pytest.fixture
def words(tmp_path):
    """Return the words of an export of some captions, in a folder with an encoder."""
    (tmp_path / "lengths.py").write_text(ENCODER)
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} {i}\n" for i in range(20)))

    def words(space, name, *more):
        rest = ("--split", "val-2017", "--space", space, "--text", f"{name}.txt", "--workers", 0)
        return (*EXPORT, *rest, *more)

    return words


def ids(tmp_path):
    verify_split(Split(tmp_path / "banks/val-2017"))
    return [item["id"] for item in Split(tmp_path / "banks/val-2017").items("text")]


def test_both_write_one_list(words, tmp_path):
    moment = At("os.replace", do="SIGSTOP", on=r"items/text\.jsonl")
    first = start(*words("a", "one"), at=[moment], cwd=tmp_path)
    wait_until_stopped(first)
    second = start(*words("b", "one"), cwd=tmp_path)
    first.send_signal(signal.SIGCONT)
    for process in (first, second):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    rows = open_banks(tmp_path / "banks", "val-2017", spaces=["a", "b"])
    np.testing.assert_array_equal(rows["a", "text"][:], rows["b", "text"][:])
    assert len(ids(tmp_path)) == 20


def test_both_add_their_items(words, tmp_path):
    (tmp_path / "one.csv").write_text("id,caption\n" + "".join(f"a{i},x\n" for i in range(5)))
    (tmp_path / "two.csv").write_text("id,caption\n" + "".join(f"b{i},yy\n" for i in range(5)))
    assert run(*words("a", "one"), cwd=tmp_path).returncode == 0
    moment = At("os.replace", do="SIGSTOP", on=r"items/text\.jsonl")
    add = [(*words("a", name)[:-4], "--text", f"{name}.csv", "--append") for name in ("one", "two")]
    first = start(*add[0], at=[moment], cwd=tmp_path)
    wait_until_stopped(first)
    second = start(*(word if word != "a" else "b" for word in add[1]), cwd=tmp_path)
    first.send_signal(signal.SIGCONT)
    for process in (first, second):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    added = {f"{letter}{i}" for letter in "ab" for i in range(5)}
    assert set(ids(tmp_path)[20:]) == added
