"""Writes banks: items are read ahead in worker processes, encoded, and written by a thread."""
