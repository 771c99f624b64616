"""One's own handwriting: a picture of a digit, put in the form of MNIST's images."""

import io
import itertools
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from helpers.checks import InputError, describe, read_at_most

FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
OTHERS = {  # what gives away other files near their beginning, and what is said of them; the first that fits
    b"ftyp": "HEIC or AVIF. Open it in a program that shows it, and export it as a JPEG file.",
    b"<html": "a web page. Save the picture itself, not the page that shows it.",
    b"\0": "something else. Save the picture as one of these.",
    b"": "a text. Save a picture as one of these.",
}
MAX_BYTES, MAX_PIXELS = 100_000_000, 64_000_000  # of a file, and of the picture in it: phones take up to 50 million
WORKING_SIZE = 1024  # pixels of a picture's longer side; larger pictures are reduced to it
SIZE, BOX = 28, 20  # pixels of an MNIST image, and of the box in it that holds the digit
LEAST_CONTRAST, LEAST_CONTRAST_TO_NOISE = 25, 6  # of ink and paper: a tenth of that of black and white
LEAST_STROKE, ENLARGED = 2.25, 160  # pixels, of 28, and those of a digit in which its strokes are made so wide
MARGIN, HIGH = 0.02, 0.2  # of a picture: a piece so near to its border is no digit, if another one is so high
# As shares of full ink: what exceeds the first is ink, and its edges reach to where it falls below the second.
STRONG, WEAK = 0.5, 0.1
REACH = 0.85  # of edges, as a share of the strokes' width, which is twice their area by their outline
SPECK, SPECK_SIZE = 0.03, 0.02  # of the largest piece's pixels, and of the picture's side: what is less is a speck
# No digit of MNIST is in more than 4 pieces, and 3 of the 70,000 have two beside each other of so much of their height.
MAX_PIECES, TALL = 8, 0.7


class HandwritingError(InputError):
    """No picture of a digit; the message says what was expected and found, and what to do."""


def read_picture(path: Path | str) -> np.ndarray:
    """A picture file in shades of grey: 0 black to 255 white, uint8, shape (height, width).

    It is turned upright and reduced to at most 1,024 pixels a side. What is transparent is taken for paper. A
    HandwritingError if there is no such picture, or it is damaged or too large; then it is not decoded.
    """
    try:
        content = read_at_most(Path(path), MAX_BYTES)
        with warnings.catch_warnings(action="ignore"):  # of large pictures, and of notes that are damaged
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"more than {MAX_PIXELS:,} pixels")
            picture.draft(None, (WORKING_SIZE, WORKING_SIZE))  # lets a large JPEG be reduced while it is decoded
            ImageOps.exif_transpose(picture, in_place=True)
            return _grey(picture)
    except FileNotFoundError:
        found = "there is no such file. Correct the path."
    except UnidentifiedImageError:
        found = "found " + next(said for sign, said in OTHERS.items() if sign in content[:1000].lower())
    except Exception as error:  # a damaged file makes Pillow raise errors of many kinds
        found = f"found one that cannot be read ({error}). Check its permissions, save it again, or reduce it."
    raise HandwritingError(f"{path}: expected a digit, as a PNG, JPEG, WebP, BMP, GIF or TIFF file; {found}")


def as_mnist(picture: np.ndarray, name: str = "picture") -> np.ndarray:
    """The digit in a picture, as the makers of MNIST would have stored it: 0 paper to 255 ink, uint8, shape (28, 28).

    They scaled each digit into a box of 20 x 20 pixels, with antialiasing, and placed it so that its centre of mass
    is that of 28 x 28 (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): pixel (14, 14),
    give or take a half. The picture, as `read_picture` returns it, is dark ink on light paper or the other way round.
    Paper, faintly ruled or lit unevenly or neither, must fill most of it. A HandwritingError, which calls it by `name`,
    if there is no ink, or if it is in too many pieces, or in tall ones side by side. No other shape is refused.
    """
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 2 or not picture.size:
        found = describe(picture)
        raise HandwritingError(f"{name}: expected shades of grey as uint8 of shape (height, width); found {found}.")
    ink = _cropped(_thickened(_cropped(_ink(picture, name))))
    small = np.asarray(_resized(Image.fromarray(ink), BOX / max(ink.shape), Image.Resampling.HAMMING))
    digit = np.rint(255 * small / small.max()).astype(np.uint8)
    room, centre = SIZE - np.array(digit.shape), np.array(ndimage.center_of_mass(digit))
    corner = np.ceil(SIZE / 2 - 0.5 - centre).clip(0, room).astype(int)
    return np.pad(digit, np.stack([corner, room - corner], axis=1))


