"""Methods that a benchmark compares; each is one file here and registers itself as a ``method``."""
