import pytest

from encoders_torch.encoder import provenance
from encoders_torch.loading import BACKENDS, find_encoder, known_encoders, load_encoder
from fb_jax.errors import FreeBindError

TOY = """
from encoders_torch.encoder import FrozenEncoder

class Toy(FrozenEncoder):
    def __init__(self, weights, device, colour="none"):
        about = {"dim": 4, "modalities": ("text",), "licence": "CC0-1.0"}
        super().__init__(name="toy", weights_sha256="0" * 64, **about)
        self.made_with = weights, device, colour
    def read(self, modality, item): ...
    def encode(self, modality, batch): ...

class Half:
    name = "half"
    def __init__(self, weights, device): ...
"""
ENTRY_POINTS = """
[freebind.encoders]
toy_space = my_encoders:Toy
"""


@pytest.fixture(autouse=True)
def my_encoders(tmp_path, monkeypatch):
    """A module and an installed package that offers it by entry point."""
    (tmp_path / "my_encoders.py").write_text(TOY)
    package = tmp_path / "my_encoders-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: my-encoders\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["my_encoders:Toy", "toy_space"])
def test_an_encoder_is_found_by_module_and_class_or_by_entry_point(tmp_path, name):
    made = load_encoder(name, tmp_path / "weights", "cpu")
    assert made.made_with == (tmp_path / "weights", "cpu", "none")
    assert provenance(made).licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("toy_spaec", "no encoder 'toy_spaec'(.|\n)*did you mean 'toy_space'"),
        ("my_encoder:Toy", "cannot be imported(.|\n)*No module named 'my_encoder'"),
        ("my_encoders:Tay", "cannot be imported(.|\n)*no attribute 'Tay'"),
        ("my_encoders:Half", "this is no encoder(.|\n)*base class .*FrozenEncoder\n.*got: +Half"),
    ],
)
def test_what_is_no_encoder_is_refused(name, says):
    with pytest.raises(FreeBindError, match=says):
        load_encoder(name, None, "cpu")


@pytest.mark.parametrize(("name", "backend"), [(n, b) for n in BACKENDS for b in BACKENDS[n]])
def test_a_backend_is_another_encoder_of_the_same_space(name, backend):
    chosen, own = find_encoder(name, backend), find_encoder(name)
    assert chosen is not own
    assert getattr(chosen, "published", None) is getattr(own, "published", None)


@pytest.mark.parametrize(
    ("name", "backend", "says"),
    [
        (
            "clap_music",
            "laion-clap",
            "clap_music\n.*one of: laion_clap\n.*did you mean 'laion_clap'",
        ),
        ("imagebind", "laion_clap", "imagebind\n.*one of: upstream"),
        ("internvl", "upstream", "internvl\n.*there is none here"),
        ("my_encoders:Toy", "upstream", "my_encoders:Toy\n.*there is none here"),
    ],
)
def test_a_backend_that_a_space_has_not_is_refused_with_those_it_has(name, backend, says):
    with pytest.raises(FreeBindError, match=rf"no backend '{backend}'\n.*{says}"):
        load_encoder(name, None, "cpu", backend)


def test_an_option_reaches_the_encoder_that_takes_it_and_is_refused_by_others():
    assert load_encoder("my_encoders:Toy", None, "cpu", colour="red").made_with[2] == "red"
    with pytest.raises(FreeBindError, match=r"this encoder has no --precision\n.*my_encoders:Toy"):
        load_encoder("my_encoders:Toy", None, "cpu", precision="bfloat16")


def test_a_permission_is_for_the_encoders_that_need_it_and_others_ignore_it():
    """So that internvl can be exported, or searched, together with other spaces."""
    load_encoder("my_encoders:Toy", None, "cpu", trust_remote_code=True)


def test_without_torch_it_is_told_how_to_get_it(python, tmp_path):
    code = "import sys; sys.modules['torch'] = None; import encoders_torch"
    done = python(code, cwd=tmp_path)
    assert "encoders_torch needs torch: make encoders, or pip install" in done.stderr


def test_encoders_are_found_beside_the_backport_of_importlib_metadata():
    """MLflow imports it, and it adds a finder with entry points of another type."""
    pytest.importorskip("importlib_metadata")
    assert "clap_general" in known_encoders()
