"""Processed camera sensor noise: back to RAW, noise as a sensor makes it, and through a camera's processing again.

After Brooks et al., "Unprocessing Images for Learned Raw Denoising" (CVPR 2019): inverse tone curve, inverse gamma,
inverse colour matrix, inverse gains with highlights kept, mosaic; shot and read noise; then demosaicing, gains, colour
matrix, gamma and tone curve. The published BSRGAN code leaves this step out (its ``isp_model`` is None).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from blindsr.degradation.operation import Drawn, Operation, Pair, new_seed
from blindsr.limits import check_least, check_rising
from blindsr.registry import register

# XYZ (D65) -> camera, of four cameras, from the colour matrices of their DNG files; as listed by Brooks et al.
XYZ_TO_CAMERA = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
RGB_TO_XYZ = np.array(  # sRGB, IEC 61966-2-1
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
GAMMA = 2.2


@dataclass(frozen=True)
class CameraConfig:
    """White balance gains uniform in ``red`` and ``blue``; brightness 1/N(``gain``); variance of the shot noise, per
    unit of light, log-uniform in ``shot``; that of the read noise follows it, log-normally (Brooks et al., fig. 6)."""

    red: tuple[float, float] = (1.9, 2.4)
    blue: tuple[float, float] = (1.5, 1.9)
    gain: tuple[float, float] = (0.8, 0.1)
    shot: tuple[float, float] = (1e-4, 0.012)
    read: tuple[float, float, float] = (2.18, 1.20, 0.26)

    def __post_init__(self) -> None:
        check_rising(0.1, 10, red=self.red, blue=self.blue)
        check_rising(1e-8, 1, shot=self.shot)
        check_least(0.1, **{"the mean of gain": self.gain[0]})
        check_least(0, **{"the deviation of gain": self.gain[1], "the deviation of read": self.read[2]})


@register("operation", "camera", CameraConfig)
class Camera(Operation):
    """Noise goes to the low-resolution picture alone; both take the same way there and back, so that neither
    differs from the other in colour or clipping."""

    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        c = self.config
        shot = float(np.exp(rng.uniform(*np.log(c.shot))))
        read = float(np.exp(c.read[0] * np.log(shot) + c.read[1] + c.read[2] * rng.standard_normal()))
        return {
            "cameras": rng.dirichlet(np.ones(len(XYZ_TO_CAMERA))).tolist(),
            "gain": float(1 / max(rng.normal(*c.gain), 0.3)),
            "red": float(rng.uniform(*c.red)),
            "blue": float(rng.uniform(*c.blue)),
            "shot": shot,
            "read": read,
            "seed": new_seed(rng),
        }

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        light = unprocess(pair.lr, drawn)
        if min(light.shape[:2]) > 1:  # else there is nothing to interpolate from
            light = sensed(light, drawn)
        return replace(pair, lr=process(light, drawn), hr=process(unprocess(pair.hr, drawn), drawn))

    def reach(self, scale: int) -> float:
        return 2.0


def colour_matrix(drawn: Drawn) -> np.ndarray:
    """Linear sRGB -> camera, (3, 3), a mixture of cameras; white stays white."""
    matrix = np.tensordot(drawn["cameras"], XYZ_TO_CAMERA, 1) @ RGB_TO_XYZ
    return matrix / matrix.sum(1, keepdims=True)


def unprocess(image: np.ndarray, drawn: Drawn) -> np.ndarray:
    """sRGB (H, W, 3) in [0, 1] -> light on the sensor before the mosaic, float32 in [0, 1]."""
    image = 0.5 - np.sin(np.arcsin(1 - 2 * np.clip(image, 0, 1)) / 3)  # inverse of the tone curve 3x² − 2x³
    image = np.maximum(image, 1e-8) ** GAMMA
    image = np.clip(image @ colour_matrix(drawn).T.astype(np.float32), 0, 1)
    gains = np.array([1 / drawn["red"], 1, 1 / drawn["blue"]], np.float32) / np.float32(drawn["gain"])
    # Near white the gains fade out: what is clipped in the photo was clipped on the sensor.
    gray = image.mean(2, keepdims=True)
    bright = (np.maximum(gray - 0.9, 0) / 0.1) ** 2
    return np.clip(image * np.maximum(bright + (1 - bright) * gains, gains), 0, 1)


def process(light: np.ndarray, drawn: Drawn) -> np.ndarray:
    """Light on the sensor (H, W, 3) -> sRGB, float32 in [0, 1]."""
    gains = np.array([drawn["red"], 1, drawn["blue"]], np.float32) * np.float32(drawn["gain"])
    image = np.clip(light * gains, 0, 1) @ np.linalg.inv(colour_matrix(drawn)).T.astype(np.float32)
    image = np.clip(image, 1e-8, 1) ** np.float32(1 / GAMMA)
    return np.clip(3 * image**2 - 2 * image**3, 0, 1)


def sensed(light: np.ndarray, drawn: Drawn) -> np.ndarray:
    """Light (H, W, 3) as the sensor tells of it: behind its filters, with its noise, and interpolated."""
    raw = mosaic(light)
    rng = np.random.default_rng(drawn["seed"])
    deviation = np.sqrt(raw * np.float32(drawn["shot"]) + np.float32(drawn["read"]))
    return demosaic(raw + deviation * rng.standard_normal(raw.shape, dtype=np.float32))


def mosaic(light: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W) behind a colour filter array, red and green in even rows, green and blue in odd ones."""
    raw = light[..., 1].copy()
    raw[::2, ::2] = light[::2, ::2, 0]
    raw[1::2, 1::2] = light[1::2, 1::2, 2]
    return raw


def demosaic(raw: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W, 3) float32: edge-aware, in 16 bits with room for noise below black and above white."""
    height, width = raw.shape
    # Reflected without the edge, which keeps the order of the filters; a side of one pixel has no such reflection.
    padded = np.pad(raw, ((2, 2 + height % 2), (2, 2 + width % 2)), mode="reflect")
    room = 0.25
    counts = np.rint((np.clip(padded, -room, 1 + room) + room) * (65535 / (1 + 2 * room))).astype(np.uint16)
    colours = cv2.demosaicing(counts, cv2.COLOR_BayerRGGB2RGB_EA)[2 : 2 + height, 2 : 2 + width]
    return np.clip(colours * np.float32((1 + 2 * room) / 65535) - np.float32(room), 0, 1)
