"""Pictures and pages of surfaces."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import plotly.io
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Sweep, plot_sweep, write_surfaces
from fb_jax.evaluation.surfaces import heat_maps
from fb_jax.evaluation.surfaces.pages import surfaces_figure
from fb_jax.evaluation.surfaces.panels import panels_of

GRID = (0.0, 0.5, 1.0)
AUDIO_TEXT = np.array([[10.0, 20.0, 30.0], [20.0, 40.0, 60.0], [10.0, 25.0, 30.0]])
SWEPT = Sweep(
    ("text", "audio"),
    GRID,
    {"audio-text": AUDIO_TEXT, "audio-class": AUDIO_TEXT + 5, "image-text": np.full((1, 3), 50.0)},
    {"audio-text": 10.0, "audio-class": 20.0, "image-text": 50.0},
    "lambda",
    {"audio-text": "R@1", "audio-class": "top-1", "image-text": "R@1"},
)
SOURCES = {
    "audio-text": {"unified": 10.0, "clap": 46.0, "mean_of_scores": 61.0},
    "audio-class": {"unified": 20.0, "clap": 35.0},
}
POINTS = {"chosen": {"audio": 0.5, "text": 1.0}, "versatile": {"audio": 0.5, "text": 0.1}}


class Balanced(HTMLParser):
    """Fails at an end tag that ends no open element."""

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        self.open += [] if tag == "meta" else [tag]
        self.loads += [value for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "new"
    return write_surfaces(SWEPT, SOURCES, POINTS, "a title </script>", folder, "figure_3")


def test_a_picture_and_a_page_are_written_and_nothing_else(written):
    assert [path.name for path in written] == ["figure_3.png", "figure_3.html"]
    assert sorted(written[0].parent.iterdir()) == sorted(written)
    assert written[0].read_bytes().startswith(b"\x89PNG")


def test_the_page_is_whole_and_loads_nothing(written):
    page = Balanced()
    page.feed(written[1].read_text())
    assert (page.open, page.loads) == ([], [])
    assert re.search(r'Plotly\.newPlot\(\s*"figure_3"', written[1].read_text())


def test_a_page_is_the_same_again(written, tmp_path):
    again = write_surfaces(SWEPT, SOURCES, POINTS, "a title </script>", tmp_path, "figure_3")
    assert again[1].read_bytes() == written[1].read_bytes()


def test_a_panel_holds_its_surface_its_sources_as_planes_and_the_best_point():
    written = surfaces_figure(SWEPT, SOURCES, POINTS, "t").to_json()
    figure = plotly.io.from_json(written)
    assert [note.text for note in figure.layout.annotations] == [
        "audio-text, R@1",
        "audio-class, top-1",
        "image-text, R@1",
    ]
    surface, *planes, marks = (t for t in figure.data if t.scene == "scene")
    np.testing.assert_array_equal(surface.z, AUDIO_TEXT.T - 10)  # text down
    assert json.loads(written)["data"][0]["text"][2][1] == (
        "<b>audio-text, R@1</b><br>lambda text 1, audio 0.5<br>60.0 %, +50.0 points"
    )
    found = {plane.name: (np.unique(plane.z).tolist(), plane.legendgroup) for plane in planes}
    assert found == {
        "unified": ([0.0], "unified"),
        "clap": ([36.0], "clap"),
        "mean_of_scores": ([51.0], "mean_of_scores"),
    }
    assert list(marks.text) == ["best 60.0", "chosen", "versatile"]
    assert [list(axis) for axis in (marks.x, marks.y, marks.z)] == [
        [0.5, 0.5, 0.5],
        [1.0, 1.0, 0.0],
        [50.0, 50.0, 10.0],
    ]


def test_all_panels_have_one_colour_scale_and_one_height():
    figure = surfaces_figure(SWEPT, SOURCES, POINTS, "t")
    scale = figure.layout.coloraxis
    assert (scale.cmin, scale.cmax) == (-50.0, 50.0)
    assert scale.colorbar.title.text == "change against<br>unified,<br>points"
    assert {t.coloraxis for t in figure.data if t.text is not None and t.type == "surface"} == {
        "coloraxis"
    }
    scenes = [figure.layout[name] for name in ("scene", "scene2", "scene3")]
    assert {scene.zaxis.range for scene in scenes} == {(-50 * 1.05, 51 * 1.05)}
    names = [t.name for t in figure.data if t.showlegend]
    assert names == ["unified", "clap", "mean_of_scores"]  # once each


def test_without_plotly_the_extra_is_named_and_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(FreeBindError, match=r"freebind-jax\[plots\]"):
        write_surfaces(SWEPT, SOURCES, POINTS, "t", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def drawn(monkeypatch, *args, **options):
    """Return the matplotlib figure of ``plot_sweep``."""
    kept: list[Figure] = []
    monkeypatch.setattr(heat_maps, "save_png", lambda figure, path: kept.append(figure))
    plot_sweep(*args, "somewhere.png", **options)
    return kept[0]


def test_the_picture_has_a_line_where_a_source_is_reached(monkeypatch):
    figure = drawn(monkeypatch, SWEPT, POINTS, "t", sources=SOURCES)
    panel = figure.axes[0]
    (meshes, *lines) = panel.collections
    assert meshes.get_array().max() == 50.0
    assert len(lines) == 1  # clap; unified is the least value, the mean of scores out of reach
    (vertices,) = (path.vertices for path in lines[0].get_paths())
    assert vertices[:, 0].min() > 0.0  # audio
    words = [text.get_text() for text in panel.texts]
    assert "best 60.0" in words
    assert any("mean_of_scores 61.0 (not reached)" in text.replace("\n", " ") for text in words)


def test_a_flat_surface_has_its_best_point_in_the_middle_and_no_line(monkeypatch):
    (panel,) = panels_of(replace(SWEPT, surfaces={"image-text": np.full((1, 3), 50.0)}), {}, {})
    assert (panel.best, panel.levels) == ((1, 1), {"unified": 50.0})
    figure = drawn(monkeypatch, SWEPT, POINTS, "t")
    assert len(figure.axes[2].collections) == 1


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (5, 2, 3)])
def test_panels_stand_in_rows_of_three(tmp_path, count, rows, columns):
    surfaces = {f"split{i} audio-text": AUDIO_TEXT for i in range(count)}
    swept = replace(SWEPT, surfaces=surfaces, unified=dict.fromkeys(surfaces, 10.0), metrics={})
    plot_sweep(swept, {}, "t", tmp_path / "sweep.png")
    height, width, _ = imread(tmp_path / "sweep.png").shape
    expected = (3.8 * columns + 1.2) / (4.1 * rows + 1.1)
    assert width / height == pytest.approx(expected, rel=0.01)


def test_presets_are_marked(tmp_path):
    seen = []
    for points in (POINTS, {}):
        plot_sweep(SWEPT, points, "a title", tmp_path / "sweep.png")
        seen.append(imread(tmp_path / "sweep.png"))
    assert not np.array_equal(*seen)
