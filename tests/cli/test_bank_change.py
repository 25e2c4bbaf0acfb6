import numpy as np
import pytest

from fb_jax.banks import Split
from fb_jax.cli.main import main


@pytest.fixture
def bank(invoke, tmp_path, monkeypatch):
    """Run ``freebind bank ...`` in a folder with new.npy, two rows, and a bank s/text of three."""
    monkeypatch.chdir(tmp_path)
    np.save("new.npy", np.eye(2, dtype=np.float32))
    np.save("old.npy", -np.eye(3, 2, dtype=np.float32) + 0.5)
    run = lambda *args: invoke(main, "bank", *args)  # noqa: E731
    assert run("import", "old.npy", *WHERE, "--space", "s").status == 0
    return run


WHERE = ("--root", "banks", "--split", "pool", "--modality", "text")


def test_a_bank_grows_and_info_tells_it(bank):
    done = bank("import", "new.npy", *WHERE, "--space", "s", "--append")
    assert done.status == 0, done.err
    assert "5 x 2 float16, 0 missing, 2 shards" in done.out
    assert bank("import", "new.npy", *WHERE, "--space", "s", "--append").status == 0
    told = bank("info", "banks").out
    assert "  items text: 5\n" in told
    assert "grown from 3" in told
    assert "grown from 3" in bank("verify", "banks").out
    done = bank("import", "new.npy", *WHERE, "--space", "s", "--append", "--dry-run")
    assert (done.status, "--append has no dry run" in done.err) == (2, True)


def test_items_are_removed_by_their_ids(bank, tmp_path):
    (tmp_path / "ids.txt").write_text("1\n\n0\n")
    done = bank("remove", *WHERE, "--ids", "0")
    assert done.out == "1 text items removed\n2 of 3 rows are left\n"
    done = bank("remove", *WHERE, "--ids-file", "ids.txt")
    assert done.out == "1 text items removed, 1 were already\n1 of 3 rows are left\n"
    assert Split("banks/pool").items("text").removed.tolist() == [0, 1]
    assert "  items text: 3, 2 removed\n" in bank("info", "banks").out
    for args, says in ((["--ids", "9"], "nothing was removed"), ([], "no item is named")):
        done = bank("remove", *WHERE, *args)
        assert done.status == 2
        assert says in done.err
