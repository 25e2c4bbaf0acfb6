"""Stand-ins for what others publish, of the same layout and a thousandth of the size."""
