from examples.word_world import beyond
from examples.word_world.claims import judge
from fb_jax import files

KEPT = files.read_json(beyond.HERE / "results" / "beyond.json")["seeds"]


def test_the_page_has_the_figures_and_verdicts_that_are_kept(capsys):
    beyond.main()
    printed = capsys.readouterr().out.splitlines()
    page = (beyond.HERE.parents[1] / "docs" / "beyond.md").read_text()
    for claim in beyond.CLAIMS:
        verdict, by, _ = judge(claim, KEPT)
        assert f"{by.mean:+.1f} [{by.low:+.1f}, {by.high:+.1f}]" in page, claim.says
        (line,) = (line for line in printed if line.startswith(f"| {claim.says} |"))
        assert line.endswith(f"| **{verdict}** |")
    assert sum("**holds**" in line for line in printed) == 6


def test_the_claims_are_about_one_space_and_these_margins():
    assert {claim.model for claim in beyond.CLAIMS} == {"one, hub-corrected"}
    assert [claim.margin for claim in beyond.CLAIMS] == [8.0, 0.0, 1.5, 1.5, 1.0, 0.0]
    assert [seed["items"] for seed in KEPT] == [1000] * 3
