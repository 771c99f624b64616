"""One's own handwriting: a picture of a digit, put in the form of MNIST's images.

`read_picture` reads a file. `as_mnist` then takes these steps, each a function that can be tried
alone, on arrays of the picture's shape:

1. `_contrast_with_paper`: subtract the paper (`_paper`), so that ink is positive.
2. `_full_ink`: how much contrast full ink has. From here on, ink is a share of that.
3. `_strokes`: label the pieces of ink, by hysteresis thresholds.
4. `_at_border`: take out the pieces that a crop has left of a table, and repeat 2 and 3.
5. `_square`: if the digit is in a square, as in a figure, begin again with what is in it.
6. `_without_specks` and `_check_single`: what is left is one digit.
7. `_thickened`: strokes that would vanish become wider.
8. `_in_box` and `_centred`: scale to 20 x 20 pixels, place in 28 x 28.
"""

import io
import itertools
import math
import os
import urllib.parse
import urllib.request
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from helpers.errors import InputError, describe, read_at_most

FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
# What gives away other files near their beginning, and what is said of them; the first that fits.
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

SIZE = 28  # pixels of a side of an MNIST image
BOX = 20  # pixels of a side of the box in it that holds the digit

# Contrast of ink and paper, of 255: a tenth of that of black and white; and as a multiple of noise.
LEAST_CONTRAST = 25
LEAST_CONTRAST_TO_NOISE = 6
# Hysteresis thresholds, as shares of full ink: what exceeds the first is ink, and its edges reach
# to where it falls below the second.
STRONG = 0.5
WEAK = 0.1
WEAK_TO_NOISE = 4  # nor do edges reach below this multiple of noise
REACH = 0.85  # how far edges reach, as a share of the strokes' width
EIGHT_NEIGHBOURS = np.ones((3, 3))  # pixels that meet at a corner are of one piece

# As shares of the picture's side: a piece so near to the border is no digit, if another is so high.
MARGIN = 0.02
HIGH = 0.2
# What is less than these shares, of the largest piece's ink and of the picture's side, is a speck.
SPECK = 0.03
SPECK_SIZE = 0.02
# No digit of MNIST is in more than 4 pieces. Of its 70,000, 3 have two of so much of their height
# beside each other.
MAX_PIECES = 8
TALL = 0.7

# A piece is a square if its shorter side is such a share of its longer one, and if it fills such a
# share of its box, holes included: people's digits fill at most 0.86, figures at least 0.95.
SQUARE = 0.8
SQUARE_FILLED = 0.92
SQUARE_SOLID = 0.6  # the least share that is ink, holes not included, of a dark square
SQUARE_DIGIT = 0.01  # the least share that other pieces have of a frame

LEAST_STROKE = 2.25  # pixels, of 28: strokes are made so wide
ENLARGED = 160  # pixels: a smaller digit is enlarged to this before, so that strokes become smooth

NO_INK = (
    "expected a digit, found no ink that stands out from the paper. "
    "Write larger or darker, or crop."
)


class HandwritingError(InputError):
    """No picture of a digit; the message says what was expected and found, and what to do."""


def read_picture(path: Path | str) -> np.ndarray:
    """Read a picture file in shades of grey.

    The picture is turned upright and reduced to at most 1,024 pixels a side. What is transparent is
    taken for paper.

    Parameters
    ----------
    path : of a PNG, JPEG, WebP, BMP, GIF or TIFF file
        It may be as people paste it: in quotes, with file:// before it, with ~ for one's home.

    Returns
    -------
    0 black to 255 white, uint8, shape (height, width)

    Raises
    ------
    HandwritingError
        if there is no such picture, or it is damaged or too large; too large a one is not decoded
    """
    try:
        content = read_at_most(_local(path), MAX_BYTES)
        # Pillow warns of large pictures, and of notes in them that are damaged.
        with warnings.catch_warnings(action="ignore"):
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
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


