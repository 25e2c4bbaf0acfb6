"""ImageBind: audio, image and text in one space (Girdhar et al., CVPR 2023, arXiv:2305.05665).

Towers and preprocessing are our own, in plain torch, NumPy and Pillow. The weights are published:
``imagebind_huge.pth``. Their licence allows non-commercial use, and applies to embeddings too.
"""

from encoders_torch.imagebind.encoder import ImageBind, ImageBindCutEnd

__all__ = ["ImageBind", "ImageBindCutEnd"]