def _grey(picture: Image.Image) -> np.ndarray:
    """A decoded picture as `read_picture` returns it."""
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would not scale but cut off at 255
        picture = Image.fromarray(np.asarray(picture).astype(np.float32) / 257)
    elif picture.mode != "RGBA":
        picture = picture.convert("RGBA" if picture.has_transparency_data else "L")
    picture = _resized(picture, min(1, WORKING_SIZE / max(picture.size)), Image.Resampling.BOX)
    return np.rint(_on_paper(picture) if picture.mode == "RGBA" else np.asarray(picture)).astype(np.uint8)


def _resized(picture: Image.Image, scale: float, resampling: Image.Resampling) -> Image.Image:
    return picture.resize([max(1, round(side * scale)) for side in picture.size], resampling)


def _on_paper(picture: Image.Image) -> np.ndarray:
    """A picture with transparent parts, laid on paper: of its usual shade, or far from the ink if that is all."""
    grey, opacity = np.asarray(picture.convert("L"), dtype=float), np.asarray(picture.getchannel("A")) / 255
    far_from_ink = 255 if (opacity * grey).sum() <= 127.5 * opacity.sum() else 0
    paper = far_from_ink if opacity.mean() < 0.5 else np.median(grey[opacity > 0.5])
    return opacity * grey + (1 - opacity) * paper


def _ink(picture: np.ndarray, name: str) -> np.ndarray:
    """How much ink there is in each pixel, from 0 to 1, float32, with nothing but the digit left."""
    contrast = picture - _paper(picture)
    # There is more paper than ink, so ink is where the long tail is.
    contrast *= np.sign((contrast * contrast * contrast).mean())
    below = -contrast[contrast <= 0]
    # The standard deviation, if noise is normally distributed; none is below where there are a few pixels only.
    noise = 1.4826 * np.median(below) if below.size else np.inf
    no_ink = f"{name}: expected a digit, found no ink that stands out from the paper. Write larger or darker, or crop."
    for _ in range(2):  # once more, without what is at the border, which may be darker than ink
        most = np.quantile(contrast, 0.9999)  # not the maximum, which may be a speck
        if most < max(LEAST_CONTRAST, LEAST_CONTRAST_TO_NOISE * noise):
            raise HandwritingError(no_ink)
        full = np.quantile(contrast[contrast >= STRONG * most], 0.9)
        strong = contrast > STRONG * full  # ink that is weak and far from it is a ruled line, or a shadow
        outline = sum(np.count_nonzero(np.diff(strong, axis=axis)) for axis in (0, 1))
        near = ndimage.maximum_filter(strong, 5 + 2 * int(REACH * 2 * strong.sum() / max(1, outline)))
        pieces, _ = ndimage.label(near & (contrast > max(WEAK * full, 4 * noise)), structure=np.ones((3, 3)))
        # A piece that is weak everywhere is no ink.
        with_ink = np.append(False, np.bincount(pieces[strong], minlength=pieces.max() + 1)[1:] > 0)
        pieces, count = ndimage.label(with_ink[pieces], structure=np.ones((3, 3)))
        boxes = ndimage.find_objects(pieces)
        contrast[_at_border(boxes, pieces.shape)[pieces]] = 0
    areas = ndimage.sum_labels(contrast > STRONG * full, pieces, np.arange(1, count + 1))
    kept = np.flatnonzero(areas >= max(1, SPECK * areas.max())) + 1
    boxes = [boxes[number - 1] for number in kept]
    if max(np.ptp([side.start, side.stop]) for box in boxes for side in box) < SPECK_SIZE * max(picture.shape):
        raise HandwritingError(no_ink)
    height = np.ptp([end for rows, _ in boxes for end in (rows.start, rows.stop)])
    tall = sorted((columns.start, columns.stop) for rows, columns in boxes if rows.stop - rows.start >= TALL * height)
    beside = sum(left[1] <= right[0] for left, right in itertools.pairwise(tall))
    if beside or len(boxes) > MAX_PIECES:
        found = f"{beside + 1} side by side" if beside else f"ink in {len(boxes)} pieces"
        raise HandwritingError(f"{name}: expected a single digit, found {found}. Crop the picture to one digit.")
    return np.where(np.isin(pieces, kept), contrast / full, 0).clip(0, 1).astype(np.float32)


