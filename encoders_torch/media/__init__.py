"""Reads media: pictures as Pillow images, recordings as samples; files, or bytes from elsewhere."""

from encoders_torch.media.medium import Media, MediaOptions, as_media
from encoders_torch.media.pictures import read_image
from encoders_torch.media.recordings import read_audio, read_channels, read_mono, resample
from encoders_torch.media.segments import segment_of
from encoders_torch.media.suffixes import extra_for, suffixes

__all__ = [
    "Media",
    "MediaOptions",
    "as_media",
    "extra_for",
    "read_audio",
    "read_channels",
    "read_image",
    "read_mono",
    "resample",
    "segment_of",
    "suffixes",
]
