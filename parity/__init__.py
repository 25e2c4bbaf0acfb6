"""Our encoders beside the packages that they stand for, in environments of their own."""
