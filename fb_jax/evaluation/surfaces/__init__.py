"""Scores over the factors (Figures 3-6): surfaces, their pictures, and choosing on them."""
