"""Training a bond: losses, lanes of members, batches, checkpoints, loggers, the loop."""

from fb_jax.training.bond_folder import is_trained, load_bond
from fb_jax.training.distillation import Distilling
from fb_jax.training.log import Logger, read_log, require_loggers
from fb_jax.training.loop import StepProgress
from fb_jax.training.loss import TEMPERATURE, Loss, bond_loss, info_nce
from fb_jax.training.schedule import Schedule
from fb_jax.training.settings import Runtime, Training
from fb_jax.training.train import describe_bond, train_bond

__all__ = [
    "TEMPERATURE",
    "Distilling",
    "Logger",
    "Loss",
    "Runtime",
    "Schedule",
    "StepProgress",
    "Training",
    "bond_loss",
    "describe_bond",
    "info_nce",
    "is_trained",
    "load_bond",
    "read_log",
    "require_loggers",
    "train_bond",
]
