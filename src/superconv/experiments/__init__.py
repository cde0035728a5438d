"""Experiments: arms and seeds, run once, resumed, compared."""
