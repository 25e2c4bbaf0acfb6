from dataclasses import replace

import numpy as np
from made import random_bond

from fb_jax.banks import Bank, BankAbout, bank_writer
from fb_jax.fusion import FusedSpace
from fb_jax.run import Silent
from fb_jax.run.rows import write_rows


def test_a_next_stage_gets_no_rows_of_items_that_an_expert_lacks(config, tmp_path):
    """They would be fused from fewer spaces than those that it is evaluated on."""
    folder = config.data / "pool/embeddings/clap_general/text"
    bank = Bank.open(folder)
    rows, about = bank[:], replace(bank.about, missing=np.array([3]))
    assert isinstance(about, BankAbout)
    for file in folder.iterdir():
        file.unlink()
    rows[3] = 0
    with bank_writer(folder, about, dim=rows.shape[1], count=len(rows)) as writer:
        writer.append(rows)
    ends = ("imagebind", 64), ("clap_general", 48)
    space = FusedSpace.of(random_bond("combination", *ends, ("text", "audio")), name="base")
    root = write_rows(space, replace(config, out=tmp_path, product="base"), Silent())
    fused = Bank.open(root / "pool/embeddings/base/text")
    assert (fused.missing.tolist(), fused.partial) == ([3], {})
