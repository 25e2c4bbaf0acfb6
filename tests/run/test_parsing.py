from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fb_jax.errors import FreeBindError
from fb_jax.pseudo import Chunks, Retrieval
from fb_jax.run import RunConfig, parse_config
from fb_jax.training import Runtime, Training

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def file(tmp_path):
    """Write a YAML file and return the arguments that name it."""

    def file(text):
        (tmp_path / "my.yaml").write_text(text)
        return ["--config", str(tmp_path / "my.yaml")]

    return file


# Defaults


@pytest.mark.parametrize(("bond", "epochs"), [("combination", 20), ("displacement", 5)])
def test_defaults_are_the_papers(bond, epochs):
    config = parse_config(["--data", "banks", "--bond", bond])
    assert config.training.resolved(bond, {"text": range(32768)}) == Training(
        batch=4096,
        epochs=epochs,
        pipeline="freebind",
        hidden=2048,
        learning_rate=1e-3,
        temperature=0.02,
        noise=0.0,
        intra=0.0,
    )
    assert config.pairs.temperature == 0.01
    assert config.pool == "pool"


def test_a_run_goes_to_a_folder_of_its_name_unless_told_otherwise():
    named = {"unified": "imagebind", "expert": "internvl"}
    config = RunConfig(data=Path("banks"), bond="displacement", **named)
    assert config.folder == Path("runs/imagebind-displacement-internvl")
    assert replace(config, out=Path("here")).folder == Path("here")


def test_epochs_that_were_set_are_kept():
    set_here = Training(epochs=3, batch=5).resolved("combination", {"text": range(80)})
    assert (set_here.epochs, set_here.batch) == (3, 5)


# YAML and the command line


def test_a_yaml_file_sets_options_by_their_names(file):
    text = """
    data: my banks
    bond: displacement
    out: null
    dry_run: true
    pairs: {normalise: false, dtype: float32, chunks: {queries: 64}}
    training: {batch: 8, learning_rate: 0.5, symmetric: false, seed: 3, loss: "own:loss"}
    runtime: {lane_execution: vmap, checkpoint-minutes: 1e3}
    """
    assert replace(parse_config(file(text)), config=None) == RunConfig(
        data=Path("my banks"),
        bond="displacement",
        dry_run=True,
        pairs=Retrieval(normalise=False, dtype="float32", chunks=Chunks(queries=64)),
        training=Training(batch=8, learning_rate=0.5, symmetric=False, seed=3, loss="own:loss"),
        runtime=Runtime(lane_execution="vmap", checkpoint_minutes=1000.0),
    )


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("joined", [True, False])
def test_the_command_line_wins_over_the_file(file, first, joined):
    named = file("{data: a, training: {batch: 8, seed: 7}}")
    named = ["=".join(named)] if joined else named
    own = ["--data", "b", "--training.batch", "16"]
    config = parse_config([*named, *own] if first else [*own, *named])
    assert (config.data, config.training) == (Path("b"), Training(batch=16, seed=7))


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(data=Path("banks")),
        RunConfig(
            data=Path("my banks"),
            bond="displacement",
            out=Path("out"),
            device="cpu",
            choose="audio-text, others no worse than unified",
            val="dev",
            val_fraction=0.25,
            pairs=Retrieval(normalise=False, precision="bf16"),
            training=Training(learning_rate=1e-5, symmetric=False),
            runtime=Runtime(lane_execution="map", loggers=("wandb", "mlflow")),
        ),
    ],
    ids=["defaults", "others"],
)
def test_options_round_trip_through_a_yaml_file(file, config):
    found = parse_config(file(yaml.safe_dump(config.to_dict())))
    assert replace(found, config=None) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_of_the_repository_is_read(path):
    parse_config(["--data", "banks", "--config", str(path)])