def as_mnist(picture: np.ndarray, name: str = "picture") -> np.ndarray:
    """Put the digit in a picture in the form in which the makers of MNIST would have stored it.

    Parameters
    ----------
    picture : shades of grey, uint8, shape (height, width), as `read_picture` returns them
        Dark ink on light paper, or the other way round. Paper must fill most of it; it may be
        faintly ruled or lit unevenly. Or a figure that shows such a picture.
    name : what an error calls the picture

    Returns
    -------
    0 paper to 255 ink, uint8, shape (28, 28)

    Raises
    ------
    HandwritingError
        if there is no ink, or if it is in too many pieces, or in tall ones side by side. No other
        shape is refused.

    Notes
    -----
    The makers of MNIST scaled each digit into a box of 20 x 20 pixels, with antialiasing, and
    placed it so that its centre of mass is that of 28 x 28 (Y. LeCun, C. Cortes, C. Burges, "The
    MNIST database of handwritten digits"): pixel (14, 14), give or take a half.
    """
    is_grey = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 2
    if not is_grey or not picture.size:
        raise HandwritingError(
            f"{name}: expected shades of grey as uint8 of shape (height, width); "
            f"found {describe(picture)}."
        )
    try:
        ink = _ink(picture)
    except HandwritingError as error:
        raise HandwritingError(f"{name}: {error}") from None
    return _centred(_in_box(_thickened(ink)))


# --- a file, found and decoded


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
    if _local(path).is_dir():
        return "found a folder. Name one of the pictures in it."
    if _local(path).exists():
        return "found what is no file, but a device or a pipe. Save the picture as a file."
    if len(urllib.parse.urlsplit(str(_local(path))).scheme) > 1:  # one letter is a drive
        return "found an address. Download the picture, and name the file."
    return "there is no such file. Correct the path."


def _instead_of_picture(content: bytes) -> str:
    """Say what a file holds that is no picture."""
    if not content:
        return "found an empty file. Save the picture again."
    start = content[:1000].lower()
    return "found " + next(said for sign, said in OTHERS.items() if sign in start)


def _grey(picture: Image.Image) -> np.ndarray:
    """Convert a decoded picture to what `read_picture` returns."""
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_scaled_to_255(picture))
    elif picture.mode != "RGBA":
        picture = picture.convert("RGBA" if picture.has_transparency_data else "L")
    picture = _resized(picture, min(1, WORKING_SIZE / max(picture.size)), Image.Resampling.BOX)
    grey = _on_paper(picture) if picture.mode == "RGBA" else np.asarray(picture)
    return np.rint(grey).astype(np.uint8)


def _scaled_to_255(picture: Image.Image) -> np.ndarray:
    """Scale shades that have more than 8 bits, which Pillow would cut off at 255; float32.

    A file does not say how many of its bits are used: cameras store 10 to 14 in 16. So white is the
    largest number that has as many bits as the largest shade, and 8 at least; in floating point it
    is 1, if no shade is larger.
    """
    shades = np.asarray(picture)
    sample_format = getattr(picture, "tag_v2", {}).get(ExifTags.Base.SampleFormat, (1,))
    if picture.mode == "I" and sample_format == (1,):  # of TIFF files; Pillow takes all for signed
        shades = shades.view(np.uint32)
    lowest, highest = float(shades.min()), float(shades.max())
    if not 0 <= lowest <= highest < np.inf:  # or they are not numbers
        raise ValueError(f"shades from {lowest:g} to {highest:g}, expected from 0 up")
    is_share = picture.mode == "F" and highest <= 1
    white = 1 if is_share else 2 ** max(8, math.ceil(highest).bit_length()) - 1
    return shades.astype(np.float32) / np.float32(white / 255)


def _resized(picture: Image.Image, scale: float, resampling: Image.Resampling) -> Image.Image:
    return picture.resize([max(1, round(side * scale)) for side in picture.size], resampling)


