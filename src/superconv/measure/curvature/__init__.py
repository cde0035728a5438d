"""Curvature of a live model's loss, which is as it was afterwards."""
