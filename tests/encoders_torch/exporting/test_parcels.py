"""What workers hand over: small messages, whatever they stand for."""

from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from encoders_torch.exporting.parcels import Parcel


def test_a_parcel_holds_any_value_and_is_a_small_message():
    """A message of up to 4096 bytes is in a pipe as a whole, or not at all."""
    value = {"tensor": torch.arange(10_000), "arrays": [np.arange(10_000)], "text": "é" * 10_000}
    parcel = Parcel(value)
    assert len(ForkingPickler.dumps(parcel)) < 4096
    found = Parcel(value).opened()
    assert torch.equal(found["tensor"], value["tensor"])
    np.testing.assert_array_equal(found["arrays"][0], value["arrays"][0])
    assert found["text"] == value["text"]


def test_what_cannot_be_pickled_is_told_at_once():
    with pytest.raises(Exception, match="pickle"):
        Parcel([lambda: 0])


def test_torch_opens_a_parcel_to_pin_what_is_in_it():
    assert pin_memory(Parcel(["a", {"b": 1}])) == ["a", {"b": 1}]
