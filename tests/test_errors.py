import numpy as np
import pytest

from fb_jax.errors import MOST_CHARACTERS, FreeBindError, require_range, unknown


def test_a_message_shows_what_where_expected_got_and_fix_if_they_are_known():
    error = FreeBindError("it broke", where="a.npy", expected=1, got=0, fix="mend it")
    lines = ["it broke", "where:    a.npy", "expected: 1", "got:      0", "fix:      mend it"]
    assert str(error).splitlines() == [lines[0], *(f"  {line}" for line in lines[1:])]
    assert str(FreeBindError("it broke", got=0)) == "it broke\n  got:      0"


def test_a_message_is_of_bounded_length_and_controls_no_terminal():
    full = MOST_CHARACTERS * "x"
    assert str(FreeBindError(full)) == full
    middle = " ... (1,002 characters) ... "
    long = str(FreeBindError(f"a{full}b", got=f"a{full}b"))
    assert (
        long
        == f"a{full[:499]}{middle}{full[:499]}b\n  got:      a{full[:499]}{middle}{full[:499]}b"
    )
    assert str(FreeBindError("\x1b\r", where="ü\n\t\u202e")) == (
        "\\x1b\\r\n  where:    ü\n\t\\u202e"
    )
    assert len(str(unknown("space", full * 9, [full * 9]))) < 5 * MOST_CHARACTERS


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("clap_genral", {"internvl", "clap_general"}, "did you mean 'clap_general'?"),
        ("clap_genral", {"internvl", "clap_general"}, "one of: clap_general, internvl"),
        ("clap_genral", {"internvl", "clap_general"}, "where:    pool\n"),
        ("clap_genral", {"internvl", "clap_general"}, "'clap_general'? look there"),
        ("x", {}, "there is none here"),
    ],
)
def test_an_unknown_name_is_told_what_exists_and_what_is_nearest(name, known, says):
    assert says in str(unknown("space", name, known, "pool", "look there"))


def test_of_many_names_only_near_ones_are_listed():
    many = {*(f"task {i}" for i in range(500)), "esc50"}
    assert "expected: one of 501 names, such as esc50" in str(unknown("task", "esc5", many))
    assert str(unknown("task", "#", many)) == "there is no task '#'\n  expected: one of 501 names"


def test_an_unknown_name_that_resembles_nothing_gets_no_suggestion():
    assert "did you mean" not in str(unknown("space", "x", ["internvl"]))


NO_NUMBERS = [True, np.bool_(True), None, "1", [1], float("nan"), float("inf"), 1j]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 8, 4.5, 2.0, np.float32(2)])
def test_a_count_is_a_whole_number_in_its_range(value):
    require_range("training", 1, 7, batch=1, epochs=7, hidden=np.int64(3))
    with pytest.raises(FreeBindError) as refused:
        require_range("training", 1, 7, batch=3, epochs=value)
    assert str(refused.value).splitlines() == [
        "training epochs is out of range",
        "  expected: a whole number, 1 to 7",
        f"  got:      {value!r}",
    ]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 9.9e-5, 100.1, -1, 101])
def test_a_rate_is_a_number_in_its_range(value):
    require_range("retrieval", 1e-4, 100.0, low=1e-4, high=100.0, whole=2, single=np.float32(3.5))
    with pytest.raises(FreeBindError, match=r"temperature is.*\n.*: a number, 0.0001 to 100\n"):
        require_range("retrieval", 1e-4, 100.0, temperature=value)
