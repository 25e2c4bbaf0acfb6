"""Figures of docs/diagnosis.md, from the results of ``benchmarks.robustness``."""


def draw(results, folder):
    pass
