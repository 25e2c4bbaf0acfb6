"""Compares ImageBind with its owners' code, from files to rows: parity/README.md.

    PYTHONPATH=.:tests python -m parity.imagebind --checkout ImageBind --pytorchvideo pytorchvideo

The owners' loaders read the items and their model embeds them, with the weights of the tests' toy.
``--write`` stores their numbers, which the tests compare with ours where this code is not at hand.

The environment needs torch and torchaudio, torchvision, timm, ftfy, regex, einops, iopath,
setuptools below 81 (for pkg_resources), and what ``encoders_torch`` needs. Beside a CPU build of
torch, delete ``torchaudio/lib/*.so``, which are built for CUDA.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import torch
import tyro
from safetensors.numpy import save_file

from encoders_torch.imagebind import ImageBind, ImageBindCutEnd
from encoders_torch.imagebind.image import normalised
from encoders_torch.imagebind.upstream import UpstreamCheckpoint
from fb_jax.errors import FreeBindError
from parity.clap import declare_torchvision_ops
from parity.imagebind_items import LONG, Items, write_items

FIXTURES = Path(__file__).parents[1] / "tests/encoders_torch/fixtures"
WEIGHTS = FIXTURES / "imagebind_tiny/weights.safetensors"
NUMBERS = FIXTURES / "imagebind_upstream"

INPUTS_WITHIN = {"audio": 1e-3, "image": 0.0, "text": 0.0}
"""Largest difference of an input. Near-silent bins show the rounding of the owners' float32."""

ROWS_WITHIN = {"audio": 1e-5, "image": 1e-6, "text": 1e-6}
APART = 1e-4
"""Rows of different items must differ by more than this; otherwise agreement means nothing."""

TOWERS = {"audio": "audio", "image": "vision", "text": "text"}
END = 49407

Numbers = dict[str, np.ndarray]
"""MODALITY.inputs and MODALITY.rows: of every item some input values, and the unit row."""


@dataclass(frozen=True)
class Config:
    """Compare ImageBind with its owners' code.

    Attributes:
        checkout: Folder of facebookresearch/ImageBind.
        pytorchvideo: Folder of facebookresearch/pytorchvideo at the commit that ImageBind's
            requirements.txt names. The installed one if not given.
        write: Store the owners' numbers for the tests.
    """

    checkout: Path
    pytorchvideo: Path | None = None
    write: bool = False


def main() -> None:
    """Print a line for every item; exit with status 1 if any differs."""
    config = tyro.cli(Config)
    torch.set_num_threads(2)
    ops = declare_torchvision_ops()
    with tempfile.TemporaryDirectory() as folder:
        items = write_items(Path(folder))
        data = import_owners(config.checkout, config.pytorchvideo)
        kind, wanted = owners_numbers(data, items)
        passed = compare(our_numbers(kind, items), wanted, items)
    del ops
    if config.write:
        NUMBERS.mkdir(exist_ok=True)
        save_file(wanted, NUMBERS / f"{kind.__name__}.safetensors")
    print(f"{kind.__name__}: {sum(passed)} passed, {len(passed) - sum(passed)} failed")
    sys.exit(not all(passed))


# The owners' code


def import_owners(checkout: Path, pytorchvideo: Path | None) -> Any:
    """Import the owners' loaders unchanged; return their module ``imagebind.data``.

    Two modules of pytorchvideo that only read videos are left out, since they need old libraries.
    torchaudio 2.11 reads files with torchcodec; soundfile gives the same samples.
    """
    sampler = (pytorchvideo or _installed()) / "pytorchvideo/data/clip_sampling.py"
    for path in (checkout / "imagebind/data.py", sampler):
        if not path.exists():
            raise FreeBindError("this is no checkout of the owners' code", where=path)
    video = {name: ModuleType(name) for name in ("pytorchvideo", "pytorchvideo.data")}
    for name, module in video.items():
        module.__path__ = [str(sampler.parents[2].joinpath(*name.split(".")))]
    video["pytorchvideo"].transforms = ModuleType("transforms")  # type: ignore[attr-defined]
    reader: Any = ModuleType("pytorchvideo.data.encoded_video")
    reader.EncodedVideo = None
    sys.modules |= video | {reader.__name__: reader}
    sys.path.insert(0, str(checkout))
    import torchaudio

    torchaudio.load = _load
    from imagebind import data

    return data


