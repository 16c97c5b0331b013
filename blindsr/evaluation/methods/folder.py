"""Results of any other program: a folder of pictures named like ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from blindsr import images
from blindsr.alternating import AlternatingSR
from blindsr.evaluation.cases import Case
from blindsr.evaluation.methods.base import Method, Result, check_path, files_fingerprint
from blindsr.interfaces import BlindSRError
from blindsr.registry import register


@dataclass(frozen=True)
class FolderConfig:
    """``path``: the folder, which gives the row its name. A file is called ``IMAGE_x4_KERNEL_s2.55``, as the folders in
    ``pictures/`` are; ``IMAGE_x4`` will do where a photo has one kernel and one noise level, and ``IMAGE`` where one scale is
    chosen besides."""

    path: str = ""


@register("method", "folder", FolderConfig)
class Folder(Method):
    """Gray results are repeated to three channels; 16-bit ones count by their own range."""

    @property
    def label(self) -> str:
        return check_path("folder", self.config.path).resolve().name

    def _files(self) -> dict[str, Path]:
        """Name without suffix -> file."""
        path = check_path("folder", self.config.path)
        if not path.is_dir():
            raise BlindSRError(f"method folder: {path} is no folder; name the one that holds the results")
        files: dict[str, Path] = {}
        for file in images.find([path]):
            if file.stem in files:
                raise BlindSRError(f"{file}: {files[file.stem].name} has the same name; keep one of them")
            files[file.stem] = file
        return files

    def check(self, model: AlternatingSR | None) -> None:
        self._files()

    def fingerprint(self) -> str:
        return files_fingerprint(list(self._files().values()))

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        names, files = (case.spec.name, *case.spec.aliases), self._files()
        path = next((files[name] for name in names if name in files), None)
        if path is None and case.spec.image in files and case.spec.aliases:
            file, name = files[case.spec.image], case.spec.aliases[0]
            raise BlindSRError(f"{file} does not say of which scale it is; call it {name}{file.suffix}, or choose one --scale")
        if path is None:
            raise BlindSRError(f"{check_path('folder', self.config.path)}: holds no {names[0]}.png; "
                               "add it, or pick images with --limit and --set")  # fmt: skip
        pixels = images.to_float(images.read(path).pixels)
        return [Result(torch.from_numpy(pixels).permute(2, 0, 1).expand(3, -1, -1)[None])]
