import sys

import numpy as np
import pytest

from encoders_torch.imagebind import ImageBind
from encoders_torch.imagebind.text import ClipTokenizer
from fb_jax.errors import FreeBindError

START, END = 49406, 49407


@pytest.fixture(scope="module")
def tokenizer():
    return ClipTokenizer()


def test_ids_are_the_released_code_s(tokenizer, goldens, items):
    found = np.stack([tokenizer(text) for text in items["text"]])
    assert found.dtype == np.int64
    assert np.array_equal(found, goldens["text.input"])


def test_there_are_49408_ids(tokenizer):
    assert tokenizer.tokenizer.get_vocab_size() == 49408


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_its_start_and_end(tokenizer, text):
    assert tokenizer(text).tolist() == [START, END] + [0] * 75


@pytest.mark.parametrize("text", ["dog " * 100_000, "a" * 100_000])
def test_a_long_text_is_cut_and_ended(tokenizer, text):
    found = tokenizer(text)
    assert (found.shape, found[0], found[-1]) == ((77,), START, END)
    assert ((found[1:-1] > 0) & (found[1:-1] < START)).all()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("A  DOG\n", "a dog"),
        ("&amp;amp;", "&"),
        ("<b> &amp;amp;", "<b> &"),
        ("“it’s”", '"it\'s"'),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_spellings_of_a_text_are_one(tokenizer, written, meant):
    assert np.array_equal(tokenizer(written), tokenizer(meant))


def test_a_missing_package_is_named_before_the_work_begins(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    says = r"package that reads captions is missing(.|\n)*pip install tokenizers ftfy"
    with pytest.raises(FreeBindError, match=says):
        ImageBind(weights)
