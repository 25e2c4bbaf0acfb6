import json
from dataclasses import replace

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from made import every_kind, linear_bond, native_rows, planned, random_bond, routed, with_hubs

from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, Hub, digest
from fb_jax.interop import onnx as interop
from fb_jax.interop.onnx import write_onnx

SPACES = every_kind()


def opened(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it warns of every input that has a default
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture
def session_of(tmp_path):
    def session_of(space):
        write_onnx(space, tmp_path / "space.onnx")
        return opened(tmp_path / "space.onnx")

    return session_of


def run(session, modality, rows, **factors):
    feed = {f"{modality}.{name}": np.float32(array) for name, array in rows.items()}
    feed |= {f"factor.{m}": np.array(factor, np.float32) for m, factor in factors.items()}
    (found,) = session.run([modality], feed)
    return found


@pytest.mark.parametrize("kind", SPACES)
def test_the_file_fuses_any_number_of_rows_at_any_factors(kind, session_of):
    space = SPACES[kind]
    session = session_of(space)
    for modality in space.modalities:
        for count in (0, 1, 9):
            rows = native_rows(space, modality, count)
            wanted = space.fuse(modality, rows)
            np.testing.assert_allclose(run(session, modality, rows), wanted, atol=1e-6)
        for factor in {0.0, 0.85, 1.0} if modality in space.factors else ():
            wanted = space.with_factors(**{modality: factor}).fuse(modality, rows)
            found = run(session, modality, rows, **{modality: factor})
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_seven_experts_at_their_whole_weight_leave_the_unified_space_nothing(session_of):
    ends = ("imagebind", 64), ("text", "audio")
    bonds = [random_bond("direct_sum", ends[0], (f"e{n}", 5), ends[1], n) for n in range(7)]
    space = FusedSpace.of(*bonds)
    rows = native_rows(space, "text")
    found = run(session_of(space), "text", rows, text=1.0)
    assert not found[:, :64].any()
    np.testing.assert_allclose(found, space.with_factors(text=1.0).fuse("text", rows), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-15, 1e-3, 1e15])
def test_native_rows_may_have_any_norm(session_of, scale):
    space = SPACES["two stages"]
    rows = native_rows(space, "audio")
    scaled = {name: scale * array for name, array in rows.items()}
    found = run(session_of(space), "audio", scaled)
    np.testing.assert_allclose(found, space.fuse("audio", rows), atol=1e-6)


def test_a_row_by_hand(session_of):
    swap = np.eye(2)[::-1]
    space = FusedSpace.of(linear_bond("combination", swap), at={"text": 0.25, "audio": 0.5})
    x = np.array([[1.0, 0.0]])
    found = run(session_of(space), "text", {"u": x, "e": x})
    np.testing.assert_allclose(found, np.array([[3, 1]]) / np.sqrt(10), atol=1e-6)


def test_the_file_says_what_it_takes_and_what_it_holds(tmp_path):
    space = replace(SPACES["two stages"], licences={"imagebind": "MIT"})
    write_onnx(space, tmp_path / "space.onnx")
    session = opened(tmp_path / "space.onnx")
    assert session.get_inputs() == []  # none must be given
    inputs = {one.name: one.shape for one in session.get_overridable_initializers()}
    assert inputs["audio.clap_music"] == ["audio items", 48]
    assert {name for name in inputs if name.startswith("factor")} == {"factor.audio", "factor.text"}
    assert [one.name for one in session.get_outputs()] == list(space.modalities)
    about = session.get_modelmeta()
    assert (about.graph_name, about.producer_name) == ("internvl_ib_pp", "freebind-jax")
    known = about.custom_metadata_map
    assert (known["space"], known["digest"]) == (space.title, digest(space))
    assert json.loads(known["factors"]) == space.factors
    assert json.loads(known["presets"]) == space.presets
    assert json.loads(known["licences"])["imagebind"] == "MIT"
    assert json.loads(known["licences"])["internvl"] == "unknown"
    model = onnx.load(tmp_path / "space.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    folded = sum(
        x.nbytes
        for stage in space.stages
        for bond in stage.bonds
        for part in bond.folded()
        for x in part
    )
    assert (tmp_path / "space.onnx").stat().st_size < 1.5 * folded  # modalities share the numbers


