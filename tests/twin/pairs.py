"""Soft retrieval and the six equations of the pseudo pairs, each written out, and two of our own.

``T``, ``V``, ``A``, ``D`` are text, image, audio and depth; ``_e`` the expert, ``_u`` the unified
space. ``x`` holds the native embeddings of items of one start modality, ``bank`` those of the whole
pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn.functional import normalize

Soft = dict[str, Tensor]
Retrieve = Callable[[Tensor, Tensor, Tensor], Tensor]
LETTERS = {"text": "T", "image": "V", "audio": "A", "depth": "D"}


def retrieve(
    q: Tensor, keys: Tensor, values: Tensor, tau: float = 1 / 100, unit: bool = False
) -> Tensor:
    """A(q; K -> V) = softmax(q K^T / tau) V."""
    out = torch.softmax(q @ keys.T / tau, dim=1) @ values
    return normalize(out) if unit else out


def symbol(side: str, modality: str) -> str:
    """Return the paper's name of an embedding."""
    return f"{LETTERS[modality]}_{side[0]}"


def by_symbol(columns: Mapping[tuple[str, str], Tensor]) -> SimpleNamespace:
    """Return embeddings under their names in the paper."""
    return SimpleNamespace(**{symbol(*column): rows for column, rows in columns.items()})


def eq_4(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Image-text expert, from text."""
    V_e = A(x.T_e, bank.V_e, bank.V_e)
    V_u = A(x.T_u, bank.V_u, bank.V_u)
    A_u = A(V_u, bank.A_u, bank.A_u)
    return {"V_e": V_e, "V_u": V_u, "A_u": A_u}


def eq_5(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Image-text expert, from image."""
    T_e = A(x.V_e, bank.T_e, bank.T_e)
    T_u = A(x.V_u, bank.T_u, bank.T_u)
    A_u = A(x.V_u, bank.A_u, bank.A_u)
    return {"T_e": T_e, "T_u": T_u, "A_u": A_u}


def eq_6(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Image-text expert, from audio."""
    V_u = A(x.A_u, bank.V_u, bank.V_u)
    T_u = A(V_u, bank.T_u, bank.T_u)
    V_e = A(x.A_u, bank.V_u, bank.V_e)
    T_e = A(V_u, bank.T_u, bank.T_e)
    return {"V_e": V_e, "T_e": T_e, "V_u": V_u, "T_u": T_u}


def eq_11(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Audio-text expert, from text."""
    A_e = A(x.T_e, bank.A_e, bank.A_e)
    A_u = A(x.T_e, bank.A_e, bank.A_u)
    V_u = A(x.T_u, bank.V_u, bank.V_u)
    return {"A_e": A_e, "A_u": A_u, "V_u": V_u}


def eq_12(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Audio-text expert, from audio."""
    T_e = A(x.A_e, bank.T_e, bank.T_e)
    T_u = A(x.A_e, bank.T_e, bank.T_u)
    V_u = A(x.A_u, bank.V_u, bank.V_u)
    return {"T_e": T_e, "T_u": T_u, "V_u": V_u}


def eq_13(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Audio-text expert, from image."""
    T_e = A(x.V_u, bank.T_u, bank.T_e)
    A_e = A(x.V_u, bank.A_u, bank.A_e)
    T_u = A(x.V_u, bank.T_u, bank.T_u)
    A_u = A(x.V_u, bank.A_u, bank.A_u)
    return {"T_e": T_e, "A_e": A_e, "T_u": T_u, "A_u": A_u}


def depth_text_from_audio(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Depth-text expert, from audio: neither space links it with text or depth."""
    V_u = A(x.A_u, bank.V_u, bank.V_u)
    T_u = A(V_u, bank.T_u, bank.T_u)
    T_e = A(V_u, bank.T_u, bank.T_e)
    D_u = A(V_u, bank.D_u, bank.D_u)
    D_e = A(V_u, bank.D_u, bank.D_e)
    return {"V_u": V_u, "T_u": T_u, "T_e": T_e, "D_u": D_u, "D_e": D_e}


def depth_text_from_depth(x: SimpleNamespace, bank: SimpleNamespace, A: Retrieve) -> Soft:
    """Depth-text expert, from depth: text by the expert, audio through image."""
    T_e = A(x.D_e, bank.T_e, bank.T_e)
    T_u = A(x.D_e, bank.T_e, bank.T_u)
    V_u = A(x.D_u, bank.V_u, bank.V_u)
    A_u = A(V_u, bank.A_u, bank.A_u)
    return {"T_e": T_e, "T_u": T_u, "V_u": V_u, "A_u": A_u}


EQUATIONS = {
    ("image", "text"): {"text": eq_4, "image": eq_5, "audio": eq_6},
    ("audio", "text"): {"text": eq_11, "audio": eq_12, "image": eq_13},
    ("depth", "text"): {"audio": depth_text_from_audio, "depth": depth_text_from_depth},
}
"""Modalities of the expert, and the start, to the equation."""
