"""Readers of the evaluation data sets: from official lists and media to item lists and labels."""
