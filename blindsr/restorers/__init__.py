"""Non-blind restorers: given a kernel and a noise level, find the sharp image."""
