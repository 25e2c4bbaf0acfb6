"""What a run trains on and what it needs, in words."""

from __future__ import annotations

from collections.abc import Sequence

from fb_jax import files
from fb_jax.evaluation.models import pair_tables
from fb_jax.fusion import FusedSpace
from fb_jax.projector import PIPELINES, Bond, subset_name
from fb_jax.run import default
from fb_jax.run.checks import Job
from fb_jax.run.choosing import NONE, parted
from fb_jax.run.device import select_device
from fb_jax.run.estimate import estimate
from fb_jax.run.options import RunConfig
from fb_jax.training.settings import PAPER_BATCH

FLOAT16 = 2
NO_TABLE = "training only: no split has pairs, so no table is possible"


def introduce(config: RunConfig, spaces: Sequence[str]) -> str:
    """Return what data of the package are and are not; nothing for a run on other data.

    Args:
        config: The run.
        spaces: Its native spaces.
    """
    name = default.shipped(config.data)
    if name is None:
        return ""
    own, paper = config.training, PIPELINES["freebind"].hidden
    return f"""Data: the {name.replace("_", " ")} ({default.SHIPPED[name]}), in
{default.home(name)}.
Small encoders trained on such data play the parts of {", ".join(spaces)}.
They are not ImageBind, CLAP or InternVL, and no figure below is about those.
Batch {own.batch}, hidden width {own.hidden} (the paper: {PAPER_BATCH}, {paper}).

"""


def describe(job: Job) -> dict[str, str]:
    """Return what a run will do and need, as label to text."""
    spec, schedule, config = job.pairs, job.schedule, job.config
    needs, size = estimate(spec, job.bond, schedule), files.gigabytes
    shared = ", ".join(spec.banks.modalities(spec.expert))
    counts = ", ".join(f"{spec.count(start):,} from {start}" for start in spec.starts)
    resident = needs.table_memory <= config.runtime.resident_bytes
    missing = max(0, needs.pairs_disk - files.folder_bytes(job.pairs_folder))
    evaluation = ", ".join(
        f"{name} ({', '.join('-'.join(pair) for pair in pair_tables(list(banks.rows), banks))})"
        for name, banks in job.evaluation.items()
    )
    fused = config.dim or FusedSpace.of(Bond(job.bond)).dim
    left_out = [f"without {name}: {why}" for name, why in job.left_out.items()]
    return {
        "data": str(config.data),
        "bond": f"{config.title}; expert with {shared}; anchor {spec.anchor}",
        "device": str(select_device(config.device)),
        "pairs": f"{counts}; {needs.pairs_operations / 1e12:,.2f} TFLOP; in {job.pairs_folder}",
        "mixture": f"{len(schedule.members)} projectors of {needs.parameters:,} parameters, from "
        + ", ".join(subset_name(member) for member in schedule.members),
        "steps": f"{len(schedule):,}, batch {schedule.batch:,}, "
        f"{config.training.epochs} epochs, each without up to {100 * schedule.left_out:.0f} % of a "
        "projector's pairs (its last partial batch), projectors in turn in "
        f"{len(schedule.lanes)} lanes; {needs.training_operations / 1e12:,.2f} TFLOP",
        "memory": f"pairs {size(needs.table_memory)} as float32 "
        + ("(held)" if resident else "(read from disk)")
        + f", a step about {size(needs.step_memory)}",
        "disk": f"pairs {size(needs.pairs_disk)} as {spec.retrieval.dtype}, {size(missing)} to be "
        f"written, {size(files.free_bytes(config.store))} free; checkpoints "
        f"{size(needs.checkpoints_disk)}, {size(files.free_bytes(config.folder))} free",
        "fused": f"{fused} dimensions, a million rows {size(FLOAT16 * fused * 10**6)} as float16",
        "evaluation": "; ".join([evaluation or NO_TABLE, *left_out]),
        "choosing": _choosing(job),
    }


def _choosing(job: Job) -> str:
    """Return which pairs factors are chosen on, if any."""
    how = job.config.choosing
    if how.aim == NONE or not job.evaluation:
        return "nothing; factors are a preset's"
    _, known = parted(job.evaluation, how)
    if known is None:
        return f"nothing: there is no split {how.val} with pairs; factors are a preset's"
    return f"factors, on {known.on}, for {how.aim}"
