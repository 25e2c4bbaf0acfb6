from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from twin import EQUATIONS, PARITY, by_symbol, error, retrieve, symbol, to_torch

from fb_jax.errors import FreeBindError
from fb_jax.pseudo import BankStream, Chunks, Retrieval, complete, plan_for
from fb_jax.pseudo.plans import columns, native

COUNTS, DIMS = {"text": 45, "image": 41, "audio": 46}, {"unified": 16, "expert": 12}
FOUR = COUNTS | {"depth": 43}
CHUNKS = Chunks(keys=16, inner=8)


def make_banks(plan, dtype="float32"):
    """Unit rows; an item looks alike in all columns, so that retrieval has something to find."""
    rng, latents = np.random.default_rng(0), {}
    maps = {side: rng.normal(size=(6, dim)) for side, dim in DIMS.items()}
    banks = {}
    for side, modality in columns(plan):
        latent = latents.setdefault(modality, rng.normal(size=(FOUR[modality], 6)))
        rows = (latent + 0.5 * rng.normal(size=latent.shape)) @ maps[side]
        banks[side, modality] = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(dtype)
    return banks


@pytest.mark.parametrize("unit", [True, False], ids=["unit", "as they come"])
@pytest.mark.parametrize(
    ("expert", "start"), [(expert, start) for expert in EQUATIONS for start in EQUATIONS[expert]]
)
def test_plans_compute_what_the_equations_say(expert, start, unit, dtype):
    plan = plan_for({*COUNTS, *expert}, expert)
    banks = make_banks(plan, dtype)
    own = {ref: jnp.asarray(banks[ref.column]) for ref in native(plan, start)}
    retrieval = Retrieval(normalise=unit, chunks=CHUNKS)
    found = complete(plan[start], own, BankStream(banks, block_rows=CHUNKS.keys), retrieval)

    item = by_symbol({ref.column: to_torch(rows) for ref, rows in own.items()})
    bank = by_symbol({column: to_torch(rows) for column, rows in banks.items()})
    wanted = EQUATIONS[expert][start](item, bank, partial(retrieve, unit=unit))
    assert {symbol(*ref.column) for ref in found} == set(wanted)
    for ref, rows in found.items():
        assert rows.dtype == dtype
        assert error(rows, wanted[symbol(*ref.column)]) < PARITY[dtype]


@pytest.mark.parametrize(
    ("kind", "wrong", "says"),
    [
        (Chunks, {"queries": 0}, "chunk size queries is out of range"),
        (Chunks, {"keys": 0}, "chunk size keys is out of range"),
        (Chunks, {"inner": -1}, "chunk size inner is out of range"),
        (Retrieval, {"temperature": 0.0}, "retrieval temperature is out of range"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_settings_that_cannot_be_are_refused_by_name(kind, wrong, says):
    with pytest.raises(FreeBindError, match=says):
        kind(**wrong)


class CountedRows:
    def __init__(self, rows):
        self.rows, self.shape, self.read = rows, rows.shape, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        self.read += len(out := self.rows[rows])
        return out


@pytest.mark.parametrize("resident", [False, True])
def test_a_stream_gives_whole_banks_in_padded_blocks_and_reads_resident_ones_once(resident):
    keys, values = ("unified", "text"), ("expert", "text")
    banks = make_banks(plan_for(COUNTS, ["audio", "text"]))
    counted = {column: CountedRows(banks[column]) for column in (keys, values)}
    stream = BankStream(counted, block_rows=16, resident=resident)
    assert stream.dim(values) == 12
    for _ in range(2):
        blocks = list(stream.blocks(keys, [values, keys]))
        assert [block.size.item() for block in blocks] == [16, 16, 13]
        for column, parts in (
            (keys, [block.keys for block in blocks]),
            (values, [block.values[0] for block in blocks]),
            (keys, [block.values[1] for block in blocks]),
        ):
            rows = np.concatenate(parts)
            np.testing.assert_array_equal(rows[:45], banks[column])
            assert len(rows) == 48
            assert not rows[45:].any()
    assert [bank.read for bank in counted.values()] == [45 if resident else 90] * 2
