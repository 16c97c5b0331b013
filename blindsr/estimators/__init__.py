"""Estimators of the blur kernel's code and of the noise level."""
