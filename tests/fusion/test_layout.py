from dataclasses import replace

import jax
import numpy as np
import pytest
from made import changed

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.fusion import digest, with_basis
from fb_jax.fusion.layout import StageAbout, read_stage, stage_json, stage_tensors
from fb_jax.projector import Bond

NAME = "0.clap_general.linear_in.kernel"
BASES = np.eye(112, 4, 1, dtype=np.float32), np.eye(112, 4, dtype=np.float32)


@pytest.fixture
def written(product):
    """The last stage of a product as JSON and tensors."""
    tensors = {f"0.{name}": leaf for name, leaf in stage_tensors(product.last).items()}
    return files.convert(files.json_types(stage_json(product.last)), StageAbout, ""), tensors


def test_a_stage_comes_back_and_takes_its_numbers(product, written):
    about, tensors = written
    tensors["1.other"] = np.ones(3)
    assert read_stage(about, tensors, 0, "FILE") == product.last
    assert list(tensors) == ["1.other"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop(NAME), r"FILE: .*kernel\n.*float32 \[7, 48, 8\]\n.*nothing"),
        (lambda t: t.update({NAME: t[NAME][:6]}), r"kernel\n.*\[7, 48, 8\]\n.*\[6, 48, 8\]"),
        (lambda t: t.update({NAME: t[NAME].astype(np.float16)}), r"float32 (.|\n)*float16"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(written, change, says):
    about, tensors = written
    change(tensors)
    with pytest.raises(FreeBindError, match=says):
        read_stage(about, tensors, 0, "FILE")


def test_a_cut_of_weighted_sums_is_refused(written):
    about, tensors = written
    tensors["0.basis"] = np.eye(56, 8, dtype=np.float32)
    with pytest.raises(FreeBindError, match="only a direct sum can be cut"):
        read_stage(replace(about, cut=(56, 8)), tensors, 0, "FILE")


def test_the_digest_is_of_the_numbers_as_they_are_kept(product):
    """In float32, wherever they are."""
    with jax.enable_x64(True):
        wide = [
            replace(bond, variables=jax.tree.map(lambda x: jax.numpy.float64(x), bond.variables))
            for bond in product.last.bonds
        ]
    other = product.with_last(replace(product.last, bonds=tuple(wide)))
    assert digest(other) == digest(product)


def last(**changes):
    return lambda space: space.with_last(replace(space.last, **changes))


def first(**changes):
    def change(space):
        stage, *rest = space.stages
        return replace(space, stages=(replace(stage, **changes), *rest))

    return change


def text_alone(space):
    bond, *rest = space.last.bonds
    return space.with_last(replace(space.last, bonds=(changed(bond, shared=("text",)), *rest)))


@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("product", first(factors={"image": 0.9, "text": 0.8})),
        ("product", last(factors={"audio": 0.5, "text": 0.2})),
        ("product", last(normalise=False)),
        ("product", text_alone),
        ("tuned", last(tuned_rows={"audio": "another"})),
        ("one", last(fill=0.1)),
        ("one", lambda space: with_basis(space, BASES[1])),
        ("cut", lambda space: with_basis(space, BASES[1])),
    ],
)
def test_the_digest_is_of_all_that_a_row_depends_on(request, one, which, change):
    cut = with_basis(one, BASES[0])
    space = cut if which == "cut" else request.getfixturevalue(which)
    assert change(space) != space
    assert digest(change(space)) != digest(space)


def test_the_digest_is_of_every_number(one):
    (bond,) = one.last.bonds
    leaves, form = jax.tree.flatten(bond.variables)
    found = {digest(one)}
    for i, leaf in enumerate(leaves):
        other = jax.tree.unflatten(form, [*leaves[:i], leaf + np.float32(1), *leaves[i + 1 :]])
        found.add(digest(last(bonds=(Bond(bond.spec, other),))(one)))
    assert len(found) == 11


@pytest.mark.parametrize(
    "change",
    [
        lambda space: space.named("another"),
        lambda space: space.with_last(replace(space.last, presets={})),
        lambda space: replace(space, licences={"imagebind": "CC0-1.0"}),
    ],
    ids=["name", "presets", "licences"],
)
def test_what_no_row_depends_on_is_not_in_the_digest(product, change):
    assert change(product) != product
    assert digest(change(product)) == digest(product)
