"""Which cases a protocol has: the photos of its sets × scales × kernels × noise levels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from blindsr import images
from blindsr.config import nearest
from blindsr.evaluation.cases import CaseSpec, Kernel
from blindsr.evaluation.protocol import ImageSet, Protocol, Setting
from blindsr.interfaces import BlindSRError
from blindsr.kernels.files import SUFFIXES, parse_kernel
from blindsr.kernels.gaussian import gaussian


def list_specs(
    protocol: Protocol,
    data: Path,
    limit: int | None = None,
    sets: Sequence[str] | None = None,
    scales: Sequence[int] | None = None,
    sigmas_255: Sequence[float] | None = None,
) -> list[CaseSpec]:
    """Every case: the first ``limit`` photos of each of the ``sets``, × scale (of ``scales``) × kernel × σ (of
    ``sigmas_255``); None: all.

    Raises BlindSRError for a missing or empty folder, an unknown set, scale or σ, a kernel that a group names and no
    setting has, and files without their counterpart.
    """
    known = [s.name for s in protocol.sets]
    if unknown := set(sets or ()) - set(known):
        raise BlindSRError(f"no set is called {unknown.pop()!r} in this protocol; it has {', '.join(known)}")
    chosen = [s for s in protocol.sets if not sets or s.name in sets]
    known_scales = [s.scale for s in protocol.settings]
    if unknown_scales := set(scales or ()) - set(known_scales):
        has = ", ".join(map(str, known_scales))
        raise BlindSRError(f"this protocol has no scale {min(unknown_scales)}; it has {has}")
    known_sigmas = {v for s in protocol.settings if not scales or s.scale in scales for v in s.sigma_255}
    if unknown_sigmas := set(sigmas_255 or ()) - known_sigmas:
        has = ", ".join(f"{v:g}" for v in sorted(known_sigmas))
        at = f" at ×{', ×'.join(map(str, scales))}" if scales else ""
        raise BlindSRError(f"this protocol has no noise of σ {min(unknown_sigmas):g}{at}; it has {has} (of 255)")
    one_scale = len(set(scales or known_scales)) == 1  # else results of one scale would pass for those of another
    found = [None if protocol.given else kernels_of(setting, data) for setting in protocol.settings]
    _check_names(protocol, {k.name for kernels in found for k in kernels or ()})
    specs = []
    for setting, kernels in zip(protocol.settings, found):
        if scales and setting.scale not in scales:
            continue
        for image_set in chosen:
            photos = _photos(image_set, data, setting.scale, known)
            for number, (name, (hr, lr, kernel_file)) in enumerate(list(photos.items())[:limit]):
                image = name if len(protocol.sets) == 1 else f"{image_set.name}-{name}"
                common = (image_set.name, image, hr, lr, kernel_file, setting.scale)
                short = (f"{image}_x{setting.scale}", *([image] if one_scale else []))
                first = number < protocol.pictures
                if kernels is None:
                    specs.append(CaseSpec(*common, 0.0, None, aliases=short, pictured=first))
                    continue
                alone = len(kernels) == len(setting.sigma_255) == 1
                aliases = short if alone else ()
                for sigma in (v for v in setting.sigma_255 if not sigmas_255 or v in sigmas_255):
                    for kernel in kernels:
                        others = tuple(k for k in kernels if k is not kernel)
                        shown = first and kernel.name in (protocol.pictured_kernels or (kernel.name,))
                        specs.append(CaseSpec(*common, sigma, kernel, others, aliases, shown))
    return specs


def _check_names(protocol: Protocol, names: set[str]) -> None:
    """The kernels that groups and pictures name must be there."""
    named = {*protocol.pictured_kernels, *(k for group in protocol.groups for k in group.kernels)}
    if names and (unknown := sorted(named - names)):
        raise BlindSRError(f"groups or pictured_kernels: no kernel is called {unknown[0]!r}{nearest(unknown[0], names)}")


def _photos(
    image_set: ImageSet, data: Path, scale: int, known: Sequence[str]
) -> dict[str, tuple[Path | None, Path | None, Path | None]]:
    """Name -> (hr, lr, kernel file), in the order of the names."""

    def files(folder: str, of: str = "photos") -> dict[str, Path]:
        path = data / folder.replace("{scale}", str(scale))
        if not path.is_dir():
            pick = f", or choose among the sets ({', '.join(known)}) with --set" if len(known) > 1 else ""
            raise BlindSRError(f"{path}: no such folder; give the folder that holds {folder} as --data{pick}")
        kernels = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        found = images.find([path]) if of == "photos" else kernels
        named: dict[str, Path] = {}
        for file in found:
            stem = file.stem
            for word in image_set.ignore:
                stem = stem.replace(word, "")
            if stem in named:
                raise BlindSRError(f"{file}: belongs to the same photo as {named[stem].name}; keep one of them")
            named[stem] = file
        return named

    hr = files(image_set.hr) if image_set.hr else None
    lr = files(image_set.lr) if image_set.lr else None
    kernels = files(image_set.kernels, of="kernels") if image_set.kernels else None
    if lr is None:
        return {name: (path, None, None) for name, path in hr.items()}

    def partner(files: Mapping[str, Path] | None, name: str, what: str, folder: str) -> Path | None:
        if files is not None and name not in files:
            raise BlindSRError(f"{lr[name]}: its {what} is missing in {data / folder.replace('{scale}', str(scale))}; "
                               "add it, or move the photo away")  # fmt: skip
        return None if files is None else files[name]

    order = sorted(lr, key=lambda name: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", name)])
    return {
        n: (partner(hr, n, "truth", image_set.hr), lr[n], partner(kernels, n, "kernel", image_set.kernels))
        for n in order
    }


# -- kernels of a setting ------------------------------------------------------------------------------------


def kernels_of(setting: Setting, data: Path) -> list[Kernel]:
    """The kernels of one scale; a single Dirac called ``none`` where there is no blur before the decimation.

    Raises BlindSRError for files and words that give none, and for two of one name.
    """
    told = parse_kernel(_named([setting.told], data)[0][1], setting.scale) if setting.told else None
    found = [(name, parse_kernel(text, setting.scale)) for name, text in _named(setting.kernels, data)]
    if row := setting.gaussians:
        widths = np.linspace(*row.widths, row.count)
        found += [(f"g{width:.2f}", gaussian(row.size, float(width))) for width in widths]
    kernels = [Kernel(name, array, told) for name, array in found or [("none", np.ones((1, 1)))]]
    names = [k.name for k in kernels]
    if double := {name for name in names if names.count(name) > 1}:
        raise BlindSRError(f"two kernels are called {double.pop()}; list each once")
    return kernels


def _named(entries: Sequence[str], data: Path) -> list[tuple[str, str]]:
    """Name of every kernel, and the text that the command line would know it by."""
    named = []
    for entry in entries:
        file, _, numbers = entry.partition("#")
        if numbers and not re.fullmatch(r"\d+(-\d+)?", numbers):
            raise BlindSRError(f"kernels {entry!r}: after # stands a number or a range, such as #3 or #1-12")
        if Path(file).suffix.lower() not in SUFFIXES:
            named.append((re.sub(r"[^\w.]+", "-", entry), entry))  # it serves in names of files
            continue
        folder = data / Path(file).parent  # which may be an absolute one
        paths = sorted(folder.glob(Path(file).name)) if "*" in file else [data / file]
        if not paths:
            raise BlindSRError(f"{data / file}: no kernel file of that name; check --data")
        first, _, last = numbers.partition("-")
        for path in paths:
            picked = range(int(first), int(last or first) + 1) if numbers else []
            named += [(f"k{n}", f"{path}#{n}") for n in picked] or [(path.stem, str(path))]
    return named
