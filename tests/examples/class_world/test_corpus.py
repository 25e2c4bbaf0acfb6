import numpy as np
import pytest

from examples.class_world.classes import CLASSES, GLYPHS, caption, couples, labels, names
from examples.class_world.corpus import CHECKS, LABELLED, PHRASES, labelled, plan
from examples.class_world.encoders import MOST_CHARACTERS, read_phrase
from examples.class_world.pictures import HEIGHT, WIDTH, characters, draw
from examples.class_world.recipe import TINY
from examples.word_world.pictures import find_fonts
from fb_jax.errors import FreeBindError


def test_a_scene_is_named_in_order():
    assert names("seven, star") == ["seven", "star"]
    assert caption("seven, star", "the sound of {c}") == "the sound of seven and star"
    assert caption("star", "This is a sound of {c}.") == "This is a sound of star."
    assert labels(["star", "zero, star"]) == [
        (0, CLASSES.index("star")),
        (1, 0),
        (1, CLASSES.index("star")),
    ]
    assert len(set(couples())) == len(CLASSES) * (len(CLASSES) - 1)


def test_every_caption_and_prompt_can_be_read():
    longest = max(couples(), key=len)
    phrases = [phrase for kind in PHRASES.values() for phrase in kind]
    phrases += [template for _, templates in LABELLED.values() for template in templates]
    for phrase in phrases:
        assert read_phrase(caption(longest, phrase)).sum() <= MOST_CHARACTERS


def test_letters_count_and_case_and_punctuation_do_not():
    np.testing.assert_array_equal(read_phrase("A star."), read_phrase("a star"))
    assert (read_phrase("a star") != read_phrase("astar")).any()
    assert read_phrase("ab").argmax(axis=1)[:2].tolist() == [0, 1]


@pytest.mark.parametrize("phrase", ["", "123.", "a" * (MOST_CHARACTERS + 1)])
def test_a_phrase_that_cannot_be_read_is_refused(phrase):
    with pytest.raises(FreeBindError, match="short phrases only"):
        read_phrase(phrase)


def test_scenes_of_the_galleries_are_nowhere_else():
    texts, folders = plan(TINY, 0)
    scenes = {media.folder: set(media.words) for media in folders}
    known = set().union(
        *(own for name, own in scenes.items() if name.split("/")[0] in ("train", "pool"))
    )
    assert not scenes["test/audio"] & (known | scenes["val/audio"])
    assert not scenes["val/audio"] & known
    assert set(texts["train/scenes.txt"]) == scenes["train/general"] == scenes["train/image"]
    assert scenes["pool/audio"] != scenes["pool/image"]


def test_every_folder_has_a_seed_of_its_own_and_the_world_s_decides_all():
    texts, folders = plan(TINY, 0)
    assert len({media.seed for media in folders}) == len(folders)
    assert (texts, folders) == plan(TINY, 0)
    assert texts != plan(TINY, 1)[0]


def test_prompts_are_the_templates_of_every_class_in_turn():
    texts, _ = plan(TINY, 0)
    for name in (*LABELLED, *CHECKS):
        templates = labelled(name)[1]
        lines = texts[f"{name}/text.csv"]
        assert lines[0] == "id,caption"
        assert lines[len(templates)] == f"zero#4,{caption('zero', templates[4])}"
        assert len(lines) == 1 + len(CLASSES) * len(templates)


def test_a_gallery_has_a_caption_of_each_kind_for_every_scene():
    texts, _ = plan(TINY, 0)
    ids = [line.split(",")[0] for line in texts["test/text.csv"][1:]]
    assert len(ids) == 2 * TINY.gallery
    assert ids[0].endswith("#0")
    assert ids[1] == ids[0][:-1] + "1"


@pytest.mark.usefixtures("debian")
def test_every_symbol_is_in_several_fonts():
    known = [characters(font) for font in find_fonts()]
    for glyphs in GLYPHS.values():
        for glyph in glyphs:
            assert sum(ord(glyph) in own for own in known) >= 10


@pytest.mark.usefixtures("debian")
def test_two_symbols_stand_side_by_side_and_the_seed_decides_how():
    fonts = find_fonts()
    picture = lambda scene, seed: draw(scene, fonts, 0.0, np.random.default_rng(seed))  # noqa: E731
    both = np.asarray(picture("square, circle", 0), float)
    assert both.shape == (HEIGHT, WIDTH)
    for half in (both[:, : WIDTH // 2], both[:, WIDTH // 2 :]):
        assert half.max() - half.min() > 20
    np.testing.assert_array_equal(both, np.asarray(picture("square, circle", 0)))
    assert (both != np.asarray(picture("square, circle", 1))).any()
