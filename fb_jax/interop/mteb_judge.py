"""Runs mteb's tasks on models, and knows which of them match Table 1 of the paper."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from fb_jax.banks.rows import Progress, no_progress
from fb_jax.errors import FreeBindError, unknown
from fb_jax.evaluation.tables.paper import MAIN, paper_figures, paper_row
from fb_jax.extras import import_extra
from fb_jax.interop.mteb import EXTRA, MtebModel

METRICS = {
    "R@1": "hit_rate_at_1",
    "R@5": "hit_rate_at_5",
    "R@10": "hit_rate_at_10",
    "MRR": "mrr_at_1000",
    "nDCG@10": "ndcg_at_10",
}
"""Our names of mteb's scores. R@k counts any relevant item of a query; mteb's own recall, all."""


class Match(NamedTuple):
    """Tasks of mteb that match one of the nine of Table 1.

    Attributes:
        split: Name of the data set, as splits have it.
        tasks: Their names in mteb: both directions of a retrieval, or one classification.
        here: What mteb's data hold, by its own statistics, and how the paper's differ.
        comparable: Whether the paper's figures may stand beside them.
    """

    split: str
    tasks: tuple[str, ...]
    here: str
    comparable: bool = True


TABLE_1 = (
    Match(
        "audiocaps",
        ("AudioCapsA2TRetrieval", "AudioCapsT2ARetrieval"),
        "883 recordings, 4,411 captions; the paper has 964 recordings",
    ),
    Match(
        "clotho",
        ("ClothoA2TRetrieval.v2", "ClothoT2ARetrieval.v2"),
        "1,045 recordings, 4,680 of the 5,225 captions",
    ),
    Match(
        "vggss",
        ("VGGSoundAVA2VRetrieval", "VGGSoundAVV2ARetrieval"),
        "696 videos of VGGSound, which are not read; the paper has 5,158 frames of VGG-SS",
        comparable=False,
    ),
    Match(
        "coco",
        ("MSCOCOI2TRetrieval", "MSCOCOT2IRetrieval"),
        "5,000 images, 24,809 captions: equal ones are one",
    ),
    Match(
        "flickr30k",
        ("Flickr30kI2TRetrieval", "Flickr30kT2IRetrieval"),
        "1,000 images, 5,000 captions",
    ),
    Match(
        "esc50", ("ESC50_Zeroshot",), "2,000 recordings; This is a sound of {c}, with underscores"
    ),
    Match("imagenet", ("Imagenet1kZeroShot",), "50,000 images; a photo of {c}."),
)
"""FlickrNet and the zero-shot mAP of AudioSet have no task in mteb."""


def _paper_figure(model: str, split: str) -> str | None:
    """Return the paper's figures of a model, ``R@1/R@5`` or accuracy, if it has them."""
    values = paper_figures(*MAIN).get(paper_row(model), {}).get(split, {})
    return "/".join(f"{value:.2f}" for value in values.values()) or None


def find_tasks(names: Sequence[str]) -> list[Any]:
    """Return tasks of mteb by name; ``all`` is those of Table 1 whose media can be read.

    Raises:
        FreeBindError: mteb is not installed, or has no such task.
    """
    library = import_extra("mteb", EXTRA)
    registry = import_extra("mteb.get_tasks", EXTRA)._TASKS_REGISTRY
    wanted = _comparable() if list(names) == ["all"] else names
    for name in wanted:
        if name not in registry:
            hint = "freebind mteb lists those of Table 1"
            raise unknown("task of mteb", name, registry, hint=hint)
    with _quiet():
        return [library.get_task(name) for name in dict.fromkeys(wanted)]


def _comparable() -> list[str]:
    return [task for match in TABLE_1 if match.comparable for task in match.tasks]


def can_judge(model: MtebModel, task: Any) -> bool:
    """Return whether a model encodes all modalities of a task of mteb."""
    return set(task.metadata.modalities) <= set(model.modalities)


