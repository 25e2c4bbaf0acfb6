from fb_jax.banks import open_split, splits
from fb_jax.cli.main import main
from tests.datasets.layouts import audiocaps, clotho, esc50, imagenet

WHERE = ("--root", "official", "--out", "banks")


def test_a_data_set_becomes_a_split_and_its_counts_are_printed(invoke, tmp_path):
    audiocaps(tmp_path / "official")
    (tmp_path / "official/audio/-BC_1234567.wav").unlink()
    done = invoke(main, "data", "audiocaps", *WHERE)
    assert done.status == 0
    assert done.out.splitlines() == [
        "banks/audiocaps: AudioCaps 1.0, test",
        "             in the list   on the disk  in the paper",
        "  audio                3             2           964",
        "  text                 6             4",
        "  nobody has published which 964 clips of test the paper had",
        "  missing: 1 file: audio/-BC_1234567.wav",
        "  all of them: banks/audiocaps/missing.jsonl",
    ]
    assert "3 items, but the official list of test has 975" in done.err
    again = invoke(main, "data", "audiocaps", *WHERE)
    assert (again.status, again.out, again.err) == (0, done.out, "")
    split = open_split("banks", "audiocaps")
    assert len(split.read_pairs("audio", "text")) == 4


def test_other_templates_are_refused_and_go_into_another_split(invoke, tmp_path):
    esc50(tmp_path / "official")
    done = invoke(main, "data", "esc50", *WHERE)
    assert "  templates: 'This is a sound of {c}.'\n  names of classes: list\n" in done.out
    other = ("data", "esc50", *WHERE, "--templates", "authors", "a {c}")
    done = invoke(main, *other)
    assert done.status == 2
    assert "other choices" in done.err
    assert "templates.0 an audio of {c}, templates.1 a {c} (asked for)" in done.err
    assert "templates.0 This is a sound of {c}., templates.1 not there (already" in done.err
    assert "--split NAME makes a new split" in done.err
    done = invoke(main, *other, "--split", "esc50-authors")
    assert (done.status, splits("banks")) == (0, ["esc50", "esc50-authors"])
    assert "  templates: 'an audio of {c}' and 1 other\n" in done.out


def test_a_subset_has_a_name_of_its_own_or_is_the_pool(invoke, tmp_path):
    clotho(tmp_path / "official")
    for old in ("clotho_captions_evaluation.csv", "evaluation"):
        (tmp_path / "official" / old).rename(
            tmp_path / "official" / old.replace("evaluation", "development")
        )
    development = ("data", "clotho", *WHERE, "--subset", "development")
    assert invoke(main, *development).status == 0
    assert invoke(main, *development, "--split", "pool", "--captions", 1).status == 0
    assert splits("banks") == ["clotho-development", "pool"]
    assert len(open_split("banks", "pool").items("text")) == 3


def test_errors_come_before_anything_is_written(invoke, tmp_path):
    imagenet(tmp_path / "official")
    for args, says in [
        (("imagnet",), "did you mean 'imagenet'"),
        (("imagenet", "--subset", "train"), "no subset 'train'"),
        (("imagenet", "--split", "a/b"), "cannot name a split"),
        (("imagenet", "--split", ""), "a shell variable that is not set"),
        (("clotho",), "clotho_captions_evaluation.csv"),
        (("imagenet", "--captions", -1), "captions is out of range"),
        (("imagenet", "--class-names", "list", "--templates", "x"), "write {c} into a template"),
    ]:
        done = invoke(main, "data", *args, *WHERE)
        assert done.status == 2
        assert says in done.err
    assert not (tmp_path / "banks").exists()
