"""Diagnosis of spaces before and after a bond, without pairs: measures, a prediction, verdicts."""

from fb_jax.evaluation.diagnosis.measure import diagnose, steps
from fb_jax.evaluation.diagnosis.report import Diagnosis
from fb_jax.evaluation.diagnosis.sample import Sampling

__all__ = ["Diagnosis", "Sampling", "diagnose", "steps"]
