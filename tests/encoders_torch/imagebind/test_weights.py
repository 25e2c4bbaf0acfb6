import pytest
import torch

from encoders_torch.imagebind import ImageBind, weights
from fb_jax.errors import FreeBindError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's, and no publisher."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "URL", (tmp_path / "publisher/imagebind_huge.pth").as_uri())
    return tmp_path / "cache/hub/checkpoints/imagebind_huge.pth"


def test_a_path_that_is_wrong_tells_what_belongs_there(tmp_path, cache):
    with pytest.raises(FreeBindError) as caught:
        ImageBind(tmp_path / "no.pth")
    for part in ("no.pth", "facebookresearch/ImageBind", "CC-BY-NC-SA-4.0", weights.URL, cache):
        assert str(part) in str(caught.value)


def test_without_a_network_the_error_says_what_to_get_and_where_to_put_it(cache, capsys):
    with pytest.raises(FreeBindError, match=r"are missing(.|\n)*No such file") as caught:
        ImageBind()
    assert f"put it at {cache}" in str(caught.value)
    assert not list(cache.parent.glob("*"))
    assert "CC-BY-NC-SA-4.0" in capsys.readouterr().err


def test_what_is_published_is_downloaded_once(tmp_path, cache, state):
    (tmp_path / "publisher").mkdir()
    published = tmp_path / "publisher/imagebind_huge.pth"
    torch.save(state, published)
    assert ImageBind().dim == 48
    assert cache.read_bytes() == published.read_bytes()
    published.unlink()
    assert ImageBind().dim == 48
