"""Templates and names of classes: where they come from, and what is refused."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fb_jax.datasets import Choice, read_content
from fb_jax.datasets.open_clip import clip_class_names, clip_templates
from fb_jax.datasets.prompts import templates_of
from fb_jax.errors import FreeBindError

METADATA = """
OPENAI_IMAGENET_TEMPLATES = (lambda c: f'a photo of a {c}.', lambda c: f'art of the {c}.')
IMAGENET_CLASSNAMES = ('tench', 'sea snake', 'kit fox')
"""


@pytest.fixture
def open_clip(tmp_path, monkeypatch) -> Path:
    """A package in the place of open_clip, whose import would fail."""
    package = tmp_path / "site/open_clip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imports torch')")
    (package / "zero_shot_metadata.py").write_text(METADATA)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "open_clip", raising=False)
    return package


@pytest.fixture
def without_open_clip(monkeypatch):
    monkeypatch.setattr("fb_jax.datasets.open_clip.find_spec", lambda name: None)


def test_imagenet_takes_templates_and_names_of_open_clip(official, open_clip):
    found = read_content("imagenet", official("imagenet"))
    assert found.about["templates"] == ["a photo of a {c}.", "art of the {c}."]
    assert found.about["class_names"] == "open_clip"
    texts = found.tables.items["text"]
    assert texts[3] == {"id": "n01751748#1", "caption": "art of the sea snake."}
    assert "open_clip" not in sys.modules


def test_without_open_clip_the_extra_and_other_ways_are_named(official, without_open_clip):
    root = official("imagenet")
    with pytest.raises(FreeBindError, match=r"\[open_clip\](.|\n)*--class-names"):
        read_content("imagenet", root)
    with pytest.raises(FreeBindError, match=r"\[open_clip\](.|\n)*--templates"):
        read_content("imagenet", root, Choice(class_names="list"))


def test_an_open_clip_of_another_form_is_refused(open_clip):
    (open_clip / "zero_shot_metadata.py").write_text("IMAGENET_CLASSNAMES = 3")
    with pytest.raises(FreeBindError, match="has no templates where"):
        clip_templates()
    with pytest.raises(FreeBindError, match="has no names where"):
        clip_class_names()


@pytest.mark.skipif(find_spec("open_clip") is None, reason="open_clip is not installed")
def test_the_library_has_80_templates_and_1000_names():
    assert (len(clip_templates()), len(clip_class_names())) == (80, 1000)
    assert clip_class_names()[65] == "sea snake"


def test_templates_by_name_from_a_file_and_as_they_are(tmp_path):
    (tmp_path / "own.txt").write_text("a {c}\n\nthe {c}, loud\n")
    asked = ("authors", "laion", str(tmp_path / "own.txt"), "hear {c}!")
    assert templates_of(asked) == (
        "an audio of {c}",
        "This is a sound of {c}.",
        "a {c}",
        "the {c}, loud",
        "hear {c}!",
    )


def test_a_template_without_a_place_and_an_unknown_name_are_refused(tmp_path):
    (tmp_path / "own.txt").write_text("a {}\n")
    with pytest.raises(FreeBindError, match=r"no place for the class\n +expected: +\{c\}"):
        templates_of([str(tmp_path / "own.txt")])
    with pytest.raises(FreeBindError, match=r"'lion'(.|\n)*laion(.|\n)*write \{c\} into"):
        templates_of(["lion"])
    (tmp_path / "own.txt").write_text("\n")
    with pytest.raises(FreeBindError, match="is empty"):
        templates_of([str(tmp_path / "own.txt")])


def test_names_of_classes_from_a_file(official, tmp_path):
    path = tmp_path / "names.txt"
    choice = Choice(templates=("authors",), class_names=str(path))
    path.write_text("a dog\na sip\n")
    found = read_content("esc50", official("esc50"), choice)
    captions = [item["caption"] for item in found.tables.items["text"]]
    assert captions == ["an audio of a dog", "an audio of a sip"]
    assert found.about["class_names"] == "names.txt"
    path.write_text("a dog\n")
    with pytest.raises(FreeBindError, match=r"more or fewer(.|\n)*2 names(.|\n)*1 names"):
        read_content("esc50", tmp_path / "official/esc50", choice)
    path.write_text("dog a dog\ndrinking_sipping a sip\n")
    with pytest.raises(FreeBindError, match=r"no names alone(.|\n)*dog a dog"):
        read_content("esc50", tmp_path / "official/esc50", choice)


def test_a_data_set_without_classes_has_no_prompts(official):
    with pytest.raises(FreeBindError, match=r"Clotho 2\.1 has no classes"):
        read_content("clotho", official("clotho"), Choice(templates=("laion",)))