def _on_paper(picture: Image.Image) -> np.ndarray:
    """Lay a picture with transparent parts on paper.

    The paper has the usual shade of what is opaque. If little is, that is the ink, and the paper is
    black or white, whichever is far from it.
    """
    grey = np.asarray(picture.convert("L"), dtype=float)
    opacity = np.asarray(picture.getchannel("A")) / 255
    if opacity.mean() >= 0.5:
        paper = np.median(grey[opacity > 0.5])
    else:
        paper = 255 if (opacity * grey).sum() <= 127.5 * opacity.sum() else 0
    return opacity * grey + (1 - opacity) * paper


# --- where the ink is


def _ink(picture: np.ndarray) -> np.ndarray:
    """Find the digit in a picture.

    Returns
    -------
    How much ink there is in each pixel of the digit's box: 0 to 1, float32
    """
    contrast = _contrast_with_paper(picture)
    noise = _noise(contrast)
    for _ in range(2):  # again without what was at the border, which may be darker than the ink
        full = _full_ink(contrast, noise)
        ink = contrast / full
        pieces = _strokes(ink, noise / full)
        at_border = _at_border(pieces)
        contrast[at_border] = 0
        pieces[at_border] = 0
    square = _square(pieces)
    if square:
        return _ink(picture[square])
    pieces = _without_specks(pieces, ink)
    _check_single(pieces)
    (box,) = ndimage.find_objects(pieces.clip(max=1))
    return np.where(pieces[box] > 0, ink[box], 0).clip(0, 1).astype(np.float32)


def _contrast_with_paper(picture: np.ndarray) -> np.ndarray:
    """Subtract the paper; ink is positive, be it darker or lighter than paper."""
    contrast = picture - _paper(picture)
    # There is more paper than ink, so ink is where the long tail is.
    return contrast * np.sign((contrast * contrast * contrast).mean())


