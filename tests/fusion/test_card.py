import re
from dataclasses import replace

import pytest

from fb_jax.fusion.card import model_card

FIGURES = {"R@1": 12.34, "R@5": 56.7}
METRICS = {"test": {"versatile": {"audio-text": FIGURES}, "internvl": {"image-text": FIGURES}}}


def test_the_card_lists_spaces_factors_licences_and_figures(product):
    card = model_card(replace(product, licences={"imagebind": "CC-BY-NC-SA-4.0"}), METRICS)
    for line in (
        "# internvl_ib_pp",
        "| imagebind | 64 | text, image, audio | CC-BY-NC-SA-4.0 |",
        "| clap_music | 48 | text, audio | unknown |",
        "- displacement: imagebind (64) is projected into internvl (56) by 7 projectors",
        "- combination: clap_general (48) is projected into internvl_ib (56) by 7 projectors",
        "- weights of the experts in internvl_ib: image 0.9, text 0.9",
        "- weights of the experts in internvl_ib_pp: audio 0.5, text 0.1",
        "- preset `at_expertise`: audio 0.8, text 0.5",
        "## Results on test",
        "| model | audio-text | image-text |",
        "| versatile | 12.3/56.7 |  |",
    ):
        assert line in card
    assert "Results" not in model_card(product)


SUBSETS = "text, image, audio, text+image, text+audio, image+audio, text+image+audio"


@pytest.mark.parametrize(
    ("which", "line"),
    [
        ("product", f"hidden width 8, trained on {SUBSETS}"),
        (
            "one",
            "- imagebind+clap_general is a direct sum of 112 dimensions: the spaces stand side by"
            " side; where a space lacks a modality, the projectors fill it in with 0.05 of the",
        ),
        (
            "tuned",
            "- audio rows of internvl_ib_tuned are those of imagebind_tuned, a tuned encoder",
        ),
    ],
)
def test_the_card_says_how_spaces_are_fused_and_its_example_runs(request, which, line, tmp_path):
    space = request.getfixturevalue(which)
    space.save(tmp_path / "kept")
    card = (tmp_path / "kept" / "README.md").read_text()
    assert line in card
    (example,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict = {}
    exec(example.replace("FOLDER", str(tmp_path / "kept")), names)
    assert names["fused"].shape == (1, space.dim)


def test_the_card_shows_whatever_metrics_there_are(product):
    figures = {"unified": {"audio-text": {"MRR": 12.34, "audio->text MRR": 12.0}}, "other": {}}
    text = model_card(product, {"val": figures})
    assert "MRR, mean of both directions" in text
    assert "| unified | 12.3 |" in text
    assert "| other |  |" in text
