"""Degradations: making the low-resolution photo from the sharp one, for training and for tests."""
