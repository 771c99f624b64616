"""One's own handwriting: a picture of a digit, put in the form of MNIST's images.

`picture_file.read_picture` reads a file. `as_mnist` then takes these steps. Each is a function that
can be tried alone: 1 to 6 on arrays of the picture's shape, 7 and 8 on the digit's box.

1. `_contrast_with_paper`: subtract the paper (`_paper`), so that ink is positive.
2. `_noise` and `_full_ink`: how much the paper's shade varies, and how much contrast full ink has.
   From here on, ink and noise are shares of full ink.
3. `_strokes`: label the pieces of ink, by hysteresis thresholds.
4. `_at_border`: take out the pieces that a crop has left of a table; repeat `_full_ink` and 3.
5. `_square`: if the digit is in a square, as in a figure, begin again with what is in it.
6. `_without_specks` and `_check_single`: what is left is one digit.
7. `_thickened`: strokes that would vanish become wider.
8. `_in_box` and `_centred`: scale to 20 x 20 pixels, place in 28 x 28.
"""

import itertools
import math

import numpy as np
from PIL import Image
from scipy import ndimage

from helpers.errors import describe
from helpers.picture_file import HandwritingError, read_picture, resized

__all__ = ["HandwritingError", "as_mnist", "read_picture"]

SIZE = 28  # pixels of a side of an MNIST image
BOX = 20  # pixels of a side of the box in it that holds the digit

# The least contrast of ink and paper: in shades (a tenth of black on white), and as a multiple of
# the noise.
LEAST_CONTRAST = 25
LEAST_CONTRAST_TO_NOISE = 6
# Hysteresis thresholds, as shares of full ink: what exceeds STRONG is ink, and its edges reach to
# where it falls below WEAK.
STRONG = 0.5
WEAK = 0.1
WEAK_TO_NOISE = 4  # nor do edges reach below this multiple of the noise
REACH = 0.85  # how far edges reach, as a share of the strokes' width; and two pixels further
EIGHT_NEIGHBOURS = np.ones((3, 3))  # pixels that meet at a corner are of one piece

# A piece nearer to the border than MARGIN is dropped, if another one, farther from it, is at least
# DIGIT_HEIGHT high.
MARGIN = 0.02  # of the picture's shorter side
DIGIT_HEIGHT = 0.2  # of the picture's height
SPECK = 0.03  # a piece with less than this share of the largest one's ink is a speck
LEAST_SIZE = 0.02  # a digit smaller than this share of the picture's longer side counts as no ink
# MNIST's digits have at most 4 pieces; twice as many pass, since a dry pen breaks strokes. Only 3
# of the 70,000 have two pieces side by side that are both at least TALL of the digit's height.
MAX_PIECES = 8
TALL = 0.7

# A piece is a square if its shorter side is at least SQUARE of its longer one, and if it fills at
# least SQUARE_FILLED of its box, holes included: people's digits fill at most 0.86, figures at
# least 0.95.
SQUARE = 0.8
SQUARE_FILLED = 0.92
# Ink fills at least SQUARE_SOLID of the box of a dark square, holes not included. Other pieces fill
# at least SQUARE_DIGIT of the box of a frame.
SQUARE_SOLID = 0.6
SQUARE_DIGIT = 0.01

LEAST_STROKE = 2.25  # pixels, of 28: strokes are made at least this wide
ENLARGED = 160  # pixels: a smaller digit is enlarged to this before, so that strokes become smooth

NO_INK = (
    "expected a digit, found no ink that stands out from the paper. "
    "Write larger or darker, or crop."
)


