import re
from pathlib import Path

import pytest

import fb_jax

README = Path(__file__).parents[1] / "README.md"


def test_everything_that_is_promised_is_there():
    assert fb_jax.__all__ == sorted(fb_jax.__all__)
    for name in fb_jax.__all__:
        assert getattr(fb_jax, name).__name__ == name


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'fb_jax' has no attribute 'train'"):
        fb_jax.train  # noqa: B018


def test_the_package_loads_jax_when_it_is_needed_and_not_before(python, tmp_path):
    code = (
        "import fb_jax, sys; print('jax' in sys.modules); fb_jax.Bond; print('jax' in sys.modules)"
    )
    assert python(code, cwd=tmp_path).stdout.split() == ["False", "True"]


NO_TORCH = "import sys; sys.modules['torch'] = None  # import torch is an ImportError now\n"


ARRAYS = """
import numpy as np
draw = lambda n, d: np.random.default_rng([n, d]).normal(size=(n, d)).astype(np.float32)
text_h, image_h, audio_h, new_audio_h = (draw(n, 16) for n in (40, 32, 36, 5))
text_p, audio_p, new_audio_p = (draw(n, 12) for n in (40, 36, 5))
"""


def test_the_readmes_example_runs_without_torch(python, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(example.strip().splitlines()) == 5
    quick = ", training=fb.Training(batch=8, epochs=1, hidden=16))\nrows"
    assert example.count(")\nrows") == 1
    code = NO_TORCH + ARRAYS + example.replace(")\nrows", quick) + "print(rows.shape)"
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(5, 16)")
