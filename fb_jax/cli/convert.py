"""``freebind convert``: a fused space for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fb_jax.arguments import of_spaces
from fb_jax.cli.device import on_device
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.fusion.storage import read_metrics
from fb_jax.interop.onnx import write_onnx
from fb_jax.interop.sentence_transformers import write_sentence_transformer

ONNX_FILE = "space.onnx"


@on_device
def convert(
    space: Annotated[Path, Positional],
    to: Literal["sentence-transformers", "onnx"],
    out: Path | None = None,
    encoder: Annotated[tuple[str, ...], arg(metavar="SPACE=ENCODER ...")] = (),
) -> None:
    """Write a fused space for another program; factors stay changeable in both formats.

    Args:
        space: Folder that freebind export-space wrote.
        to: sentence-transformers adds files to a folder, so that SentenceTransformer reads it, too;
            onnx writes one file whose factors are inputs.
        out: Folder or file to write; by default the folder itself, or space.onnx in it.
        encoder: Encoders of native spaces for sentence-transformers, such as
            house=st:sentence-transformers/clip-ViT-B-32; without one, rows of the space must be
            given.
    """
    if encoder and to == "onnx":
        raise FreeBindError(
            "an ONNX file takes native rows, not items", got="--encoder", fix="leave it out"
        )
    fused = FusedSpace.load(space)
    if to == "onnx":
        path = out or space / ONNX_FILE
        write_onnx(fused, path)
        print(f"{path}: {fused}")
        print(f"ask for an output: {', '.join(fused.modalities)}; its inputs: MODALITY.SPACE")
        if fused.hubs is not None:
            print("hub correction: ask for MODALITY.query to ask with, MODALITY.item to be found")
        return
    named = of_spaces("--encoder", encoder, fused.spaces)
    encoders = {name: _located(text) for name, text in named.items()}
    folder = out or space
    write_sentence_transformer(fused, folder, encoders=encoders, metrics=read_metrics(space))
    print(f"{folder}: {fused}")
    for name in fused.spaces:
        if name not in {**fused.encoders, **encoders}:
            print(f"{name}: no encoder is named, so its rows must be given")
    print(f"read it: SentenceTransformer('{folder}', trust_remote_code=True)")
    if fused.hubs is not None:
        print("hub correction: encode_query to ask with, encode_document to be found")


def _located(encoder: str) -> str:
    """Return the name of an encoder; a folder of this machine by its whole path."""
    folder = Path(encoder.removeprefix("st:"))
    return f"st:{folder.absolute()}" if folder.is_dir() else encoder
