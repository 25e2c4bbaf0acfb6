"""A split with labels on disk: media, classes, and prompts of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fb_jax import files
from fb_jax.banks import BankAbout, Encoder, Split, bank_writer, write_items

TEMPLATES = ("a {}", "some {}")


def write_labelled(
    split: Split,
    spaces: Mapping[str, Mapping[str, int]],
    items: int = 24,
    classes: int = 4,
    dataset: str = "esc50",
    media: str = "audio",
    templates: Sequence[str] = TEMPLATES,
    seed: int = 0,
) -> None:
    """Write items that lie near the prompts of their classes.

    Args:
        split: Where to write.
        spaces: Space to modality to dimension.
        items: Number of media.
        classes: Number of classes; item i has the class i modulo that.
        dataset: Name in ``dataset.json``.
        media: Modality of the items.
        templates: Prompts of each class.
        seed: Of the rows.
    """
    label = np.arange(items) % classes
    prompt = np.repeat(np.arange(classes), len(templates))
    names = [f"class {c}" for c in range(classes)]
    texts = [
        (f"{c}#{k}", t.format(names[c])) for c in range(classes) for k, t in enumerate(templates)
    ]
    lists = {
        media: [{"id": f"item {i}"} for i in range(items)],
        "class": [{"id": str(c), "caption": name} for c, name in enumerate(names)],
        "text": [{"id": key, "caption": text} for key, text in texts],
    }
    for modality, own in lists.items():
        write_items(split.items_path(modality), own)
    rng = np.random.default_rng(seed)
    for space, dims in spaces.items():
        centres = rng.normal(size=(classes, max(dims.values())))
        for modality in (m for m in dims if m in (media, "text")):
            owner = label if modality == media else prompt
            rows = centres[owner] + rng.normal(size=(len(owner), centres.shape[1]))
            about = BankAbout(space, modality, Encoder(space), split.items(modality).digest)
            with bank_writer(
                split.bank_path(space, modality), about, dim=rows.shape[1], count=len(rows)
            ) as writer:
                writer.append(rows.astype(np.float32))
    split.write_pairs(media, "class", np.stack([np.arange(items), label], axis=1))
    split.write_pairs("class", "text", np.stack([prompt, np.arange(len(prompt))], axis=1))
    record = {"dataset": dataset, "version": "1", "templates": list(templates)}
    files.write_json(split.path / "dataset.json", record)