def require_modalities(model: MtebModel, task: Any) -> None:
    """Raise a FreeBindError unless a model encodes all modalities of a task of mteb."""
    if not can_judge(model, task):
        raise FreeBindError(
            "a model lacks a modality of this task",
            where=task.metadata.name,
            expected=", ".join(task.metadata.modalities),
            got=f"{model.name}: {', '.join(model.modalities)}",
            fix="leave the task out, or judge a space that has them",
        )


def judge(
    model: MtebModel, task: Any, out: Path, batch: int = 32, progress: Progress = no_progress
) -> dict[str, float]:
    """Let mteb judge a model on one of its tasks; finished results are read, not computed again.

    Args:
        model: The model.
        task: A task of mteb, from ``find_tasks`` or ``bank_tasks``.
        out: Folder of mteb's results: results/MODEL/REVISION/.../TASK.json.
        batch: Items to read and encode at a time.
        progress: Called with the number of items just encoded.

    Returns:
        Scores in percent, under our names (``METRICS``); another main score under mteb's name.

    Raises:
        FreeBindError: The model lacks a modality of the task, its data cannot be loaded, or an item
            cannot be encoded.
    """
    library = import_extra("mteb", EXTRA)
    require_modalities(model, task)
    with _quiet(), _explained(task, out):
        done = library.evaluate(
            replace(model, progress=progress),
            task,
            cache=library.ResultCache(out),
            co2_tracker=False,
            show_progress_bar=False,
            encode_kwargs={"batch_size": batch, "show_progress_bar": False},
        )
    return _figures(done.task_results[0], task.metadata.main_score)


def _figures(result: Any, main: str) -> dict[str, float]:
    """Return the means of scores over splits and subsets; most tasks have one of each.

    They have the digits that mteb's files have, so that a second run gives the same.
    """
    scores = [scores for by_subset in result.scores.values() for scores in by_subset]
    named = {ours: theirs for ours, theirs in METRICS.items() if theirs in scores[0]}
    named |= {} if main in named.values() else {main: main}  # such as accuracy
    means = {name: fmean(score[theirs] for score in scores) for name, theirs in named.items()}
    return {name: round(100 * mean, 4) for name, mean in means.items()}


def beside_paper(
    figures: Mapping[str, Mapping[str, float]], model: str, match: Match
) -> str | None:
    """Return R@1/R@5 of a data set, the mean of both directions, and the paper's in brackets.

    Args:
        figures: Task to metric to score.
        model: Name of the model, as ``paper_row`` takes it.
        match: The data set.
    """
    own = [figures[task] for task in match.tasks if task in figures]
    if not own or not match.comparable:
        return None
    mean = ""
    if len(own) == 2:
        mean = "/".join(f"{fmean(scores[name] for scores in own):.2f}" for name in ("R@1", "R@5"))
    paper = _paper_figure(model, match.split)
    return " ".join(filter(None, [mean, f"({paper})" if paper else ""])) or None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide bars and warnings of mteb and the libraries below it; for what fails, it raises."""
    datasets = import_extra("datasets", EXTRA)
    logging.getLogger("mteb").addHandler(logging.NullHandler())  # else Python prints its warnings
    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            for library in ("mteb", "datasets", "huggingface_hub", "torch", "sklearn"):
                warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
            yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()


@contextmanager
def _explained(task: Any, out: Path) -> Iterator[None]:
    """Turn an exception of mteb or of a library below it into a FreeBindError."""
    about = task.metadata
    hub = (
        f"its data are {about.dataset['path']} on the Hugging Face hub: look at the network; if "
        "HF_HUB_OFFLINE is set, they must have been downloaded before"
    )
    damaged = f"remove a damaged result in {out}"
    try:
        yield
    except (FreeBindError, MemoryError):
        raise
    except Exception as error:
        raise FreeBindError(
            "mteb cannot judge a model on this task",
            where=about.name,
            got=f"{type(error).__name__}: {error}",
            fix=damaged if task.data_loaded else f"{hub}; or {damaged}",
        ) from error
