"""Sources of items to encode: folders of media, lists, archives, tables. Their order is fixed."""

from encoders_torch.sources.listing import list_items
from encoders_torch.sources.opening import open_source
from encoders_torch.sources.options import SourceOptions
from encoders_torch.sources.source import Source

__all__ = ["Source", "SourceOptions", "list_items", "open_source"]
