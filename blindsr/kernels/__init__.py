"""Blur kernels: families to draw from, the basis that codes them, files and words that name them.

Everywhere a kernel is (h, w) or (n, h, w), both sides odd, with its centre at h//2, w//2 and sum 1.
"""
