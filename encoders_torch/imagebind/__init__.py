"""ImageBind: audio, image and text in one space (Girdhar et al., CVPR 2023, arXiv:2305.05665).

Towers and preprocessing of our own in plain torch, NumPy and Pillow; the weights are the published
``imagebind_huge.pth``. Its licence is for non-commercial use, and embeddings inherit it.
"""

from encoders_torch.imagebind.encoder import ImageBind

__all__ = ["ImageBind"]