def _paper(picture: np.ndarray) -> np.ndarray:
    """Estimate the shade that each pixel would have without ink.

    Light changes over the picture as a polynomial of degree 3 does, in rows and in columns.

    Notes
    -----
    Least squares would let the ink bend the polynomial. So each pixel has a weight that is the
    lower, the farther the pixel is from the polynomial of the round before; `scale` is the distance
    at which it is a quarter. Pixels that far hardly count, but the result depends on where one
    starts. So the scale is annealed, from half of all shades to a few of them (graduated
    non-convexity: A. Blake, A. Zisserman, "Visual reconstruction", 1987; the weights are those of
    S. Geman, D. E. McClure, "Statistical methods for tomographic image reconstruction", 1987).
    """
    sides = [np.linspace(-1, 1, side) for side in picture.shape]
    rows, columns = (np.vander(side, 4, increasing=True) for side in sides)
    # Some 32 x 32 pixels are enough for the 16 coefficients.
    every = [slice(None, None, -(-side // 32)) for side in picture.shape]
    terms = np.kron(rows[every[0]], columns[every[1]])
    shades = picture[tuple(every)].ravel().astype(float)
    weights: np.ndarray | float = 1.0
    for scale in np.geomspace(128, 8, 30):
        # First a constant: where ink takes up almost half of the picture, a polynomial would pass
        # between the two.
        used = terms[:, : 1 if scale > 32 else 16]
        weighted = used.T * weights
        coefficients = np.linalg.lstsq(weighted @ used, weighted @ shades)[0]
        weights = (1 + ((shades - used @ coefficients) / scale) ** 2) ** -2
    return rows @ coefficients.reshape(4, 4) @ columns.T


def _noise(contrast: np.ndarray) -> float:
    """Estimate the standard deviation of the paper's shade.

    There is no ink on the other side of the paper's shade, so what is there is noise; if that is
    normally distributed, its median is 1 / 1.4826 standard deviations.
    """
    below = -contrast[contrast <= 0]
    return 1.4826 * np.median(below) if below.size else np.inf  # a picture of a few pixels has none


def _full_ink(contrast: np.ndarray, noise: float) -> float:
    """Measure the contrast of full ink: a high quantile of all contrast that may be ink.

    Strokes are lighter at their edges, so it is no mean. How much of a picture is ink differs from
    picture to picture, so it is no quantile of all pixels either; that one, almost the maximum,
    only says from where on a pixel is likely to be ink.
    """
    most = np.quantile(contrast, 0.9999)  # not the maximum, which may be a speck
    if most < max(LEAST_CONTRAST, LEAST_CONTRAST_TO_NOISE * noise):
        raise HandwritingError(NO_INK)
    return np.quantile(contrast[contrast >= STRONG * most], 0.9)


def _strokes(ink: np.ndarray, noise: float) -> np.ndarray:
    """Label the pieces of ink, by hysteresis thresholds.

    Parameters
    ----------
    ink, noise : as shares of full ink

    Returns
    -------
    0 paper, 1 on the first piece, 2 on the second ...
    """
    strong = ink > STRONG
    # Of a long stroke, the outline is two lengths, and the area is a length by a width.
    outline = sum(np.count_nonzero(np.diff(strong, axis=axis)) for axis in (0, 1))
    width = 2 * strong.sum() / max(1, outline)
    # Weak ink that is farther from strong ink is a ruled line or a shadow, even if it touches.
    near = ndimage.maximum_filter(strong, 5 + 2 * int(REACH * width))
    weak = near & (ink > max(WEAK, WEAK_TO_NOISE * noise))
    strokes = ndimage.binary_propagation(strong & weak, EIGHT_NEIGHBOURS, weak)
    return ndimage.label(strokes, EIGHT_NEIGHBOURS)[0]


def _at_border(pieces: np.ndarray) -> np.ndarray:
    """Mark the pieces near the border: what a crop has left of a table, a frame or a ruled line.

    None is marked if no other piece is high enough to be the digit: then they may be it.
    """
    height, width = pieces.shape
    margin = MARGIN * min(height, width)
    outer, may_be_digit = [False], False
    for rows, columns in ndimage.find_objects(pieces):
        gap = min(rows.start, columns.start, height - rows.stop, width - columns.stop)
        outer.append(gap < margin)
        may_be_digit |= gap >= margin and rows.stop - rows.start >= HIGH * height
    return np.array(outer)[pieces] if may_be_digit else np.zeros(pieces.shape, bool)


def _square(pieces: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """Find a dark square or a frame around the digit, as in a figure made by `imshow`.

    Returns
    -------
    Its rows and columns, as an index of the picture, without the ticks beside it. None if there is
    none, or the picture is no larger. What is hollow and holds no other piece is a 0 or an 8, as
    calculators show them.
    """
    boxes = {piece: box for piece, box in enumerate(ndimage.find_objects(pieces), start=1) if box}
    sides = {piece: [side.stop - side.start for side in box] for piece, box in boxes.items()}
    piece = max(sides, key=lambda each: math.prod(sides[each]))
    if min(sides[piece]) < SQUARE * max(sides[piece]):
        return None
    within = pieces[boxes[piece]]
    square = within == piece
    share_of_others = (within > 0).mean() - square.mean()
    if square.mean() < SQUARE_SOLID and share_of_others < SQUARE_DIGIT:
        return None
    filled = ndimage.binary_fill_holes(square)
    if filled.mean() < SQUARE_FILLED:
        return None
    rows, columns = (
        side.start + np.flatnonzero(filled.mean(axis=axis) > 0.5)  # ticks fill less
        for side, axis in zip(boxes[piece], (1, 0), strict=True)
    )
    return np.ix_(rows, columns) if (rows.size, columns.size) != pieces.shape else None


def _without_specks(pieces: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Keep the pieces that have a fair share of the largest one's ink."""
    areas = np.bincount(pieces[ink > STRONG], minlength=pieces.max() + 1)
    areas[0] = 0  # of what is no piece
    kept = areas >= max(1, SPECK * areas.max())
    return np.where(kept[pieces], pieces, 0)


def _check_single(pieces: np.ndarray) -> None:
    """Refuse pieces that are too small, too many, or stand side by side."""
    boxes = [box for box in ndimage.find_objects(pieces) if box]  # none of a number that is gone
    longest = max(side.stop - side.start for box in boxes for side in box)
    if longest < SPECK_SIZE * max(pieces.shape):
        raise HandwritingError(NO_INK)
    height = max(rows.stop for rows, _ in boxes) - min(rows.start for rows, _ in boxes)
    tall = sorted(
        (columns.start, columns.stop)
        for rows, columns in boxes
        if rows.stop - rows.start >= TALL * height
    )
    beside = sum(left[1] <= right[0] for left, right in itertools.pairwise(tall))
    if beside or len(boxes) > MAX_PIECES:
        found = f"{beside + 1} side by side" if beside else f"ink in {len(boxes)} pieces"
        raise HandwritingError(
            f"expected a single digit, found {found}. Crop the picture to one digit."
        )


# --- the ink in MNIST's form


def _cropped(ink: np.ndarray) -> np.ndarray:
    return ink[ndimage.find_objects((ink > 0).astype(int))[0]]


def _thickened(ink: np.ndarray) -> np.ndarray:
    """Widen strokes that would vanish when a digit as large as a page is reduced to 20 pixels."""
    smooth = _smooth(ink)
    radius = (LEAST_STROKE * max(smooth.shape) / BOX - _stroke_width(smooth)) / 2
    if radius < 0.5:
        return ink
    smooth = np.pad(smooth, int(radius) + 2)  # strokes at the edges become wider, too
    distance = ndimage.distance_transform_edt(smooth <= STRONG)
    widened = (radius + 0.5 - distance).clip(0, 1)  # full ink up to the radius, with a soft edge
    return _cropped(np.maximum(smooth, widened).astype(np.float32))


def _smooth(ink: np.ndarray) -> np.ndarray:
    """Enlarge a small digit, so that its strokes, made wider, are as smooth as MNIST's."""
    if max(ink.shape) >= ENLARGED:
        return ink
    ink = np.pad(ink, 2)  # else strokes at the edges would be cut off sharply
    scale = ENLARGED / max(ink.shape)
    fine = np.asarray(_resized(Image.fromarray(ink), scale, Image.Resampling.BICUBIC))
    return _cropped(np.where(fine > WEAK / 2, fine, 0).clip(0, 1))


def _stroke_width(ink: np.ndarray) -> float:
    """Measure how wide strokes are, in pixels; infinity if no ink is strong.

    Across a stroke, the mean distance to its nearer edge is a quarter of its width.
    """
    inky = np.pad(ink > STRONG, 1)
    distance = ndimage.distance_transform_edt(inky)
    return 4 * distance.sum() / inky.sum() if inky.any() else np.inf


def _in_box(ink: np.ndarray) -> np.ndarray:
    """Scale to 20 pixels in the longer side; 0 paper to 255 ink, uint8."""
    scale = BOX / max(ink.shape)
    small = np.asarray(_resized(Image.fromarray(ink), scale, Image.Resampling.HAMMING))
    return np.rint(255 * small / small.max()).astype(np.uint8)


def _centred(digit: np.ndarray) -> np.ndarray:
    """Place in 28 x 28 pixels, the centre of mass in the middle, as far as there is room."""
    room = SIZE - np.array(digit.shape)
    centre = np.array(ndimage.center_of_mass(digit))
    corner = np.ceil(SIZE / 2 - 0.5 - centre).clip(0, room).astype(int)
    return np.pad(digit, np.stack([corner, room - corner], axis=1))
