"""Photos: from a file to arrays and back.

PNG, JPEG, TIFF, WebP and BMP, told apart by their content. :func:`read` gives upright gray or RGB pixels of the
file's own depth (8 or 16 bits), with alpha, ICC profile and EXIF apart; :func:`write` puts them together again.
Pillow decodes; :mod:`blindsr.images.sixteen_bit` serves the files that Pillow would cut down to 8 bits.
:func:`write_bands` takes a picture piece by piece, so that a large one need never be in memory.

What a format cannot hold: JPEG, WebP and BMP have no 16 bits, JPEG and BMP no alpha (errors of :func:`write`);
BMP has no metadata; WebP has no gray (it comes back as RGB) and drops an alpha that is opaque everywhere; a 16-bit
CMYK file is read at 8 bits.
"""

from blindsr.images.finding import find
from blindsr.images.photo import ImageError, Photo, from_float, rounding_noise, to_8_bits, to_float
from blindsr.images.reading import CODING_NOISE, MAX_PIXELS, read, with_history
from blindsr.images.writing import check_writable, write, write_bands

__all__ = [
    "CODING_NOISE",
    "MAX_PIXELS",
    "ImageError",
    "Photo",
    "check_writable",
    "find",
    "from_float",
    "read",
    "rounding_noise",
    "to_8_bits",
    "to_float",
    "with_history",
    "write",
    "write_bands",
]