def reading_one(kind, space):
    """Return a routed space whose router of audio reads the rows of one native space."""
    whole = SPACES[kind].with_last(replace(SPACES[kind].last, routers={}))
    return routed(whole, "small", "audio", reads=[space])


NUMBERS_OF_ROWS = {
    **{kind: SPACES[kind] for kind in ("combination", "direct sum", "cut", "cut, routed")},
    "weighted, reads the first": reading_one("weighted, routed", "imagebind"),
    "weighted, reads the last": reading_one("weighted, routed", "clap_music"),
    "cut, reads the second": reading_one("cut, routed", "clap_general"),
}


@pytest.mark.parametrize("kind", NUMBERS_OF_ROWS)
def test_other_numbers_of_rows_and_forgotten_spaces_are_refused(kind, session_of):
    space = NUMBERS_OF_ROWS[kind]
    session, rows = session_of(space), native_rows(space, "audio", 3)
    np.testing.assert_allclose(run(session, "audio", rows), space.fuse("audio", rows), atol=1e-6)
    one = {name: x[:1] for name, x in rows.items()}
    for name in rows:
        forgotten = [{n: x for n, x in some.items() if n != name} for some in (one, rows)]
        for wrong in (*forgotten, {**rows, name: one[name]}, {**one, name: rows[name]}):
            with pytest.raises(Exception, match="cannot be reshaped"):
                run(session, "audio", wrong)


def test_a_file_that_is_there_a_planned_space_and_a_large_one_are_refused(tmp_path, monkeypatch):
    space, path = SPACES["combination"], tmp_path / "space.onnx"
    with pytest.raises(FreeBindError, match="not trained yet"):
        write_onnx(planned(space), path)
    with monkeypatch.context() as patched:
        patched.setattr(interop, "MOST_BYTES", 1000)
        with pytest.raises(FreeBindError, match=r"too large for an ONNX file(.|\n)*fewer experts"):
            write_onnx(space, path)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(FreeBindError, match=r"else is there already(.|\n)*space\.onnx"):
        write_onnx(space, path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", ["weighted, routed", "cut"])
def test_the_numbers_of_routers_and_of_a_cut_count_for_the_size(kind, tmp_path, monkeypatch):
    space = SPACES[kind]
    bonds = [bond.variables for bond in space.last.bonds]
    monkeypatch.setattr(interop, "MOST_BYTES", sum(x.nbytes for x in jax.tree.leaves(bonds)))
    with pytest.raises(FreeBindError, match="too large for an ONNX file"):
        write_onnx(space, tmp_path / "space.onnx")


def test_a_space_is_written_again_as_the_same_file(tmp_path):
    space, path = SPACES["cut, routed"], tmp_path / "space.onnx"
    write_onnx(space, path)
    before = path.stat().st_mtime_ns
    write_onnx(space, path)
    assert path.stat().st_mtime_ns == before
    write_onnx(space, tmp_path / "again.onnx")
    assert path.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    with pytest.raises(FreeBindError, match="else is there already"):
        write_onnx(space.with_factors(text=0.9), path)


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(FreeBindError, match=r"onnx is not installed(.|\n)*freebind-jax\[onnx\]"):
        write_onnx(SPACES["combination"], tmp_path / "space.onnx")


# With hub correction


@pytest.mark.parametrize("kind", ["two stages", "cut", "cmcr", "weighted, routed", "cut, routed"])
def test_rows_in_both_roles_are_those_of_the_space(kind, session_of):
    pairs = {("audio", "text"): Hub(3, 0.75), ("image", "text"): Hub(50, 0.5)}  # of 30
    space = with_hubs(SPACES[kind], pairs)
    session = session_of(space)
    for modality in space.modalities:
        for role in (None, "query", "item"):
            for count in (0, 1, 9):
                rows = native_rows(space, modality, count)
                feed = {f"{modality}.{name}": array for name, array in rows.items()}
                (found,) = session.run([f"{modality}.{role}" if role else modality], feed)
                wanted = space.fuse(modality, rows, role=role)
                np.testing.assert_allclose(found, wanted, atol=2e-6)
    known = session.get_modelmeta().custom_metadata_map
    assert json.loads(known["scales"])["audio"] == pytest.approx(space.hubs.scale("audio"))