def _installed() -> Path:
    spec = find_spec("pytorchvideo")
    if spec is None or spec.origin is None:
        raise FreeBindError("pytorchvideo is missing", fix="give its checkout: --pytorchvideo DIR")
    return Path(spec.origin).parents[1]


def _load(path: Path) -> tuple[torch.Tensor, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def owners_numbers(data: Any, items: Items) -> tuple[type[ImageBind], Numbers]:
    """Return which of our classes cuts captions as this checkout does, and the checkout's numbers.

    If captions lose their end there, the numbers are those of the captions alone.
    """
    keeps_end = data.load_and_transform_text([LONG[-1]], "cpu")[0, -1] == END
    readers = {
        "audio": data.load_and_transform_audio_data,
        "image": data.load_and_transform_vision_data,
        "text": data.load_and_transform_text,
    }
    checkpoint = UpstreamCheckpoint(WEIGHTS)

    def read(modality: str) -> torch.Tensor:
        return readers[modality](list(items[modality].values()), "cpu")

    def embed(modality: str, inputs: torch.Tensor) -> torch.Tensor:
        return checkpoint.tower(TOWERS[modality]).eval()(inputs)

    kind = ImageBind if keeps_end else ImageBindCutEnd
    return kind, numbers(readers if keeps_end else ["text"], read, embed)


# Ours, and the comparison


def our_numbers(kind: type[ImageBind], items: Items) -> Numbers:
    """Return the numbers of one of our classes for all items."""
    encoder = kind(WEIGHTS)
    reads = {m: [encoder.read(m, item) for item in items[m].values()] for m in items}

    def read(modality: str) -> torch.Tensor:
        inputs = torch.from_numpy(np.stack(reads[modality]))
        return normalised(inputs) if modality == "image" else inputs

    def embed(modality: str, _: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(encoder.rows(modality, reads[modality]))

    return numbers(items, read, embed)


def numbers(
    modalities: Any,
    read: Callable[[str], torch.Tensor],
    embed: Callable[[str, torch.Tensor], torch.Tensor],
) -> Numbers:
    """Return the numbers of all items.

    Args:
        modalities: Which.
        read: Modality to prepared inputs: audio [n, 3, 1, 128, 204], image [n, 3, 224, 224], text
            [n, 77].
        embed: Modality and inputs to unit rows.
    """
    found = {}
    for modality in modalities:
        inputs = read(modality)
        with torch.no_grad():
            found[f"{modality}.rows"] = embed(modality, inputs).numpy()
        found[f"{modality}.inputs"] = np.ascontiguousarray(_some(modality, inputs.numpy()))
    return found


def _some(modality: str, inputs: np.ndarray) -> np.ndarray:
    """Return enough of the inputs to show a shift by a sample or pixel."""
    if modality == "audio":
        return inputs[:, :, 0, ::8, ::6]
    return inputs[:, :, ::16, ::16] if modality == "image" else inputs.astype(np.int32)


def compare(ours: Numbers, theirs: Numbers, items: Items) -> list[bool]:
    """Print each item's largest differences; return whether it agrees and differs from others."""
    passed = []
    for modality in sorted(key.removesuffix(".rows") for key in theirs if key.endswith(".rows")):
        inputs, rows = f"{modality}.inputs", f"{modality}.rows"
        for i, name in enumerate(items[modality]):
            off = np.abs(ours[inputs][i] - theirs[inputs][i]).max()
            wide = np.abs(ours[rows][i] - theirs[rows][i]).max()
            near = _apart(theirs, modality, i)
            fine = off <= INPUTS_WITHIN[modality] and wide <= ROWS_WITHIN[modality] < near
            print(
                f"{modality:5} {name:34} inputs {off:.1e}  rows {wide:.1e}  (next item {near:.0e})"
                f"{'' if fine else ' FAILED'}"
            )
            passed.append(bool(fine))
    return passed


def _apart(numbers: Numbers, modality: str, i: int) -> float:
    """Return how far the row of an item is from those of items with other inputs.

    Of captions, what follows the token that is embedded does not count.
    """
    inputs, rows = numbers[f"{modality}.inputs"], numbers[f"{modality}.rows"]
    if modality == "text":
        inputs = np.where(np.arange(inputs.shape[1]) <= inputs.argmax(1)[:, None], inputs, 0)
    other = [j for j in range(len(rows)) if not np.array_equal(inputs[i], inputs[j])]
    return float(np.abs(rows[other] - rows[i]).max(axis=1).min())


if __name__ == "__main__":
    main()
