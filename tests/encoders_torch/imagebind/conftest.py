import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from encoders_torch.imagebind import ImageBind

FIXTURE = Path(__file__).parents[1] / "fixtures" / "imagebind_tiny"
WEIGHTS = FIXTURE / "weights.safetensors"


@pytest.fixture(scope="session")
def goldens():
    """Preprocessed inputs, and outputs of ImageBind's released code at toy size. Read only."""
    return load_file(FIXTURE / "goldens.safetensors")


@pytest.fixture(scope="session")
def items():
    """Modality to the captions and paths that the goldens were made from. Read only."""
    named = json.loads((FIXTURE / "inputs.json").read_text(encoding="utf-8"))
    media = FIXTURE / "media"
    return {
        "text": named["texts"],
        "image": [media / name for name in named["images"]],
        "audio": [media / name for name in named["audios"]],
    }


@pytest.fixture(scope="session")
def weights():
    return WEIGHTS


@pytest.fixture(scope="session")
def encoder():
    """The toy ImageBind. Read only."""
    return ImageBind(WEIGHTS)


@pytest.fixture
def state():
    """The toy's state dict, in its own dtypes."""
    return load_tensors(WEIGHTS)
