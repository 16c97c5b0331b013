"""Which packages a wheel holds; all else stands in pyproject.toml.

``configs/`` and ``pca/`` live at the top of the repository and land in ``blindsr/configs`` and
``blindsr/pca``, which pyproject.toml alone cannot say together with automatic discovery.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["blindsr", "blindsr.*"]), "blindsr.configs", "blindsr.pca"],
    package_dir={"blindsr.configs": "configs", "blindsr.pca": "pca"},
)
