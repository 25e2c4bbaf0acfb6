"""A split of a bank root as tasks of mteb, and rows of banks as a model: all without a network.

A task has the items' ids and captions and, if the media are here, their files. So any model of
mteb can be judged on it: one that encodes media, or ``bank_model``, which serves precomputed rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from fb_jax import files
from fb_jax.banks import BankSet, Split
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.models import fused_rows
from fb_jax.extras import import_extra
from fb_jax.fusion import FusedSpace, Role, digest
from fb_jax.fusion.sources import licences_of
from fb_jax.interop.mteb import EXTRA, MODALITIES, Batch, MtebModel

SUFFIX = "-of-banks"
"""What the name of a model ends with that serves precomputed rows."""

RANKS = (1, 5, 10, 1000)
"""Ranks up to which mteb computes its scores: ours, and one that few galleries exceed, for MRR."""


def bank_tasks(banks: BankSet, name: str, media: Path | None = None) -> list[Any]:
    """Return a retrieval task of mteb for both directions of every pair table of a split.

    Items are those that all spaces of ``banks`` have; a query's relevant items are all its pairs.

    Args:
        banks: Banks over an evaluation split on disk.
        name: Beginning of the tasks' names, such as ``WordWorld``: ``WordWorldA2TRetrieval``.
        media: Folder that paths in the item lists start from, if media are to be encoded. It may
            have a folder for each modality.

    Raises:
        FreeBindError: mteb is not installed, the split has no pairs, or a media file is missing.
    """
    pairs = [pair for pair in banks.paired() if set(pair) <= set(MODALITIES)]
    if not pairs:
        raise FreeBindError(
            "there is nothing to judge on: no pairs between modalities that mteb has",
            where=banks.split.path,
            expected=f"pairs of two of {', '.join(MODALITIES)}",
            fix="add a pair table with freebind bank pairs",
        )
    items = {m: _items(banks, m, media) for m in dict.fromkeys(sum(pairs, ()))}
    return [
        _task(banks, name, direction, items)
        for left, right in pairs
        for direction in ((left, right), (right, left))
    ]


def bank_model(space: FusedSpace | str, banks: BankSet) -> MtebModel:
    """Return a model of mteb that looks rows up by the ids of ``bank_tasks``: it encodes nothing.

    Args:
        space: A fused space, or the name of a space of the banks.
        banks: The banks that the tasks are of.
    """
    roles = space if isinstance(space, FusedSpace) else None
    if isinstance(space, FusedSpace):
        known = licences_of(space, banks)
        rows, licences = fused_rows(space, banks), [known.get(n, "unknown") for n in space.spaces]
        name, made_from, cosine = space.title, digest(space), space.last.normalise
    else:
        first = next(bank for (owner, _), bank in banks.banks.items() if owner == space)
        rows = {m: banks[space, m][:] for m in banks.modalities(space)}
        name, made_from, cosine, licences = space, space, True, [first.encoder.licence]
    rows = {modality: rows[modality] for modality in MODALITIES if modality in rows}
    return MtebModel(
        name=name + SUFFIX,
        dim=roles.role_dim if roles else next(iter(rows.values())).shape[1],
        modalities=list(rows),
        revision=files.sha256_of_json([made_from, banks.fingerprints()]),
        licences=licences,
        cosine=cosine,
        factors=space.factors if isinstance(space, FusedSpace) else {},
        rows_of=_Lookup(rows, banks, roles),
    )


class _Lookup:
    """Serves rows by id, in a role of the space if it is fused."""

    def __init__(
        self,
        rows: Mapping[str, Float32[np.ndarray, "n d"]],
        banks: BankSet,
        space: FusedSpace | None,
    ) -> None:
        self.revision, self.space = _revision(banks), space
        self.rows = {
            id_: row
            for modality, some in rows.items()
            for id_, row in zip(_ids(banks, modality), some, strict=True)
        }

    def __call__(
        self, batch: Batch, task: Any, role: Role | None = None
    ) -> Float32[np.ndarray, "b d"]:
        if task.dataset["revision"] != self.revision:
            raise FreeBindError(
                "this model only serves rows of banks; it encodes no items",
                where=task.name,
                expected="a task of the same banks, from bank_tasks",
                fix="judge the space with the encoders of its native spaces",
            )
        rows = np.stack([self.rows[id_] for id_ in batch["id"]])
        modality = batch["id"][0].partition("/")[0]  # a batch has one
        return rows if self.space is None else self.space.in_role(role, modality, rows)


def _task(banks: BankSet, name: str, direction: tuple[str, str], items: Mapping[str, Any]) -> Any:
    library, split = import_extra("mteb", EXTRA), banks.split.name
    code = "2".join(modality[0] for modality in direction)
    about = library.TaskMetadata(
        name=f"{name}{code.upper()}Retrieval",
        description=f"Retrieval from {direction[0]} to {direction[1]}, split {split}.",
        dataset={"path": str(banks.split.path), "revision": _revision(banks)},
        type="Any2AnyRetrieval",
        category=code,
        modalities=list(direction),
        eval_splits=[split],
        eval_langs=["eng-Latn"],
        main_score="hit_rate_at_1",
    )
    kind: Any = type(
        about.name, (library.abstasks.AbsTaskRetrieval,), {"metadata": about, "k_values": RANKS}
    )
    task = kind()
    task.dataset = {"default": {split: _data(banks, direction, items)}}
    task.data_loaded = True
    return task


def _data(banks: BankSet, direction: tuple[str, str], items: Mapping[str, Any]) -> dict[str, Any]:
    """Return the split in the form of mteb's ``RetrievalSplitData``."""
    asked, found = (_ids(banks, modality) for modality in direction)
    relevant: dict[str, dict[str, int]] = {}
    for query, item in banks.pairs(*direction).tolist():
        relevant.setdefault(asked[query], {})[found[item]] = 1
    queries, corpus = (items[modality] for modality in direction)
    return {"queries": queries, "corpus": corpus, "relevant_docs": relevant, "top_ranked": None}


