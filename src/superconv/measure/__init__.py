"""Measurements on a live model, which is as it was afterwards."""
