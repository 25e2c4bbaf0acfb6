"""Compares ``internvl`` with InternVL's own code at toy size: parity/README.md.

    python -m parity.internvl --checkout DIR

DIR is a clone of github.com/OpenGVLab/InternVL. Its code runs: read ``HERE`` in it first. The
environment is that of InternVL (docs/encoders.md), with torchvision.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import tyro
from numpy import ndarray
from PIL import Image
from tiny.tokenizers import write_llama

from parity.recordings import CAPTIONS
from parity.torchvision_ops import declare_torchvision_ops

HERE = Path("clip_benchmark/clip_benchmark/models")
PACKAGE = "internvl_huggingface"
VOCABULARY = HERE / "internvl_c_pytorch/chinese_alpaca_lora_7b"
RECORDED = Path(__file__).with_name("internvl.json")
WITHIN = {"float32": 1e-6, "bfloat16": 1e-2}
"""Largest difference of a number of a unit row. In bfloat16 captions that are cut are rounded in
another order."""

TOWER = {"num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 96}
SIZES = {
    "vision_config": {**TOWER, "num_hidden_layers": 2, "use_flash_attn": False},
    "qllama_config": {**TOWER, "num_hidden_layers": 2, "vocab_size": 49954, "pad_token_id": 0},
    "attn_pool_num_heads": 4,
    "num_query_token": 4,
}
CLASSES = {
    "AutoConfig": "configuration_internvl.InternVLConfig",
    "AutoModel": "modeling_internvl.InternVLModel",
}
PICTURES = ((224, 224), (300, 260), (97, 301), (640, 480))
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class Settings:
    """Compares ``internvl`` with InternVL's own code at toy size.

    Attributes:
        checkout: Clone of github.com/OpenGVLab/InternVL, whose code runs.
        write: Record the numbers in parity/internvl.json.
    """

    checkout: Path
    write: bool = False


def main() -> None:
    """Print a line for each comparison; exit with status 1 if any differs."""
    settings = tyro.cli(Settings)
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    ops = declare_torchvision_ops()
    sys.path.insert(0, str(settings.checkout / HERE))
    with tempfile.TemporaryDirectory() as folder:
        write_model(settings.checkout, Path(folder))
        numbers, passed = compare(Path(folder))
    del ops
    if settings.write:
        RECORDED.write_text(json.dumps(numbers) + "\n")
    passed.append(numbers == json.loads(RECORDED.read_text()))
    print(f"the recorded token ids: {'equal' if passed[-1] else 'DIFFERENT'}")
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    sys.exit(not all(passed))


def write_model(checkout: Path, folder: Path) -> None:
    """Write a model folder as the published one, with random weights, and InternVL's own code."""
    from internvl_huggingface import InternVLConfig, InternVLModel

    torch.manual_seed(0)
    config = InternVLConfig(**SIZES, auto_map=CLASSES)
    model = InternVLModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    for path in [*(checkout / HERE / PACKAGE).glob("*.py"), *(checkout / VOCABULARY).iterdir()]:
        if path.name not in ("__init__.py", "config.json"):
            shutil.copy(path, folder)
    (folder / "flash_attention.py").write_text('raise ImportError("not needed")\n')
    pictures = {"size": 224, "crop_size": 224, "image_mean": MEAN, "image_std": DEVIATION}
    kind = {"image_processor_type": "CLIPImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures | kind))


def compare(folder: Path) -> tuple[dict[str, Any], list[bool]]:
    """Compare tokens, pixels and rows; return the token ids and whether each agrees."""
    from internvl_huggingface import InternVL_C, InternVLTokenizer

    from encoders_torch.internvl import InternVL

    images = write_pictures(folder / "media")
    tokens = InternVLTokenizer(folder)(list(CAPTIONS))
    opened = [Image.open(path) for path in images]  # FreeBind's code prepares them in this way:
    processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    pixels = processor(opened, return_tensors="pt").pixel_values
    passed = []
    for precision, within in WITHIN.items():
        ours = InternVL(folder, precision=precision, trust_remote_code=True)
        reads = [ours.read("text", caption) for caption in CAPTIONS]
        passed.append(show("token ids", np.stack(reads), tokens.numpy(), 0))
        theirs = InternVL_C.from_pretrained(folder, torch_dtype=ours.dtype).eval()
        with torch.no_grad():
            text, image = theirs.encode_text(tokens), theirs.encode_image(pixels.to(ours.dtype))
        alone = [ours.rows("text", [read]) for read in reads]  # each cut to its own length
        mine = {
            "text": np.concatenate(alone),
            "image": ours.rows("image", [ours.read("image", path) for path in images]),
        }
        for modality, rows in (("text", text), ("image", image)):
            name = f"{modality} in {precision}"
            passed.append(show(name, unit(mine[modality]), unit(rows.float().numpy()), within))
    show_other_padding(folder, theirs.float(), tokens)
    show_other_transform(theirs, opened, pixels)
    write_llama(toy := folder / "toy")
    numbers = {
        "source": "InternVLTokenizer of github.com/OpenGVLab/InternVL",
        "published vocabulary": _ids(tokens),
        "toy vocabulary": _ids(InternVLTokenizer(toy)(list(CAPTIONS))),
    }
    return numbers, passed


def write_pictures(folder: Path) -> list[Path]:
    """Write pictures of coarse noise in several shapes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        coarse.resize((width, height)).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def _ids(tokens: torch.Tensor) -> dict[str, list[int]]:
    return {c: row[row > 0].tolist() for c, row in zip(CAPTIONS, tokens, strict=True)}


def unit(rows: ndarray) -> ndarray:
    """Return unit rows."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def show(name: str, ours: ndarray, theirs: ndarray, within: float) -> bool:
    """Print the largest difference; return whether it is small, and items differ by more."""
    off = float(np.abs(ours - theirs).max())
    apart = float(np.abs(theirs[1:] - theirs[:1]).max(axis=1).min())
    ok = off <= within < apart
    print(f"{name:18} {off:.1e}  (next item {apart:.0e}) {'' if ok else 'FAILED'}")
    return ok


def show_other_padding(folder: Path, theirs: Any, tokens: torch.Tensor) -> None:
    """Print how far rows are with the padding that the tokenizer's own files name."""
    other = transformers.AutoTokenizer.from_pretrained(folder, use_fast=False, add_eos_token=True)
    texts = [f"summarize:{caption}" for caption in CAPTIONS]
    length = {"truncation": True, "padding": "max_length", "max_length": tokens.shape[1]}
    padded = other(texts, return_tensors="pt", **length).input_ids
    with torch.no_grad():
        rows = [unit(theirs.encode_text(ids).numpy()) for ids in (tokens, padded)]
    cosines = ", ".join(f"{cosine:.2f}" for cosine in (rows[0] * rows[1]).sum(axis=1))
    print(f"padded with {other.pad_token} ({other.pad_token_id}), the cosines are {cosines}")


def show_other_transform(theirs: Any, opened: list[Any], pixels: torch.Tensor) -> None:
    """Print how far rows are with the preparation of pictures in InternVL's repository."""
    from internvl_huggingface import build_transform

    with torch.no_grad():
        wanted = unit(theirs.encode_image(pixels).numpy())
        for task in ("classification", "retrieval"):
            other = torch.stack([build_transform(task)(image) for image in opened])
            off = np.abs(unit(theirs.encode_image(other).numpy()) - wanted).max()
            print(f"prepared as InternVL does for {task}, rows of pictures move by {off:.0e}")


if __name__ == "__main__":
    main()
