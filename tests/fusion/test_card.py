import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given, settings
from hypothesis import strategies as st
from made import every_kind, random_product, with_hubs

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


def test_the_example_of_a_hub_correction_gives_both_kinds_of_row(product, tmp_path):
    space = with_hubs(product)
    space.save(tmp_path / "kept")
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "- hub correction of audio-text (k 3, alpha 0.75): an item that is near to" in card
    (example,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict = {}
    exec(example.replace("FOLDER", str(tmp_path / "kept")), names)
    assert names["query"].shape == names["item"].shape == (1, space.role_dim)
    assert "model.encode_query([item])" in model_card(space, modules=True)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("cmcr", "clip (56) and clap (48) are projected into a new space, each by 1 cmcr project"),
        ("exmcr", "ulip (40) is projected into clip (56) by 1 exmcr projector of hidden width 8"),
    ],
)
def test_the_card_names_what_is_projected_by_another_pipeline(kind, line):
    card = model_card(every_kind()[kind])
    assert {"cmcr": "by C-MCR (Wang", "exmcr": "by Ex-MCR (Zhang"}[kind] in card
    assert f"- {kind}: {line}" in card
    assert "| clip | 56 | text, image | unknown |" in card
    assert "| clap | 48 | text, audio | unknown |" in card


def test_the_card_shows_whatever_metrics_there_are(product):
    figures = {"unified": {"audio-text": {"MRR": 12.34, "audio->text MRR": 12.0}}, "other": {}}
    text = model_card(product, {"val": figures})
    assert "MRR, mean of both directions" in text
    assert "| unified | 12.3 |" in text
    assert "| other |  |" in text


# The header that the hub reads


def header(space, metrics=None, **options) -> dict:
    return yaml.safe_load(model_card(space, metrics, **options).split("---\n")[1])


def test_the_header_says_what_is_known_and_nothing_else(product):
    assert header(product) == {
        "license": "unknown",
        "library_name": "freebind-jax",
        "pipeline_tag": "feature-extraction",
        "tags": ["freebind", "embeddings", "multimodal", "text", "image", "audio"],
    }
    assert header(product, modules=True)["library_name"] == "sentence-transformers"
    assert model_card(product).startswith("---\nlicense: ")


@pytest.mark.parametrize(
    ("licences", "wanted"),
    [
        (["MIT"] * 4, {"license": "mit"}),
        (["CC-BY-NC-SA-4.0"] * 4, {"license": "cc-by-nc-sa-4.0"}),
        (["My Own (2.0)"] * 4, {"license": "other", "license_name": "my-own-2.0"}),
        (["知"] * 4, {"license": "other", "license_name": "unnamed"}),
        (["MIT"], {"license": "other", "license_name": "mit-and-unknown"}),
        (
            ["CC-BY-NC-SA-4.0", "MIT", "CC0-1.0", "CC0-1.0"],
            {"license": "other", "license_name": "cc-by-nc-sa-4.0-and-mit-and-cc0-1.0"},
        ),
    ],
)
def test_several_licences_are_one_of_another_kind_by_name(product, licences, wanted):
    known = dict(zip(product.spaces, licences, strict=False))
    found = header(replace(product, licences=known))
    assert {name: part for name, part in found.items() if "license" in name} == wanted


def test_encoders_of_the_hub_are_base_models(product):
    encoders = {
        "imagebind": "imagebind",
        "internvl": "hf:openai/clip-vit-base-patch32",
        "clap_music": "st:sentence-transformers/clip-ViT-B-32",
        "clap_general": "st:/a/folder/here",
    }
    bases = ["openai/clip-vit-base-patch32", "sentence-transformers/clip-ViT-B-32"]
    assert header(replace(product, encoders=encoders))["base_model"] == bases


def test_figures_of_the_space_are_its_model_index(product):
    own = {"R@1": 12.34, "MRR": None}
    metrics = {
        "test": {
            "versatile": {"audio-text": own, "image-text": {"R@1": np.float64(3).item()}},
            "internvl": {"image-text": {"R@1": 50.0}},  # another model's figures
            "internvl_ib_pp": {"audio-text": {"R@1": 13.0}},
        },
        "val": {"at_expertise": {"audio-text": {"MRR": None}}},
    }
    (model,) = header(product, metrics)["model-index"]
    assert model["name"] == "internvl_ib_pp"
    audio, image = model["results"]
    assert audio["task"] == {"type": "retrieval", "name": "audio-text retrieval"}
    assert audio["dataset"] == {"type": "test", "name": "test, audio-text", "split": "test"}
    assert audio["metrics"] == [
        {"type": "R@1", "value": 12.34, "name": "R@1, versatile"},
        {"type": "R@1", "value": 13.0, "name": "R@1, internvl_ib_pp"},
    ]
    assert image["metrics"] == [{"type": "R@1", "value": 3.0, "name": "R@1, versatile"}]


@pytest.mark.parametrize(
    ("space", "own"),
    [
        (every_kind()["cut"], ["equal, 24 dimensions"]),
        (with_hubs(every_kind()["cut"]), ["equal, 24 dimensions", "equal, hub-corrected"]),
        (every_kind()["direct sum"], ["equal"]),
    ],
)
def test_the_figures_are_those_of_the_cut_and_corrected_space(space, own):
    names = ("equal", "equal, 24 dimensions", "equal, hub-corrected", "unified, hub-corrected")
    metrics = {"val": {name: {"audio-text": {"R@1": 1.0}} for name in names}}
    ((result,),) = (model["results"] for model in header(space, metrics)["model-index"])
    assert [figure["name"] for figure in result["metrics"]] == [f"R@1, {name}" for name in own]


def test_the_hubs_library_reads_the_header_and_writes_the_same(product):
    known = dict.fromkeys(product.spaces, "MIT") | {"internvl": "CC0-1.0"}
    encoders = {"internvl": "hf:owner/model"}
    space = replace(product, licences=known, encoders=encoders)
    text = model_card(space, METRICS)
    card = ModelCard(text)
    assert card.text.lstrip().startswith("# internvl_ib_pp")
    assert card.data.to_dict() == header(space, METRICS)
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == FIGURES
    again = ModelCardData(**header(space, METRICS))
    assert again.to_dict() == header(space, METRICS)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


PRODUCT = random_product()


@settings(max_examples=50, deadline=None)
@given(NAMES, NAMES)
def test_any_licence_and_name_leave_the_header_whole(name, licence):
    space = PRODUCT.named(name)
    space = replace(space, licences=dict.fromkeys(space.spaces, licence))
    figures = {"test": {name: {"audio-text": {"R@1": 1.0}}}}
    found = ModelCard(model_card(space, figures)).data
    assert found.model_name == space.title
    assert found.license in ("other", licence.lower())