def test_the_papers_config_says_what_the_defaults_are(file):
    (path,) = (path for path in CONFIGS if path.name == "paper.yaml")
    found = parse_config(["--data", "banks", "--config", str(path)])
    starts = {"text": range(10**6)}
    resolved = [
        replace(c, config=None, training=c.training.resolved(c.bond, starts))
        for c in (found, RunConfig(data=Path("banks")))
    ]
    assert resolved[0] == resolved[1]


# What is refused


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("training: {bach: 3}", "--training.batch"),
        ("traning: {epochs: 3}", "--training.epochs"),
        ("expret: internvl", "--expert"),
    ],
)
def test_an_unknown_key_in_a_file_is_refused_with_the_file_and_the_nearest_name(
    file, capsys, option, near
):
    with pytest.raises(SystemExit, match="2"):
        parse_config(["--data", "banks", *file(option)])
    told = capsys.readouterr().err
    assert f"Perhaps you meant:" in told  # noqa: F541
    assert near in told
    assert "my.yaml" in told


@pytest.mark.parametrize(
    ("option", "near"),
    [("--training.bach", "--training.batch"), ("--expret", "--expert"), ("--dryrun", "--dry-run")],
)
def test_an_unknown_option_is_refused_with_the_nearest_name(capsys, option, near):
    with pytest.raises(SystemExit, match="2"):
        parse_config(["--data", "banks", option, "3"])
    told = capsys.readouterr().err
    assert f"Unrecognized options: {option}" in told
    assert near in told


WRONG = [
    ("training.batch", "three", "three"),
    ("training.learning-rate", "fast", "fast"),
    ("bond", "fusion", "combination"),
    ("device", "tpu", "cpu"),
    ("training.precision", "float16", "bf16"),
]


@pytest.mark.parametrize(("option", "value", "told"), WRONG)
@pytest.mark.parametrize("where", ["file", "command line"])
def test_a_wrong_value_is_refused_with_its_option(file, capsys, where, option, value, told):
    key, _, inner = option.partition(".")
    text = f"{key}: {{{inner}: {value}}}" if inner else f"{key}: {value}"
    args = file(text) if where == "file" else [f"--{option}", value]
    with pytest.raises(SystemExit, match="2"):
        parse_config(["--data", "banks", *args])
    error = capsys.readouterr().err
    assert f"--{option}" in error
    assert told in error
    assert ("my.yaml" in error) == (where == "file")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("training.batch", "1"),
        ("training.seed", "4294967296"),
        ("training.learning-rate", "nan"),
        ("training.temperature", "inf"),
        ("runtime.checkpoint-minutes", "nan"),
        ("pairs.temperature", "0"),
        ("pairs.chunks.queries", "0"),
    ],
)
def test_a_size_or_rate_out_of_its_range_is_refused(option, value):
    name = option.split(".")[-1].replace("-", "_")
    with pytest.raises(FreeBindError, match=rf"{name} is out of range(.|\n)*got:"):
        parse_config(["--data", "banks", f"--{option}", value])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "must hold options by name(.|\n)*got: +list"),
        ("", "must hold options by name(.|\n)*got: +NoneType"),
        ("a: [", "cannot be read(.|\n)*line 1"),
    ],
    ids=["a list", "empty", "no YAML"],
)
def test_a_file_that_is_no_mapping_is_refused(file, text, says):
    with pytest.raises(FreeBindError, match=f"{says}") as refused:
        parse_config(["--data", "banks", *file(text)])
    assert "my.yaml" in str(refused.value)


def test_a_file_that_does_not_exist_is_refused():
    with pytest.raises(FreeBindError, match=r"a config file is missing\n.*nowhere\.yaml"):
        parse_config(["--data", "banks", "--config", "nowhere.yaml"])


@pytest.mark.parametrize("option", ["--bond", "--unified", "--expert", "--dim"])
def test_what_a_product_sets_is_refused_beside_it(option):
    for args in ([option, "2"], [f"{option}=2"]):
        with pytest.raises(FreeBindError, match=rf"a product sets these(.|\n)*--product, {option}"):
            parse_config(["--product", "imagebind_pp", *args])
