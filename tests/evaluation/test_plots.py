import numpy as np
from matplotlib.image import imread

from fb_jax.evaluation import plot_losses, plots

RECORDS = [
    {"step": 10, "losses": {"text": 3.0, "text+audio": 4.0}, "rows_per_second": 1.0},
    {"step": 20, "losses": {"audio": 2.0, "text+audio": 3.5}, "rows_per_second": 1.0},
]


def test_every_projector_begins_at_its_own_first_step():
    """text begins at once; audio after the segment that ends at step 10."""
    assert plots._own_steps(RECORDS) == {
        "text": [(10, 3.0)],
        "text+audio": [(10, 4.0), (20, 3.5)],
        "audio": [(10, 2.0)],
    }


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
