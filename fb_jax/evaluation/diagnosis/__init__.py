"""Diagnosis of spaces before and after a bond, without pairs: measures, a rehearsal, verdicts."""


