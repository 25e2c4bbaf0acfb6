"""Training a bond: InfoNCE, lanes of members, batches, checkpoints, the loop."""

from fb_jax.training.form import BondForm, form_for, is_trained, load_bond
from fb_jax.training.log import read_log
from fb_jax.training.loop import StepProgress
from fb_jax.training.loss import TEMPERATURE, bond_loss, info_nce
from fb_jax.training.schedule import Schedule
from fb_jax.training.settings import Runtime, Training
from fb_jax.training.train import train_bond

__all__ = [
    "TEMPERATURE",
    "BondForm",
    "Runtime",
    "Schedule",
    "StepProgress",
    "Training",
    "bond_loss",
    "form_for",
    "info_nce",
    "is_trained",
    "load_bond",
    "read_log",
    "train_bond",
]
