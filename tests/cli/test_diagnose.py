import pytest

from fb_jax import files
from fb_jax.cli.main import main as freebind

SMALL = ("--items", 50, "--queries", 10, "--neighbours", 5)


def test_spaces_are_those_that_a_training_takes(must, root, tmp_path):
    out = must(freebind, "diagnose", "--data", root, *SMALL, "--json", tmp_path / "out.json")
    for part in ("text^e; audio^e", "unchecked", "round trips", "Expected gain"):
        assert part in out
    assert "clap_general at versatile: expect audio-image to " in out
    found = files.read_json(tmp_path / "out.json")
    assert found["spaces"] == ["imagebind", "clap_general"]
    assert found["hops"]["clap_general"]["image"]["image^u; text^u"]["keys"] == 130
    assert found["sampling"] == {"items": 50, "queries": 10, "neighbours": 5, "seed": 0}


def test_several_experts_are_compared_with_each_other(must, root, tmp_path):
    experts = ("--unified", "imagebind", "--expert", "internvl", "clap_general")
    json = ("--json", tmp_path / "out.json", "--temperature", 1.0)
    out = must(freebind, "diagnose", "--data", root, *SMALL, *experts, *json)
    assert "start text: soft retrieval (text^e; image^e) spreads over " in out
    found = files.read_json(tmp_path / "out.json")
    assert set(found["likeness"]["internvl, clap_general"]) == {"text"}
    assert list(found["expected"]) == ["internvl", "clap_general"]


def test_after_a_bond_the_fused_space_stands_beside_the_others(must, run_folder, tmp_path):
    args = ("--run", run_folder, *SMALL, "--json", tmp_path / "out.json")
    must(freebind, "diagnose", *args, "--split", "test")
    found = files.read_json(tmp_path / "out.json")
    assert found["spaces"] == ["imagebind", "clap_general", "imagebind+clap_general"]
    assert found["items"] == {"text": 50, "image": 50, "audio": 50}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--run", "RUN", "--expert", "x"), "a run has its own spaces"),
        (("--data", "ROOT", "--expert", "imagebint"), "did you mean 'imagebind'"),
        (("--data", "ROOT", "--temperature", 0), "temperature is out of range"),
        (("--data", "ROOT", "--items", 3), "items is out of range"),
    ],
)
def test_mistakes_are_named(invoke, root, run_folder, args, message):
    named = {"RUN": run_folder, "ROOT": root}
    done = invoke(freebind, "diagnose", *(named.get(arg, arg) for arg in args))
    assert done.status == 2
    assert message in done.err