def _items(banks: BankSet, modality: str, media: Path | None) -> Any:
    """Return the items of a modality as a ``datasets.Dataset``."""
    library, split = import_extra("datasets", EXTRA), banks.split
    assert isinstance(split, Split), "items in memory have no captions"
    listed = split.items(modality)
    items = [listed[int(row)] for row in banks.rows[modality]]
    columns: dict[str, Any] = {"id": _ids(banks, modality)}
    if modality == "text":
        columns["text"] = [str(item.get("caption") or "") for item in items]
    elif media is not None:
        columns[modality] = [str(_found(media, modality, str(item["path"]))) for item in items]
    dataset = library.Dataset.from_dict(columns)
    if modality in ("audio", "image") and media is not None:
        feature = library.Audio() if modality == "audio" else library.Image()
        dataset = dataset.cast_column(modality, feature)
    return dataset


def _found(media: Path, modality: str, path: str) -> Path:
    for folder in (media, media / modality):
        if (folder / path).is_file():
            return folder / path
    raise FreeBindError(
        "a media file is missing",
        where=media / path,
        fix=f"name the folder that paths of {modality} items start from",
    )


def _ids(banks: BankSet, modality: str) -> list[str]:
    return [f"{modality}/{row}" for row in banks.rows[modality]]


def _revision(banks: BankSet) -> str:
    """Return the digest of a split's items and pairs, as far as all spaces have the items."""
    return files.sha256_of_json([*_parts(banks)])


def _parts(banks: BankSet) -> Iterator[Any]:
    assert isinstance(banks.split, Split), "items in memory have no digest"
    yield banks.pair_fingerprints()
    for modality in sorted(banks.rows):
        rows = files.sha256_of_bytes(banks.rows[modality].astype("<i8").tobytes())
        yield [modality, banks.split.items(modality).digest, rows]
