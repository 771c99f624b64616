"""Read a picture file as shades of grey.

`read_picture` takes these steps:

1. `_local`: find the file, also if its path is in quotes or begins with ``file://`` or ``~``.
2. Decode it with Pillow, unless it is too large.
3. `_grey`: make shades of grey of it, where `_scaled_to_255` brings any number of bits to 8, and
   `_on_paper` lays transparent parts on paper.

`_instead_of_file` and `_instead_of_picture` say what was found where there is no picture.
"""

import io
import math
import os
import urllib.parse
import urllib.request
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from helpers.errors import InputError, read_at_most

FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]  # Pillow's names
# Bytes (in lower case) by which the first 1,000 of another file give it away, and what is said
# then. The order counts; the last fits everything.
OTHERS = {
    b"ftyp": "HEIC or AVIF. Open it in a program that shows it, and export it as a JPEG file.",
    b"<html": "a web page. Save the picture itself, not the page that shows it.",
    b"ii*\0": "a TIFF file of a rare kind. Save it again, with 8 bits a pixel.",
    b"mm\0*": "a TIFF file of a rare kind. Save it again, with 8 bits a pixel.",
    b"\0": "something else. Save the picture as one of these.",
    b"": "a text. Save a picture as one of these.",
}
MAX_BYTES = 100_000_000  # of a file
MAX_PIXELS = 64_000_000  # of a picture: phones take up to 50 million
WORKING_SIZE = 1024  # pixels of a picture's longer side; larger pictures are reduced to it


class HandwritingError(InputError):
    """No picture of a digit; the message says what was expected and found, and what to do."""


def read_picture(path: Path | str) -> np.ndarray:
    """Read a picture file as shades of grey.

    The picture is turned upright and reduced to at most 1,024 pixels a side. What is transparent is
    taken for paper.

    Parameters
    ----------
    path
        Of a PNG, JPEG, WebP, BMP, GIF or TIFF file. It may be as people paste it: in quotes, with
        ``file://`` before it, with ``~`` for one's home.

    Returns
    -------
    picture
        0 black to 255 white, uint8, shape (height, width).

    Raises
    ------
    HandwritingError
        If there is no such picture, or it is damaged or too large. If it is too large, it is not
        decoded.
    """
    try:
        content = read_at_most(_local(path), MAX_BYTES)
        # Pillow warns of large pictures, and of notes in them that are damaged.
        with warnings.catch_warnings(action="ignore"):
            picture = Image.open(io.BytesIO(content), formats=FORMATS)  # does not decode it yet
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"more than {MAX_PIXELS:,} pixels")
            # Lets a large JPEG be reduced while it is decoded.
            picture.draft(None, (WORKING_SIZE, WORKING_SIZE))
            ImageOps.exif_transpose(picture, in_place=True)
            return _grey(picture)
    except FileNotFoundError:
        found = _instead_of_file(path)
    except UnidentifiedImageError:
        found = _instead_of_picture(content)
    except Exception as error:  # a damaged file makes Pillow raise errors of many kinds
        found = (
            f"found one that cannot be read ({error}). Check its permissions, save it again, "
            "or reduce it."
        )
    raise HandwritingError(
        f"{path}: expected a digit, as a PNG, JPEG, WebP, BMP, GIF or TIFF file; {found}"
    )


def resized(picture: Image.Image, scale: float, resampling: Image.Resampling) -> Image.Image:
    """Scale a picture; each side keeps at least one pixel."""
    return picture.resize([max(1, round(side * scale)) for side in picture.size], resampling)


# --- the file


def _local(path: Path | str) -> Path:
    """Undo what people paste with a path."""
    if Path(path).exists():
        return Path(path)
    text = str(path).strip().strip("'\"")
    if text.startswith("file:"):
        text = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    return Path(os.path.expanduser(text))


def _instead_of_file(path: Path | str) -> str:
    """Say what a path names that is no file."""
    local = _local(path)
    if local.is_dir():
        return "found a folder. Name one of the pictures in it."
    if local.exists():
        return "found what is no file, but a device or a pipe. Save the picture as a file."
    if len(urllib.parse.urlsplit(str(local)).scheme) > 1:  # one letter is a drive
        return "found an address. Download the picture, and name the file."
    return "there is no such file. Correct the path."


def _instead_of_picture(content: bytes) -> str:
    """Say what a file holds that is no picture."""
    if not content:
        return "found an empty file. Save the picture again."
    start = content[:1000].lower()
    return "found " + next(said for sign, said in OTHERS.items() if sign in start)


# --- its shades


def _grey(picture: Image.Image) -> np.ndarray:
    """Convert a decoded picture to what `read_picture` returns."""
    if picture.mode.startswith(("I", "F")):  # grey, of more than 8 bits: I, I;16, F
        picture = Image.fromarray(_scaled_to_255(picture))
    elif picture.mode != "RGBA":
        picture = picture.convert("RGBA" if picture.has_transparency_data else "L")
    picture = resized(picture, min(1, WORKING_SIZE / max(picture.size)), Image.Resampling.BOX)
    grey = _on_paper(picture) if picture.mode == "RGBA" else np.asarray(picture)
    return np.rint(grey).astype(np.uint8)


def _scaled_to_255(picture: Image.Image) -> np.ndarray:
    """Scale shades that have more than 8 bits, which Pillow would cut off at 255; float32.

    A file does not say how many of its bits are used: cameras store 10 to 14 in 16. So white is the
    largest number that has as many bits as the largest shade, and 8 at least. In floating point it
    is 1, if no shade is larger.
    """
    shades = np.asarray(picture)
    # Pillow reads TIFF's unsigned 32-bit samples as signed. A sample format of 1 is unsigned.
    sample_format = getattr(picture, "tag_v2", {}).get(ExifTags.Base.SampleFormat, (1,))
    if picture.mode == "I" and sample_format == (1,):
        shades = shades.view(np.uint32)
    lowest, highest = float(shades.min()), float(shades.max())
    if not 0 <= lowest <= highest < np.inf:  # true of NaN, too
        raise ValueError(f"shades from {lowest:g} to {highest:g}, expected from 0 up")
    is_share = picture.mode == "F" and highest <= 1
    white = 1 if is_share else 2 ** max(8, math.ceil(highest).bit_length()) - 1
    return shades.astype(np.float32) / np.float32(white / 255)


def _on_paper(picture: Image.Image) -> np.ndarray:
    """Lay a picture with transparent parts on paper.

    The paper has the usual shade of what is opaque. If less than half is opaque, that is the ink,
    and the paper is white under dark ink, black under light ink.
    """
    grey = np.asarray(picture.convert("L"), dtype=float)
    opacity = np.asarray(picture.getchannel("A")) / 255
    if opacity.mean() >= 0.5:
        paper = np.median(grey[opacity > 0.5])
    else:
        ink_is_dark = (opacity * grey).sum() <= 127.5 * opacity.sum()
        paper = 255 if ink_is_dark else 0
    return opacity * grey + (1 - opacity) * paper
