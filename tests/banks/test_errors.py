import pytest

from fb_jax.errors import FreeBindError, unknown


def test_a_message_shows_what_where_expected_got_and_fix_if_they_are_known():
    error = FreeBindError("it broke", where="a.npy", expected=1, got=0, fix="mend it")
    lines = ["it broke", "where:    a.npy", "expected: 1", "got:      0", "fix:      mend it"]
    assert str(error).splitlines() == [lines[0], *(f"  {line}" for line in lines[1:])]
    assert str(FreeBindError("it broke", got=0)) == "it broke\n  got:      0"


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("clap_genral", {"internvl", "clap_general"}, "did you mean 'clap_general'?"),
        ("clap_genral", {"internvl", "clap_general"}, "one of: clap_general, internvl"),
        ("x", {}, "there is none here"),
    ],
)
def test_an_unknown_name_is_told_what_exists_and_what_is_nearest(name, known, says):
    assert says in str(unknown("space", name, known))


def test_an_unknown_name_that_resembles_nothing_gets_no_suggestion():
    assert "did you mean" not in str(unknown("space", "x", ["internvl"]))
