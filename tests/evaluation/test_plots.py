import numpy as np
import pytest
from matplotlib.image import imread

from fb_jax.evaluation import Sweep, plot_losses, plot_sweep, plots

RECORDS = [
    {"step": 10, "losses": {"text": 3.0, "text+audio": 4.0}, "rows_per_second": 1.0},
    {"step": 20, "losses": {"audio": 2.0, "text+audio": 3.5}, "rows_per_second": 1.0},
]
PRESETS = {"versatile": {"audio": 0.5, "text": 0.1}}


def test_every_projector_begins_at_its_own_first_step():
    """text begins at once; audio after the segment that ends at step 10."""
    assert plots._own_steps(RECORDS) == {
        "text": [(10, 3.0)],
        "text+audio": [(10, 4.0), (20, 3.5)],
        "audio": [(10, 2.0)],
    }


def surfaces(*values):
    shapes = {"audio-text": (2, 2), "image-text": (1, 2), "audio-image": (2, 1)}
    filled = zip(shapes.items(), values, strict=False)
    named = {pair: np.full(shape, float(value)) for (pair, shape), value in filled}
    return Sweep(("text", "audio"), (0.0, 1.0), named, dict.fromkeys(named, 1.0))


def picture(path):
    """Pixels of a real PNG [height, width, 4], not all alike."""
    assert path.read_bytes().startswith(b"\x89PNG")
    pixels = imread(path)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 10
    return pixels


def test_losses_become_a_picture_in_the_place_of_an_older_one(tmp_path):
    seen = []
    for records in (RECORDS, RECORDS[:1]):
        plot_losses(iter(records), tmp_path / "losses.png")
        seen.append(picture(tmp_path / "losses.png"))
    assert not np.array_equal(*seen)
    assert [path.name for path in tmp_path.iterdir()] == ["losses.png"]


@pytest.mark.parametrize("values", [[1], [1, 2, 3]], ids=["one flat panel", "three panels"])
def test_a_sweep_becomes_a_picture_with_a_panel_a_pair(tmp_path, values):
    plot_sweep(surfaces(*values), PRESETS, "a title", tmp_path / "sweep.png")
    height, width, _ = picture(tmp_path / "sweep.png").shape
    assert round(width / height, 1) == round((3.8 * len(values) + 1.2) / 4.4, 1)


def test_presets_are_marked(tmp_path):
    seen = []
    for presets in (PRESETS, {}):
        plot_sweep(surfaces(2), presets, "a title", tmp_path / "sweep.png")
        seen.append(picture(tmp_path / "sweep.png"))
    assert not np.array_equal(*seen)
