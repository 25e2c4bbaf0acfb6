"""Examples: programs that use the packages."""
