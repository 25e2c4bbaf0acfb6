"""Tuning an audio encoder on audio-image pairs: settings, pairs, the loop, and the tuned model."""
