"""The tuned audio encoder in the authors' layout: random numbers, their keys."""

import numpy as np
import pytest
import torch
from torch import nn
from twin.released import mixed, random_projector

from encoders_torch.imagebind.tuned import TunedImageBind
from encoders_torch.loading import load_encoder
from fb_jax.errors import FreeBindError

HIDDEN, DIM = 8, 6


class Released(nn.Module):
    """A module whose state dict has the released keys: ``ib.`` and ``ib_head.projectors.N.``."""

    def __init__(self, trunk, dim_in):
        super().__init__()
        self.ib = trunk
        self.ib_head = nn.Module()
        members = [random_projector(seed, dim_in, HIDDEN, DIM) for seed in range(7)]
        self.ib_head.projectors = nn.ModuleList(members)

    def forward(self, clips):
        return mixed([(self.ib_head.projectors, self.ib(clips))])


@pytest.fixture
def released(encoder):
    return Released(encoder.tower("audio"), encoder.dim).eval()


@pytest.fixture
def put(tmp_path, released):
    """Write the released file, changed; return its path."""

    def put(change=lambda state: None):
        state = dict(released.state_dict())
        change(state)
        torch.save(state, tmp_path / "tuned.pt")
        return tmp_path / "tuned.pt"

    return put


def test_the_released_file_gives_the_rows_of_its_module(released, put, items):
    tuned = load_encoder("imagebind_tuned", put(), "cpu")
    assert (tuned.modalities, tuned.dim) == (("audio",), DIM)
    assert "audio tuned by FreeBind's authors" in tuned.name
    clips = [tuned.read("audio", path) for path in items["audio"]]
    with torch.no_grad():
        wanted = released(torch.from_numpy(np.stack(clips))).numpy()
    np.testing.assert_allclose(tuned.rows("audio", clips), wanted, atol=1e-6)


def test_in_bfloat16_rows_are_near(put, items):
    whole, half = TunedImageBind(put()), TunedImageBind(put(), precision="bfloat16")
    assert half.name == f"{whole.name}, in bfloat16"
    clips = [whole.read("audio", path) for path in items["audio"]]
    found, wanted = half.rows("audio", clips), whole.rows("audio", clips)
    assert (found * wanted).sum(1).min() > 0.999
    assert not np.array_equal(found, wanted)


def test_the_order_of_the_projectors_does_not_matter(put, items):
    def turn(state):
        keys = [key for key in state if key.startswith("ib_head")]
        old = {key: state.pop(key) for key in keys}
        for key, value in old.items():
            number = int(key.split(".")[2])
            state[key.replace(f".{number}.", f".{(number + 3) % 7}.", 1)] = value

    first, turned = TunedImageBind(put()), TunedImageBind(put(turn))
    clips = [first.read("audio", items["audio"][0])]
    np.testing.assert_allclose(first.rows("audio", clips), turned.rows("audio", clips), atol=1e-6)


def test_what_no_audio_needs_is_passed_over(put):
    def more(state):
        state["ib.modality_postprocessors.audio.1.log_logit_scale"] = torch.tensor(3.0)
        state["ib.modality_trunks.depth.blocks.0.norm_1.weight"] = torch.zeros(4)

    TunedImageBind(put(more))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("ib.modality_heads.audio.0.bias"), "missing: modality_heads.audio.0.bias"),
        (lambda s: s.update({"ib.more": torch.zeros(2)}), "surplus: more"),
        (lambda s: s.update({"more": torch.zeros(2)}), "too many: more"),
        (lambda s: s.pop("ib_head.projectors.4.Head2.mlps.3.bias"), r"missing: mlps\.3\.bias"),
        (
            lambda s: [s.pop(k) for k in list(s) if k.startswith("ib_head.projectors.6.")],
            "missing: 6;",
        ),
        (
            lambda s: s.update({"ib_head.projectors.2.Head2.mlps.0.weight": torch.zeros(3, 3)}),
            "do not fit together",
        ),
        (
            lambda s: s.update({"ib.modality_heads.audio.2.weight": torch.zeros(3, 4)}),
            "of shape",
        ),
    ],
)
def test_a_file_of_another_layout_is_refused(put, change, says):
    with pytest.raises(FreeBindError, match=says):
        TunedImageBind(put(change))


@pytest.mark.parametrize("missing", [None, "nowhere.pt"])
def test_without_a_file_it_is_told_what_to_get(tmp_path, missing):
    with pytest.raises(FreeBindError, match=r"no tuned audio encoder\n(.|\n)*encoders_torch.tune"):
        TunedImageBind(missing and tmp_path / missing)


def test_other_modalities_are_refused(put):
    tuned = TunedImageBind(put())
    for call in (lambda: tuned.read("text", "a"), lambda: tuned.rows("image", [np.zeros(2)])):
        with pytest.raises(FreeBindError, match="there is no modality"):
            call()
