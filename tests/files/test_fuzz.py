import pytest
from fuzz import TARGETS, attempt, make_home, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TOKENS = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"-3",
    b"0.9",
    b"true",
    b'"\\ud800"',
    b"../x",
    b"1" + b"0" * 400,
    b"1e400",
    b"[" * 5000,
    b"\xff",
    b"\x00",
    b"!!binary x",
    b"&a [*a]",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A sound file for every target."""
    home = tmp_path_factory.mktemp("fuzz")
    make_home(home)
    return home


@pytest.mark.parametrize("name", TARGETS)
@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused_with_our_error(home, name, data):
    target = TARGETS[name]
    whole = (home / target.file).read_bytes()
    content = data.draw(st.sampled_from(seeds(target, home)))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, max(len(content) - 1, 0)))
        width = data.draw(st.sampled_from([0, 1, 1, 4, 40, len(content)]))
        token = data.draw(st.sampled_from(TOKENS) | st.binary(max_size=4))
        content = content[:start] + token + content[start + width :]
    try:
        attempt(target, home, content)
    finally:
        (home / target.file).write_bytes(whole)


@pytest.mark.parametrize("name", TARGETS)
def test_the_sound_files_are_read(home, name):
    target = TARGETS[name]
    for seed in seeds(target, home):
        assert attempt(target, home, seed) or name == "bond"  # it has no checkpoints here
