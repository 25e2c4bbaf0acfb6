"""mteb judges fused spaces: on banks, and on words that are spoken, drawn and written here."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mteb
import numpy as np
import pytest
import soundfile
from made import corrected_scores, random_bond, with_hubs
from mteb import mocks
from mteb._create_dataloaders import create_dataloader
from mteb.get_tasks import _TASKS_REGISTRY
from PIL import Image
from sklearn.metrics import ndcg_score

from encoders_torch.queries import load_encoders
from examples.word_world.corpus import media_name, speak
from examples.word_world.encoders import WordEncoder
from examples.word_world.exports import export_media, text_and_folders
from examples.word_world.pictures import draw, find_fonts
from examples.word_world.recipe import TINY
from examples.word_world.speech import Speaker
from fb_jax import files
from fb_jax.banks import Split, open_banks, unit_rows
from fb_jax.cli.main import main
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import retrieval
from fb_jax.evaluation.models import fused_rows
from fb_jax.fusion import Embedder, FusedSpace
from fb_jax.interop.mteb import fused_model, native_model
from fb_jax.interop.mteb_banks import bank_model, bank_tasks
from fb_jax.interop.mteb_items import as_items
from fb_jax.interop.mteb_judge import TABLE_1, can_judge, find_tasks, judge
from tests.encoders_torch.conftest import Toy, offline  # noqa: F401
from tests.examples.conftest import debian  # noqa: F401

SPACES = ("imagebind", "clap_general")
WORDS = ("apple", "bridge", "candle", "dolphin", "engine", "forest", "garden", "hammer")
BOTH = [f"{name}=tests.encoders_torch.conftest:Toy" for name in ("house", "phones")]
METRICS = ("R@1", "R@5", "R@10", "MRR")


def word_space():
    dims = {name: (name, TINY.spaces[name].dim) for name in SPACES}
    return FusedSpace.of(random_bond("combination", *dims.values(), ("text", "audio")))


@pytest.fixture(scope="module")
def many(root, tmp_path_factory):
    """A split whose audios have several texts, some texts several audios. Read only."""
    home = tmp_path_factory.mktemp("many")
    shutil.copytree(root / "test", home / "test")
    rng = np.random.default_rng(0)
    table = np.unique(rng.integers(0, 50, (90, 2)), axis=0)  # some items have no pair
    Split(home / "test").write_pairs("audio", "text", table)
    for path in (home / "test/pairs").glob("image-text.*"):
        path.unlink()
    return home


@pytest.fixture(scope="module")
def banks(many):
    return open_banks(many, "test", spaces=SPACES)


@pytest.fixture(scope="module")
def space(make_bond):
    return FusedSpace.of(make_bond("combination"), name="two")


# On banks


@pytest.fixture
def models(space, banks):
    """The fused space at two sets of factors, one that is not normalised, and a native one."""
    plain = FusedSpace.of(*space.last.bonds, normalise=False)
    spaces = {"versatile": space.at("versatile"), "expert": space.at("at_expertise")}
    return {
        **{name: (bank_model(s, banks), fused_rows(s, banks)) for name, s in spaces.items()},
        "plain": (bank_model(plain, banks), fused_rows(plain, banks)),
        "native": (
            bank_model("clap_general", banks),
            {m: banks["clap_general", m][:] for m in ("audio", "text")},
        ),
    }


def test_scores_of_mteb_equal_ours_on_the_same_rows(models, banks, tmp_path):
    tasks = {task.metadata.name: task for task in bank_tasks(banks, "Many")}
    assert list(tasks) == [f"Many{code}Retrieval" for code in ("A2I", "I2A", "A2T", "T2A")]
    table = banks.pairs("audio", "text")
    for name in ("versatile", "plain", "native"):
        model, rows = models[name]
        ours = retrieval(rows["audio"], rows["text"], table, ("audio", "text"), METRICS)
        for code, direction in (("A2T", "audio->text"), ("T2A", "text->audio")):
            found = judge(model, tasks[f"Many{code}Retrieval"], tmp_path)
            for metric in METRICS:
                wanted = ours[f"{metric} {direction}"]
                assert found[metric] == pytest.approx(wanted, abs=1e-3), (name, metric)
        assert found["nDCG@10"] == pytest.approx(ndcg(rows["text"], rows["audio"], table[:, ::-1]))


def ndcg(queries, gallery, table):
    """Return nDCG@10 as scikit-learn computes it, in percent as mteb rounds it."""
    relevant = np.zeros((len(queries), len(gallery)))
    relevant[tuple(table.T)] = 1
    asked = relevant.any(axis=1)
    return 100 * round(ndcg_score(relevant[asked], (queries @ gallery.T)[asked], k=10), 5)


def test_queries_and_documents_of_mteb_are_the_roles_of_a_hub_correction(space, banks, tmp_path):
    corrected, plain = with_hubs(space), fused_rows(space, banks)
    model, table = bank_model(corrected, banks), banks.pairs("audio", "text")
    assert model.mteb_model_meta.embed_dim == corrected.role_dim
    ways = {"A2T": ("audio", "text", table), "T2A": ("text", "audio", table[:, ::-1])}
    tasks = {task.metadata.name: task for task in bank_tasks(banks, "Many")}
    for code, (asking, find, pairs) in ways.items():
        scores = corrected_scores(corrected, asking, plain[asking], find, plain[find])
        first = np.stack([np.arange(len(scores)), scores.argmax(axis=1)], axis=1)
        hits = set(map(tuple, first.tolist())) & set(map(tuple, pairs.tolist()))
        found = judge(model, tasks[f"Many{code}Retrieval"], tmp_path)["R@1"]
        assert found == pytest.approx(100 * len(hits) / len(np.unique(pairs[:, 0])), abs=1e-3)


def test_a_judgement_is_kept_under_the_digest_of_what_it_depends_on(models, banks, tmp_path):
    task, counted = bank_tasks(banks, "Many")[2], []
    (first, _), (other, _) = models["versatile"], models["expert"]
    done = judge(first, task, tmp_path, 7, counted.append)
    assert sum(counted) == len(np.unique(banks.pairs("audio", "text")[:, 0])) + 60
    assert max(counted) == 7
    again = replace(first, rows_of=lambda *_: pytest.fail("encoded again"))
    assert judge(again, task, tmp_path) == done
    assert judge(other, task, tmp_path) != done
    damaged = next((tmp_path / "results").rglob(f"{other.revision}/**/Many*.json"))
    damaged.write_text("{")
    with pytest.raises(
        FreeBindError, match=r"cannot judge(.|\n)*JSONDecode(.|\n)*remove a damaged"
    ):
        judge(other, task, tmp_path)
    kept = {path.parent.relative_to(tmp_path / "results") for path in tmp_path.rglob("Many*.json")}
    assert {path.parts[1] for path in kept} == {first.revision, other.revision}
    about = files.read_json(next(tmp_path.rglob("model_meta.json")))
    assert about["name"] == "freebind/two-of-banks"
    assert (about["embed_dim"], about["similarity_fn_name"]) == (64, "cosine")
    assert set(about["experiment_kwargs"]) == {"audio", "text"}
    assert sorted(about["modalities"]) == ["audio", "image", "text"]


def test_rows_of_banks_answer_only_for_their_own_items(models, banks, root, tmp_path):
    foreign = bank_tasks(open_banks(root, "test", spaces=SPACES), "Other")[2]
    with pytest.raises(FreeBindError, match=r"only serves rows of banks(.|\n)*OtherA2TRetrieval"):
        judge(models["versatile"][0], foreign, tmp_path)
    with pytest.raises(FreeBindError, match=r"lacks a modality(.|\n)*ManyA2I(.|\n)*clap_general"):
        judge(models["native"][0], bank_tasks(banks, "Many")[0], tmp_path)
    with pytest.raises(FreeBindError, match="no pairs between modalities that mteb has"):
        bank_tasks(open_banks(root, spaces=SPACES), "Pool")


# From media


@pytest.fixture(scope="module")
def world(debian, tmp_path_factory):  # noqa: F811
    """Words as media, their banks by two random encoders, and the encoders. Read only."""
    home = tmp_path_factory.mktemp("words")
    rng, speaker, fonts = np.random.default_rng(0), Speaker(), find_fonts()
    for kind in ("audio", "image"):
        (home / "media" / kind).mkdir(parents=True)
    for row, word in enumerate(WORDS):
        name, wave = media_name(row, word), speak(speaker, word, "general", rng)
        soundfile.write(home / f"media/audio/{name}.wav", wave, speaker.sample_rate)
        draw(word, fonts, 0.1, rng).save(home / f"media/image/{name}.png")
    (home / "media/text.txt").write_text("\n".join(WORDS) + "\n")
    for name in SPACES:
        recipe = TINY.spaces[name]
        towers = WordEncoder.towers(recipe.modalities, recipe.dim, recipe.width)
        WordEncoder.save(home / f"{name}.safetensors", towers, name, recipe)
        media = text_and_folders(home / "media", recipe.modalities)
        weights = home / f"{name}.safetensors"
        export_media(home / "banks", "test", name, WordEncoder, weights, media)
    split = Split(home / "banks/test")
    table = np.stack([np.arange(len(WORDS))] * 2, axis=1)
    for pair in (("audio", "text"), ("audio", "image"), ("image", "text")):
        split.write_pairs(*pair, table)
    word_space().save(home / "space", "imagebind_pp")
    return home


@pytest.fixture(scope="module")
def embedder(world):
    encoders = {name: WordEncoder(world / f"{name}.safetensors") for name in SPACES}
    return Embedder(word_space().at("versatile"), encoders, batch=8)


@pytest.fixture(scope="module")
def pairs_of_models(world, embedder):
    """Models that encode media, each with the one that serves its exported rows."""
    banks = open_banks(world / "banks", "test", spaces=SPACES)
    natives = [(native_model(embedder, name), bank_model(name, banks)) for name in SPACES]
    return [(fused_model(embedder), bank_model(embedder.space, banks)), *natives]


@pytest.fixture(scope="module")
def tasks(world):
    banks = open_banks(world / "banks", "test", spaces=SPACES)
    every = bank_tasks(banks, "Words", world / "media")
    return {task.metadata.name.removesuffix("Retrieval")[5:]: task for task in every}


def encoded(model, task, side="queries"):
    """Return a model's rows, by way of mteb's own loader."""
    asked = mteb.types.PromptType.query if side == "queries" else mteb.types.PromptType.document
    dataset = task.dataset["default"]["test"][side]
    about = {"task_metadata": task.metadata, "prompt_type": asked}
    loader = create_dataloader(dataset, batch_size=8, **about)
    return model.encode(loader, hf_split="test", hf_subset="default", **about)


def test_media_give_mteb_the_rows_and_figures_of_their_exported_banks(
    pairs_of_models, tasks, tmp_path
):
    judged = []
    for model, rows in pairs_of_models:
        for code in ("A2T", "I2A"):
            if can_judge(model, tasks[code]):
                for side in ("queries", "corpus"):
                    found, wanted = (encoded(m, tasks[code], side) for m in (model, rows))
                    np.testing.assert_allclose(found, wanted, atol=2e-3)
                found, wanted = (judge(m, tasks[code], tmp_path) for m in (model, rows))
                assert found == wanted
                judged.append((model.name, code))
    both = [("imagebind+clap_general", "A2T"), ("imagebind+clap_general", "I2A")]
    assert judged == [*both, ("imagebind", "A2T"), ("imagebind", "I2A"), ("clap_general", "A2T")]


def test_the_same_media_in_other_forms_give_the_same_rows(world, embedder, tasks):
    model = fused_model(embedder)
    wanted = encoded(model, tasks["A2T"])
    paths = sorted((world / "media/audio").iterdir())
    sounds = [soundfile.read(path, dtype="float32") for path in paths]
    stereo = [{"array": np.stack([x] * 2), "sampling_rate": rate} for x, rate in sounds]
    mono = [{"array": x.tolist(), "sampling_rate": rate} for x, rate in sounds]
    whole = [{"bytes": path.read_bytes(), "path": None} for path in paths]
    for form in (stereo, mono, whole):
        np.testing.assert_allclose(model.rows_of({"audio": form}, None), wanted, atol=1e-6)
    drawn = [Image.open(path) for path in sorted((world / "media/image").iterdir())]
    wanted = encoded(model, tasks["I2A"])
    np.testing.assert_allclose(model.rows_of({"image": drawn}, None), wanted, atol=1e-6)


def test_a_recording_is_written_with_the_same_bytes_each_time():
    sound = {"array": np.sin(np.arange(100)), "sampling_rate": 8000}
    with as_items("audio", [sound, sound]) as (first, second):
        assert first.read_bytes() == second.read_bytes()  # CLAP's crop depends on the digest
    assert not first.exists()


def test_an_item_of_several_modalities_is_the_unit_sum_of_its_parts(embedder, tasks):
    model, task = fused_model(embedder), tasks["I2T"].dataset["default"]["test"]
    texts, images = list(task["corpus"]["text"]), [row["image"] for row in task["queries"]]
    rows = [model.rows_of({"text": texts}, None), model.rows_of({"image": images}, None)]
    both = model.rows_of({"text": texts, "image": [*images[:-1], None], "id": texts}, None)
    np.testing.assert_allclose(both[:-1], unit_rows(rows[0] + rows[1])[:-1], atol=1e-6)
    np.testing.assert_allclose(both[-1], rows[0][-1], atol=1e-6)
    for batch in ({"text": [None], "image": [None]}, {"video": ["v"]}):
        with pytest.raises(FreeBindError, match="nothing that the model encodes"):
            model.rows_of(batch, None)


class Plain:
    """An encoder with no more than ``Embedder`` asks for."""

    def read(self, modality, item): ...

    def rows(self, modality, reads): ...


def test_the_meta_data_are_honest(embedder, caplog):
    meta = fused_model(embedder).mteb_model_meta
    assert (meta.license, meta.embed_dim) == ("apache-2.0", TINY.spaces["imagebind"].dim)
    assert meta.experiment_kwargs == dict(embedder.space.factors)
    same = fused_model(replace(embedder, batch=1)).revision
    other = replace(embedder, space=embedder.space.at("at_expertise"))
    toys = {**embedder.encoders, "clap_general": Toy()}
    revisions = [
        fused_model(e).revision for e in (embedder, other, replace(embedder, encoders=toys))
    ]
    assert (len(set(revisions)), same) == (3, revisions[0])
    mixed = fused_model(replace(embedder, encoders=toys)).mteb_model_meta
    assert mixed.license == "multiple"
    assert native_model(
        replace(embedder, encoders=toys), "clap_general"
    ).mteb_model_meta.license == ("cc0-1.0")
    for licences, named in (({}, "apache-2.0"), ({"imagebind": "unknown"}, None)):
        some = replace(embedder, space=replace(embedder.space, licences=licences))
        assert fused_model(some).mteb_model_meta.license == named
    assert caplog.text == ""
    fused_model(replace(embedder, encoders=dict.fromkeys(SPACES, Plain())))
    assert "imagebind: its encoder does not say which weights it has" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        "MockAny2AnyRetrievalI2TTask",
        "MockImageTextPairClassificationTask",
        "MockZeroShotClassificationTask",
        "MockMultiChoiceTask",  # its queries have an image and a text
    ],
)
def test_tasks_that_mteb_brings_for_trying_models_run(name, tmp_path):
    shapes = {"imagebind": Toy(), "clap_general": Toy()}
    space = FusedSpace.of(
        random_bond("combination", ("imagebind", 4), ("clap_general", 4), ("text", "audio"))
    )
    model = fused_model(Embedder(space, shapes))
    scores = judge(model, getattr(mocks, name)(), tmp_path)
    assert all(0 <= score <= 100 for score in scores.values())


# The tasks of Table 1, and the command


def test_the_tasks_of_table_1_are_those_of_mteb():
    for match in TABLE_1:
        for name in match.tasks:
            about = _TASKS_REGISTRY[name].metadata
            assert about.superseded_by is None
            (stats,) = about.descriptive_stats.values()
            size = stats["num_samples"]
            if len(match.tasks) == 2:
                found = [stats.get(f"num_{kind}", size // 2) for kind in ("queries", "documents")]
            else:
                found = [size]
            assert all(f"{count:,} " in match.here for count in found), (name, found)
            assert ("video" in about.modalities) != match.comparable
    assert len(find_tasks(["all"])) == 10
    with pytest.raises(
        FreeBindError, match=r"no task of mteb 'ESC50_Zeroshut'(.|\n)*ESC50_Zeroshot"
    ):
        find_tasks(["ESC50_Zeroshut"])


def test_the_command_judges_a_space_and_its_sources_on_banks(invoke, many, space, banks):
    space.save("space")
    args = ("--space", "space", "--data", many, "--sigma-audio", 0.25, "--sources", "--out", "kept")
    status, out, err = invoke(main, "mteb", *args)
    assert (status, err) == (0, "")
    at = fused_rows(space.with_factors(audio=0.25), banks)
    ours = retrieval(at["audio"], at["text"], banks.pairs("audio", "text"), ("audio", "text"))
    cell = f"{ours['R@1 audio->text']:.2f}/{ours['R@5 audio->text']:.2f},"
    assert f"two, audio 0.25, text {space.factors['text']:g}" in out
    lines = {line.split()[1]: line for line in out.splitlines() if line.startswith("│")}
    assert cell in lines[f"{many.name}-test-A2TRetrieval"]
    assert lines[f"{many.name}-test-A2TRetrieval"].count("/") == 3
    assert lines[f"{many.name}-test-A2IRetrieval"].count("/") == 2  # the expert has no images
    assert "results of mteb: kept" in out


@pytest.fixture
def flickr30k(tasks, monkeypatch):
    """Fill the two tasks of mteb for Flickr30k with our words."""
    for code in ("I2T", "T2I"):
        kind, ours = _TASKS_REGISTRY[f"Flickr30k{code}Retrieval"], tasks[code]

        def load_data(self, ours=ours, **_):
            self.dataset, self.data_loaded = {"default": dict(ours.dataset["default"])}, True

        monkeypatch.setattr(kind, "load_data", load_data)


def test_the_command_sets_the_papers_figures_beside_those_of_mteb(invoke, world, flickr30k):
    encoders = [f"{name}=examples.word_world.encoders:WordEncoder" for name in SPACES]
    weights = [f"{name}={world / name}.safetensors" for name in SPACES]
    names = ("Flickr30kI2TRetrieval", "Flickr30kT2IRetrieval")
    args = ("--space", world / "space", "--preset", "at_expertise", "--tasks", *names, "--sources")
    status, out, err = invoke(main, "mteb", *args, "--encoder", *encoders, "--weights", *weights)
    assert status == 0, err
    assert "imagebind: loading the encoder examples.word_world" in err
    (line,) = [line for line in out.splitlines() if "flickr30k (paper)" in line]
    fused, native, expert = (cell.strip() for cell in line.split("│")[2:5])
    assert fused.endswith(" (78.52/94.37)")  # ImageBind++, AT-Expertise
    assert native.endswith(" (86.04/96.97)")
    assert expert == ""
    kept = [json.loads(path.read_text()) for path in Path("mteb").rglob("Flickr30k*.json")]
    assert [result["task_name"] for result in kept].count(names[0]) == 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "either --tasks or --data"),
        (("--tasks", "all", "--data", "banks"), "either --tasks or --data"),
        (("--tasks", "Nothing"), "there is no task of mteb 'Nothing'"),
        (("--tasks", "Nothing"), "freebind mteb lists those of Table 1"),
        (("--tasks", "ESC50_Zeroshot"), "name one: --encoder house=ENCODER"),
        (("--tasks", "VGGSoundAVA2VRetrieval", "--encoder", *BOTH), "lacks a modality"),
        (("--tasks", "ESC50_Zeroshot", "--encoder", *BOTH), "mteb/esc50 on the Hugging Face hub"),
        (("--data", "nowhere"), "nowhere"),
        (("--data", "banks", "--batch", "0"), "mteb batch is out of range"),
    ],
)
def test_what_cannot_be_judged_is_refused(invoke, offline, args, says):  # noqa: F811
    bond = random_bond("combination", ("house", 4), ("phones", 4), ("text", "audio"))
    FusedSpace.of(bond).save("space")
    status, _, err = invoke(main, "mteb", "--space", "space", *args)
    assert (status, says in err) == (2, True), err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--data", "banks"), "expected: --space FOLDER"),
        (("--tasks", "all"), "expected: --space FOLDER"),
        (("--space", "nope", "--tasks", "all"), "expected: the folder of a run, a product or"),
    ],
)
def test_a_space_that_is_not_there_is_not_judged(invoke, args, says):
    status, out, err = invoke(main, "mteb", *args)
    assert (status, out, says in err) == (2, "", True), err


def test_a_folder_names_models_but_no_code_to_run():
    name = "tests.encoders_torch.conftest:Toy"
    assert load_encoders({"house": name}, (), (), ("house",), "cpu") == {}
    (loaded,) = load_encoders({"house": "st:gone"}, (name,), ("w",), ("house",), "cpu").values()
    assert (type(loaded), str(loaded.weights)) == (Toy, "w")


def test_the_command_lists_the_tasks_of_table_1(invoke):
    status, out, err = invoke(main, "mteb")
    assert (status, err) == (0, "")
    assert all(task in out for match in TABLE_1 for task in match.tasks)
