"""Sources of items to encode: folders of media, lists, archives, tables. Their order is fixed."""

from encoders_torch.sources.listing import list_items
from encoders_torch.sources.source import Source, SourceOptions, open_source

__all__ = ["Source", "SourceOptions", "list_items", "open_source"]
