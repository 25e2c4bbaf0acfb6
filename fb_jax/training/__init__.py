"""Training a bond: InfoNCE, lanes of members, batches, checkpoints, the loop."""

from fb_jax.training.log import read_log
from fb_jax.training.loss import TEMPERATURE, bond_loss, info_nce
from fb_jax.training.schedule import Schedule
from fb_jax.training.train import (
    BondForm,
    Runtime,
    StepProgress,
    Training,
    load_bond,
    table_bytes,
    train_bond,
)

__all__ = [
    "TEMPERATURE",
    "BondForm",
    "Runtime",
    "Schedule",
    "StepProgress",
    "Training",
    "bond_loss",
    "info_nce",
    "load_bond",
    "read_log",
    "table_bytes",
    "train_bond",
]