def _at_border(boxes: list[tuple[slice, slice]], shape: tuple[int, ...]) -> np.ndarray:
    """Which numbered pieces, from 0, none, on, are what a crop has left of a table, a frame or a ruled line."""
    ends = [(rows.start, columns.start, shape[0] - rows.stop, shape[1] - columns.stop) for rows, columns in boxes]
    outer = np.min(ends, axis=1) < MARGIN * min(shape)
    high = np.array([rows.stop - rows.start for rows, _ in boxes]) >= HIGH * shape[0]  # else they may be the digit
    return np.append(False, outer & (high & ~outer).any())


def _cropped(ink: np.ndarray) -> np.ndarray:
    return ink[ndimage.find_objects((ink > 0).astype(int))[0]]


def _thickened(ink: np.ndarray) -> np.ndarray:
    """The same ink, with strokes so wide that they do not vanish when a digit as large as a page is reduced."""
    unchanged = ink
    if max(ink.shape) < ENLARGED:  # so that strokes of tiny pictures become as smooth as MNIST's
        ink = np.pad(ink, 2)  # else those at the edges would be cut off sharply
        fine = np.asarray(_resized(Image.fromarray(ink), ENLARGED / max(ink.shape), Image.Resampling.BICUBIC))
        ink = _cropped(np.where(fine > WEAK / 2, fine, 0).clip(0, 1))
    inky = np.pad(ink > STRONG, 1)
    width = 4 * ndimage.distance_transform_edt(inky).sum() / inky.sum()  # the mean distance to an edge is a quarter
    radius = (LEAST_STROKE * max(ink.shape) / BOX - width) / 2
    if radius < 0.5:
        return unchanged
    ink = np.pad(ink, int(radius) + 2)  # strokes at the edges become wider, too
    return np.maximum(ink, (radius + 0.5 - ndimage.distance_transform_edt(ink <= STRONG)).clip(0, 1)).astype(np.float32)


def _paper(picture: np.ndarray) -> np.ndarray:
    """The shade that each pixel would have without ink, if light changes over it as a polynomial of degree 3 does."""
    rows, columns = (np.vander(np.linspace(-1, 1, side), 4, increasing=True) for side in picture.shape)
    steps = tuple(slice(None, None, -(-side // 32)) for side in picture.shape)
    terms = np.kron(rows[steps[0]], columns[steps[1]])
    shades, weights = picture[steps].ravel().astype(float), 1.0
    # Iterated least squares give far pixels, the inky ones, less and less weight (S. Geman, D. E. McClure, "Statistical
    # methods for tomographic image reconstruction", 1987).
    for scale in np.geomspace(128, 8, 30):
        # First a constant: where ink takes up almost half of the picture, a polynomial would pass between the two.
        used = terms[:, : 1 if scale > 32 else 16]
        weighted = used.T * weights
        coefficients = np.linalg.lstsq(weighted @ used, weighted @ shades)[0]
        weights = (1 + ((shades - used @ coefficients) / scale) ** 2) ** -2
    return rows @ coefficients.reshape(4, 4) @ columns.T
