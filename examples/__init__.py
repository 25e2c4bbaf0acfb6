"""Examples: what a user of the packages would write."""