def as_mnist(picture: np.ndarray, name: str = "picture") -> np.ndarray:
    """Put the digit in a picture in the form in which the makers of MNIST would have stored it.

    Parameters
    ----------
    picture
        Shades of grey, uint8, shape (height, width), as `read_picture` returns them. Ink may be
        darker or lighter than paper. Paper must fill most of the picture; it may be faintly ruled
        or lit unevenly. The picture may also be a figure that shows such a picture.
    name
        What an error calls the picture.

    Returns
    -------
    image
        0 paper to 255 ink, uint8, shape (28, 28).

    Raises
    ------
    HandwritingError
        If there is no ink, or if it is in too many pieces, or in tall ones side by side. Any other
        single shape, such as a letter, is accepted.

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


# --- where the ink is


def _ink(picture: np.ndarray) -> np.ndarray:
    """Find the digit in a picture.

    Returns
    -------
    ink
        How much there is in each pixel of the digit's box: 0 to 1, float32.
    """
    contrast = _contrast_with_paper(picture)
    noise = _noise(contrast)
    # Twice: what is at the border may be darker than the ink and so distort `_full_ink`.
    for _ in range(2):
        full = _full_ink(contrast, noise)
        ink = contrast / full
        pieces = _strokes(ink, noise / full)
        at_border = _at_border(pieces)
        contrast = np.where(at_border, 0, contrast)
        pieces = np.where(at_border, 0, pieces)
    square = _square(pieces)
    if square:  # this ends: a square is smaller than its picture, else `_square` gives None
        return _ink(picture[square])
    pieces = _without_specks(pieces, ink)
    _check_single(pieces)
    (box,) = ndimage.find_objects(pieces.clip(max=1))  # of all pieces together
    return np.where(pieces[box] > 0, ink[box], 0).clip(0, 1).astype(np.float32)


def _contrast_with_paper(picture: np.ndarray) -> np.ndarray:
    """Subtract the paper; ink is positive, be it darker or lighter than paper."""
    contrast = picture - _paper(picture)
    # There is more paper than ink, so ink is where the long tail is.
    return contrast * np.sign((contrast * contrast * contrast).mean())


def _paper(picture: np.ndarray) -> np.ndarray:
    """Estimate the shade that each pixel would have without ink.

    Light changes over the picture as a polynomial of degree 3 does, in rows and in columns. The
    polynomial is fitted to the shades by least squares, in rounds.

    Notes
    -----
    Plain least squares would let the ink bend the polynomial. So each pixel has a weight that is
    the lower, the farther the pixel is from the polynomial of the round before; `scale` is the
    distance at which it is a quarter. Far pixels hardly count, but which are far depends on the
    start. So the scale is annealed, from half of all shades to a few of them (graduated
    non-convexity: A. Blake, A. Zisserman, "Visual reconstruction", 1987; the weights are those of
    S. Geman, D. E. McClure, "Statistical methods for tomographic image reconstruction", 1987).
    """
    sides = [np.linspace(-1, 1, side) for side in picture.shape]
    rows, columns = (np.vander(side, 4, increasing=True) for side in sides)  # powers 0 to 3
    # Some 32 x 32 pixels are enough for the 16 coefficients.
    every = [slice(None, None, -(-side // 32)) for side in picture.shape]
    # One row per pixel. Its columns are the products row^i * column^j, the first the constant 1.
    terms = np.kron(rows[every[0]], columns[every[1]])
    shades = picture[tuple(every)].ravel().astype(float)
    weights: np.ndarray | float = 1.0
    for scale in np.geomspace(128, 8, 30):
        # First a constant: where ink takes up almost half of the picture, a polynomial would pass
        # between ink and paper.
        used = terms[:, : 1 if scale > 32 else 16]
        # The normal equations of weighted least squares; `lstsq` also solves those of a picture
        # with fewer pixels than coefficients.
        weighted = used.T * weights
        coefficients = np.linalg.lstsq(weighted @ used, weighted @ shades)[0]
        weights = (1 + ((shades - used @ coefficients) / scale) ** 2) ** -2
    # Coefficients [i, j] belong to row^i * column^j; now for all pixels.
    return rows @ coefficients.reshape(4, 4) @ columns.T


def _noise(contrast: np.ndarray) -> float:
    """Estimate the standard deviation of the paper's shade.

    There is no ink on the other side of the paper's shade, so what is there is noise; if that is
    normally distributed, its median is 1 / 1.4826 standard deviations.
    """
    below = -contrast[contrast <= 0]
    if not below.size:  # as in some pictures of a few pixels: all counts as noise
        return np.inf
    return 1.4826 * np.median(below)


def _full_ink(contrast: np.ndarray, noise: float) -> float:
    """Measure the contrast of full ink.

    Take the pixels that are likely ink: at least STRONG of `most`, almost the maximum. Full ink is
    their 90 % quantile. It is not their mean, since edges are lighter; nor a quantile of all
    pixels, since the share of ink varies.
    """
    most = np.quantile(contrast, 0.9999)  # not the maximum, which may be a speck
    if most < max(LEAST_CONTRAST, LEAST_CONTRAST_TO_NOISE * noise):
        raise HandwritingError(NO_INK)
    return np.quantile(contrast[contrast >= STRONG * most], 0.9)


def _strokes(ink: np.ndarray, noise: float) -> np.ndarray:
    """Label the pieces of ink, by hysteresis thresholds.

    Parameters
    ----------
    ink, noise
        As shares of full ink.

    Returns
    -------
    pieces
        0 on paper, 1 on the first piece, 2 on the second ...
    """
    strong = ink > STRONG
    # Of a long stroke, the outline is two lengths, and the area is a length by a width.
    outline = sum(np.count_nonzero(np.diff(strong, axis=axis)) for axis in (0, 1))
    width = 2 * strong.sum() / max(1, outline)
    # Weak ink that is farther from strong ink is a ruled line or a shadow, even if it touches.
    reach = 2 + int(REACH * width)
    near = ndimage.maximum_filter(strong, 2 * reach + 1)
    weak = near & (ink > max(WEAK, WEAK_TO_NOISE * noise))
    strokes = ndimage.binary_propagation(strong & weak, EIGHT_NEIGHBOURS, weak)
    return ndimage.label(strokes, EIGHT_NEIGHBOURS)[0]


def _at_border(pieces: np.ndarray) -> np.ndarray:
    """Mark the pieces near the border: what a crop has left of a table, a frame or a ruled line.

    None is marked if no other piece is high enough to be the digit: then they may be it.
    """
    height, width = pieces.shape
    margin = MARGIN * min(height, width)
    at_border = [False]  # by label; label 0 is the paper
    may_be_digit = False
    for rows, columns in ndimage.find_objects(pieces):
        gap = min(rows.start, columns.start, height - rows.stop, width - columns.stop)
        at_border.append(gap < margin)
        may_be_digit |= gap >= margin and rows.stop - rows.start >= DIGIT_HEIGHT * height
    return np.array(at_border)[pieces] if may_be_digit else np.zeros(pieces.shape, bool)


def _square(pieces: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """Find a dark square or a frame around the digit, as in a figure made by `imshow`.

    Returns
    -------
    square
        Its rows and columns, as an index of the picture, without the ticks beside it. None if there
        is no square, or if it is the whole picture already.
    """
    # `find_objects` gives None for a label that was removed.
    boxes = {piece: box for piece, box in enumerate(ndimage.find_objects(pieces), start=1) if box}
    sides = {piece: [side.stop - side.start for side in box] for piece, box in boxes.items()}
    piece = max(sides, key=lambda each: math.prod(sides[each]))  # the largest box's
    if min(sides[piece]) < SQUARE * max(sides[piece]):
        return None
    within = pieces[boxes[piece]]
    square = within == piece
    share_of_others = (within > 0).mean() - square.mean()
    # What is hollow and holds no other piece is a 0 or an 8, as calculators show them.
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
    areas[0] = 0  # label 0 is no piece, though it may have strong ink: what was dropped
    kept = areas >= max(1, SPECK * areas.max())
    return np.where(kept[pieces], pieces, 0)


def _check_single(pieces: np.ndarray) -> None:
    """Refuse pieces that are too small, too many, or stand side by side."""
    # `find_objects` gives None for a label that was removed.
    boxes = [box for box in ndimage.find_objects(pieces) if box]
    longest = max(side.stop - side.start for box in boxes for side in box)
    if longest < LEAST_SIZE * max(pieces.shape):
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
    """Cut off what holds no ink at the sides."""
    return ink[ndimage.find_objects((ink > 0).astype(int))[0]]


def _thickened(ink: np.ndarray) -> np.ndarray:
    """Widen strokes that would vanish when a digit as large as a page is reduced to 20 pixels.

    If nothing has to be widened, return the ink as it was, not the smooth one.
    """
    smooth = _smooth(ink)
    wanted = LEAST_STROKE * max(smooth.shape) / BOX  # pixels, before the digit is scaled to its box
    radius = (wanted - _stroke_width(smooth)) / 2  # how far each of a stroke's two edges moves
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
    fine = np.asarray(resized(Image.fromarray(ink), scale, Image.Resampling.BICUBIC))
    # Interpolation leaves a faint fringe, which `_cropped` would count as ink.
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
    small = np.asarray(resized(Image.fromarray(ink), scale, Image.Resampling.HAMMING))
    # Antialiasing leaves narrow strokes less than full ink; all images of MNIST reach 254 or 255.
    return np.rint(255 * small / small.max()).astype(np.uint8)


def _centred(digit: np.ndarray) -> np.ndarray:
    """Place in 28 x 28 pixels, the centre of mass in the middle, as far as there is room."""
    room = SIZE - np.array(digit.shape)
    centre = np.array(ndimage.center_of_mass(digit))
    # Rounds, so that the centre of mass comes within half a pixel of (14, 14).
    corner = np.ceil(SIZE / 2 - 0.5 - centre).clip(0, room).astype(int)
    return np.pad(digit, np.stack([corner, room - corner], axis=1))
