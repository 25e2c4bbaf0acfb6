"""The owners' code gave these numbers; parity/README.md tells how they were made."""

import pytest
from safetensors.numpy import load_file

from encoders_torch.imagebind import ImageBind, ImageBindCutEnd
from parity.imagebind import NUMBERS, compare, our_numbers
from parity.imagebind_items import write_items


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


@pytest.mark.parametrize("kind", [ImageBind, ImageBindCutEnd])
def test_files_and_captions_have_the_rows_of_the_owners_code(made, kind, capsys):
    theirs = load_file(NUMBERS / f"{kind.__name__}.safetensors")
    items = {modality: made[modality] for modality in made if f"{modality}.rows" in theirs}
    passed = compare(our_numbers(kind, items), theirs, items)
    assert all(passed), capsys.readouterr().out
    assert len(passed) == {ImageBind: 37, ImageBindCutEnd: 15}[kind]
