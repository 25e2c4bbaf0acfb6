import numpy as np
import pytest

from examples.word_world import corpus
from examples.word_world.corpus import choose_words, media_name, plan, speak
from examples.word_world.pictures import draw, find_fonts
from examples.word_world.recipe import DOMAINS, TINY
from examples.word_world.speech import Speaker
from fb_jax.errors import FreeBindError

pytestmark = pytest.mark.usefixtures("debian")


def test_the_seed_decides_the_words():
    assert choose_words(TINY, 0) == choose_words(TINY, 0)
    assert choose_words(TINY, 0)["test"] != choose_words(TINY, 1)["test"]


def test_a_dictionary_with_too_few_words_is_refused(tmp_path, monkeypatch):
    (tmp_path / "words").write_text("one\ntwo\n")
    monkeypatch.setattr(corpus, "DICTIONARY", tmp_path / "words")
    with pytest.raises(FreeBindError, match="too few words"):
        choose_words(TINY, 0)


def test_the_error_names_the_missing_package(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "DICTIONARY", tmp_path / "words")
    with pytest.raises(FreeBindError, match="apt install wamerican"):
        corpus.require_packages()


def test_pools_are_drawn_independently_and_names_sort_by_row():
    texts, folders = plan(TINY, 0)
    words = {media.folder: media.words for media in folders}
    assert set(texts["pool/text.txt"]) != set(words["pool/image"]) != set(words["pool/audio"])
    names = [media_name(row, word) for row, word in enumerate(words["test/audio"])]
    assert names == sorted(names)
    assert texts["test/text.txt"] == list(words["test/audio"]) == list(words["test_music/audio"])


def test_the_same_seed_draws_the_same_picture():
    fonts = find_fonts()
    first, again, other = (
        np.asarray(draw("word", fonts, 0.1, np.random.default_rng(seed))) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.std() > 10


def test_the_longest_word_is_drawn_smaller_to_fit_its_picture():
    image = np.asarray(draw("w" * 12, find_fonts(), 0.0, np.random.default_rng(0)), float)
    drawn = image.max(axis=0) > 2 * image.min()
    assert drawn.mean() > 0.8


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_word_is_spoken_in_every_domain(domain):
    speaker = Speaker()
    wave = speak(speaker, "word", domain, np.random.default_rng(0))
    assert wave.dtype == np.float32
    assert 0.1 < len(wave) / speaker.sample_rate < 2
    assert 0.05 < np.abs(wave).max() <= 1
    longer = speak(speaker, "considerable", domain, np.random.default_rng(0))
    assert len(longer) > len(wave)


def test_a_voice_that_does_not_exist_is_refused():
    with pytest.raises(FreeBindError, match=r"no such voice\n.*xx-none"):
        Speaker().say("word", "xx-none", 170, 50)
