import numpy as np
import pytest

from fb_jax import files
from fb_jax.banks import Bank, BankSet, Split
from fb_jax.banks.manifest import MANIFEST, Manifest, Shard
from fb_jax.pseudo import PairSpec
from fb_jax.run import RunConfig, preflight
from fb_jax.run.estimate import estimate
from fb_jax.training import Training, describe_bond

T, V = 2_330_000, 1_300_000  # texts and images of the paper
DIMS = {"imagebind": 1024, "clap_general": 512}


def sparse_bank(split, space, modality, count) -> Bank:
    """A bank as large as it says, whose numbers take no disk."""
    folder = split.bank_path(space, modality)
    folder.mkdir(parents=True)
    np.lib.format.open_memmap(folder / "emb.npy", "w+", np.float16, (count, DIMS[space]))
    about = {"space": space, "modality": modality, "items_sha256": "", "missing": []}
    about["encoder"] = {"name": "none"}
    shards = (Shard("emb.npy", count, "0" * 64),)
    manifest = Manifest(DIMS[space], "float16", count, count, about, shards)
    files.write_json(folder / MANIFEST, manifest.to_json())
    return Bank.open(folder)


@pytest.fixture(scope="module", params=[1_800_000, 2_000_000], ids="{} audios".format)
def paper(request, tmp_path_factory) -> PairSpec:
    split = Split(tmp_path_factory.mktemp("paper") / "pool")
    counts = {"text": T, "image": V, "audio": request.param}
    keys = [("imagebind", m) for m in counts] + [("clap_general", m) for m in ("text", "audio")]
    banks = {key: sparse_bank(split, *key, counts[key[1]]) for key in keys}
    rows = {modality: np.arange(count) for modality, count in counts.items()}
    return PairSpec(BankSet(split, banks, rows), "imagebind", "clap_general")


def needs(spec, **options):
    config = RunConfig(data=spec.banks.split.path.parent, **options)
    bond = describe_bond(spec, config.bond, config.training.hidden)
    return estimate(spec, bond, config.training.schedule(bond, spec.ranges))


# The paper's scale, by hand


def test_the_papers_pairs_take_about_29_gigabytes(paper):
    audios, native = paper.count("audio"), 1024 + 512  # of three 1024-d and two 512-d embeddings
    soft = 3 * 1024 + 2 * 512 - native  # what text and audio lack; an image lacks 512 more
    halves = (T + audios) * soft + V * (soft + 512)
    assert needs(paper).pairs_disk == 2 * halves
    assert 29e9 < needs(paper).pairs_disk < 30.3e9


def test_training_reads_five_embeddings_of_every_pair_as_float32(paper):
    pairs = T + V + paper.count("audio")
    assert needs(paper).table_memory == 4 * (3 * 1024 + 2 * 512) * pairs


def test_soft_retrieval_multiplies_every_query_with_keys_and_values(paper):
    audios = paper.count("audio")
    between_text_and_audio = 512 + 512 + 1024  # keys e, values e and u
    from_or_to_images = 1024 + 1024  # keys u, values u
    products = (
        2 * T * audios * between_text_and_audio
        + (T + audios) * V * from_or_to_images
        + V * (T + audios) * (from_or_to_images + 512)
    )
    assert needs(paper).pairs_operations == 2 * products


@pytest.mark.parametrize(("bond", "out"), [("combination", 1024), ("displacement", 512)])
def test_a_projector_has_two_kernels_and_two_scales_and_shifts(paper, bond, out):
    assert needs(paper, bond=bond).parameters == 1536 * 2048 + 2 * (2048 + out)


def test_every_member_trains_on_its_own_pairs(paper):
    t, v, a, batch = T, V, paper.count("audio"), 4096
    steps = [20 * (n // batch) for n in (t, v, a, t + v, t + a, v + a, t + v + a)]
    layers = 2 * 2 * batch * needs(paper).parameters  # text and audio are projected
    scores = 2 * batch * batch * 1024 * 6  # both against three modalities
    assert needs(paper).training_operations == 3 * (layers + scores) * sum(steps)


def test_three_checkpoints_hold_weights_and_two_moments_of_seven_projectors(paper):
    assert needs(paper).checkpoints_disk == 3 * 7 * 3 * 4 * needs(paper).parameters


def test_a_step_of_the_paper_fits_the_3_gigabytes_that_its_authors_report(paper):
    assert 1.5e9 < needs(paper).step_memory < 3e9


def test_a_step_holds_two_states_the_batches_of_four_lanes_and_one_lanes_work(paper):
    states = 2 * 7 * 3 * 4 * needs(paper).parameters
    batches = 4 * 4096 * 4 * (3 * 1024 + 2 * 512)
    work = 2 * 4 * 4096 * (3 * 2048 + 2 * 1024) + 6 * 2 * 4 * 4096**2  # activations, scores
    assert needs(paper).step_memory == states + batches + work


# Real runs


def test_the_estimate_is_what_the_pairs_really_take(pairs):
    found = needs(pairs.spec, training=Training(batch=10))
    stored = sum(2 * len(array) * array.shape[1] for array in pairs.arrays.values())
    assert (found.pairs_disk, found.table_memory) == (stored, pairs.spec.table_bytes())


def test_a_checkpoint_fits_the_estimate(config, run_folder):
    job = preflight(config)
    found = estimate(job.pairs, job.bond, job.schedule).checkpoints_disk
    assert found / 12 < files.folder_bytes(run_folder / "bond" / "checkpoints") < found
