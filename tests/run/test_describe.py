import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fb_jax.run import describe, preflight
from fb_jax.run.describe import NO_TABLE


@pytest.fixture
def description(config, monkeypatch):
    disk = SimpleNamespace(free=5 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk)
    return describe(preflight(replace(config, device="cpu")))


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (
            "bond",
            "combination of clap_general and imagebind; expert with audio, text; anchor im",
        ),
        ("device", "cpu:0"),
        ("pairs", "130 from text, 90 from image, 110 from audio; 0.00 TFLOP; in "),
        ("mixture", "7 projectors of 3,776 parameters, from text, image, audio, text+image, "),
        (
            "steps",
            "66, batch 10, 2 epochs, each without up to 0 % of a projector's pairs (its last "
            "partial batch), projectors in turn in 4 lanes; 0.00 TFLOP",
        ),
        ("memory", "pairs 0.4 MB as float32 (held), a step about 0.7 MB"),
        (
            "disk",
            "pairs 0.1 MB as float16, 0.1 MB to be written, 5.00 GB free; checkpoints 1.0 MB, 5.00",
        ),
        ("fused", "64 dimensions, a million rows 128.0 MB as float16"),
        ("evaluation", "test (audio-image, audio-text, image-text), val (audio-image, "),
        ("choosing", "factors, on val, for mean"),
    ],
)
def test_a_run_is_described_with_what_it_will_do_and_take(description, label, says):
    assert description[label].startswith(says)


def test_pairs_that_do_not_fit_in_memory_are_read_from_disk(config):
    size = preflight(config).pairs.table_bytes()
    for room, says in ((size, "(held)"), (size - 1, "(read from disk)")):
        runtime = replace(config.runtime, resident_bytes=room)
        text = describe(preflight(replace(config, runtime=runtime)))
        assert f"as float32 {says}" in text["memory"]


def test_pairs_that_are_there_need_no_more_disk(config, run_folder):
    shutil.copytree(run_folder.parent / "pairs", config.store)
    assert "0.0 MB to be written" in describe(preflight(config))["disk"]


def test_a_pool_alone_is_told_to_give_no_table(config):
    for split in ("val", "test"):
        shutil.rmtree(config.data / split)
    told = describe(preflight(config))
    assert told["evaluation"] == NO_TABLE
    assert told["choosing"] == "nothing; factors are a preset's"


def test_without_validation_pairs_a_plan_says_that_nothing_is_chosen(config):
    shutil.rmtree(config.data / "val")
    assert describe(preflight(config))["choosing"].startswith("nothing: there is no split val with")
    parted = describe(preflight(replace(config, val_fraction=0.3, choose="audio-text")))
    assert parted["choosing"] == "factors, on 30 % of test, for audio-text"
    assert describe(preflight(replace(config, choose="none")))["choosing"].startswith("nothing;")
