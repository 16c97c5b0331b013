"""What the figures of a benchmark are called and how they are written: once, for tables and page alike."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """A figure of merit: its ``label`` and ``unit`` for people, its decimals, and whether less of it is better."""

    label: str
    unit: str = ""
    digits: int = 2
    lower_is_better: bool = False

    @property
    def heading(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def text(self, value: float | None, sign: str = "") -> str:
        """``value`` as it is printed, a dash for None; ``sign`` "+" writes it before positive numbers too."""
        if value is None:
            return "–"
        rounded = round(value, self.digits) + 0.0  # no negative zero
        return f"{rounded:{sign if rounded else ''}.{self.digits}f}".replace("-", "−").replace("inf", "∞")


FIGURES = {
    "psnr": Figure("PSNR", "dB"),
    "ssim": Figure("SSIM", digits=4),
    "niqe": Figure("NIQE", lower_is_better=True),
    "lpips": Figure("LPIPS", digits=4, lower_is_better=True),
    "dists": Figure("DISTS", digits=4, lower_is_better=True),
    "brisque": Figure("BRISQUE", lower_is_better=True),
    "pi": Figure("PI", lower_is_better=True),
    "aligned_psnr": Figure("aligned PSNR", "dB"),
    "kernel_psnr": Figure("aligned kernel PSNR", "dB"),
    "kernel_correlation": Figure("aligned kernel correlation", digits=3),
    "kernel_risk": Figure("kernel risk", digits=3, lower_is_better=True),
    "sigma_error_255": Figure("σ error", "of 255", lower_is_better=True),
    "redegraded_psnr": Figure("re-degradation PSNR (sanity only)", "dB"),
    "seconds": Figure("seconds per photo", lower_is_better=True),
}
# What is said of every method beside the protocol's own metrics.
DIAGNOSTICS = (
    "aligned_psnr",
    "kernel_psnr",
    "kernel_correlation",
    "kernel_risk",
    "sigma_error_255",
    "redegraded_psnr",
    "seconds",
)


def figure(name: str) -> Figure:
    """The figure of that name; one that only pyiqa knows is called as it is there, and has to be made
    :func:`make_known` where less of it is better."""
    return FIGURES.get(name) or Figure(name.replace("_", " ").upper(), digits=3)


def make_known(name: str, lower_is_better: bool) -> None:
    """Make a figure known that stands in no list here."""
    FIGURES.setdefault(name, figure(name)._replace(lower_is_better=lower_is_better))
