"""docs/extending.md: its snippets, one after another, as a reader would run them."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told(python, tmp_path_factory) -> str:
    """What all of them print."""
    done = python("\n".join(SNIPPETS), cwd=tmp_path_factory.mktemp("reader"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_section_has_a_snippet():
    sections = PAGE.split("\n## ")[1:]
    assert [s.splitlines()[0] for s in sections if "```python" in s] == [
        *("A space", "An expert", "A product", "A modality", "An encoder"),
        *("A loss", "A direction", "A metric", "A logger"),
    ]


@pytest.mark.parametrize("pair", ["image-text", "audio-text", "depth-text"])
def test_what_is_added_improves_what_the_unified_space_knows(told, pair):
    found = re.findall(rf"{pair}: R@1 (\S+) -> (\S+)", told)
    assert len(found) == 1
    assert all(float(before) < float(after) <= 100 for before, after in found)


def test_a_plan_can_be_looked_at(told):
    assert "from text:\n  ~image^e = A(text^u; image^u -> image^e)\n" in told


def test_an_encoder_makes_a_bank(told):
    assert "\n(3, 26)\n" in told


def test_a_direction_a_metric_and_a_logger_do_what_they_say(told):
    assert "\nexpert 48\n" in told
    assert "(R@1 / R@3 / MRR)" in told
    assert told.endswith("step 48: 8 losses\n")
