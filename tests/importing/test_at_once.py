"""Several commands on one bank root at once: each succeeds, waits, or says why it does not."""

import signal

import numpy as np
import pytest
from disturb import At, start, wait_until_stopped

from fb_jax.banks import Split, open_banks, verify_split

FREEBIND = ("-c", "from fb_jax.cli.main import main; main()")
ROWS = np.eye(50, dtype=np.float32)


@pytest.fixture
def command(tmp_path):
    """Start ``freebind bank`` with these words, in a folder with rows and pairs."""
    np.save(tmp_path / "rows.npy", ROWS)
    (tmp_path / "pairs.csv").write_text("".join(f"{i},{i}\n" for i in range(50)))
    started = []

    def command(words, at=()):
        process = start(*FREEBIND, "bank", *words.split(), at=at, cwd=tmp_path)
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.communicate()


def end(process):
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def bank(space, modality, split="val-2017"):
    where = f"--root banks --split {split} --space {space} --modality {modality}"
    return f"import rows.npy {where}"


def require_both(root):
    verify_split(Split(root / "banks/val-2017"))
    banks = open_banks(root / "banks", "val-2017", spaces=["a", "b"])
    np.testing.assert_array_equal(banks["a", "text"][:], ROWS)
    np.testing.assert_array_equal(banks["b", "text"][:], ROWS)


def test_an_import_waits_while_another_writes_the_list(command, tmp_path):
    first = command(bank("a", "text"), [At("os.replace", do="SIGSTOP", on=r"items/text\.jsonl")])
    wait_until_stopped(first)
    second = command(bank("b", "text"))
    first.send_signal(signal.SIGCONT)
    assert end(first) == end(second) == (0, "")
    require_both(tmp_path)


def test_a_list_that_another_import_brings_meanwhile_is_not_lost(command, tmp_path):
    first = command(bank("a", "text"), [At("fb_jax.importing.lists._require_known", do="SIGSTOP")])
    wait_until_stopped(first)
    assert end(command(bank("b", "text"))) == (0, "")
    first.send_signal(signal.SIGCONT)
    assert end(first) == (0, "")
    require_both(tmp_path)


def test_two_imports_of_one_bank_do_not_mix(command, tmp_path):
    first = command(bank("a", "text"), at=[At("os.replace", do="SIGSTOP", on="emb_")])
    wait_until_stopped(first)
    status, says = end(command(bank("a", "text")))
    assert (status, "another process is writing here" in says) == (2, True)
    first.send_signal(signal.SIGCONT)
    assert end(first) == (0, "")
    verify_split(Split(tmp_path / "banks/val-2017"))


def test_pairs_wait_for_an_import(command, tmp_path):
    for modality in ("audio", "text"):
        assert end(command(bank("a", modality))) == (0, "")
    first = command(
        bank("a", "image"), at=[At("os.replace", do="SIGSTOP", on=r"items/image\.jsonl")]
    )
    wait_until_stopped(first)
    pairs = command("pairs pairs.csv --root banks --split val-2017 --left audio --right text")
    first.send_signal(signal.SIGCONT)
    assert end(first) == end(pairs) == (0, "")
    verify_split(Split(tmp_path / "banks/val-2017"))
