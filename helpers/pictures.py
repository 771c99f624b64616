"""Study how the networks read pictures of digits that other people wrote.

``make handwriting HANDWRITING=folder`` does so. The folder holds ``pictures/`` and ``table.csv``,
which has a row for each picture, and at least these columns:

    file      the picture's name in pictures/
    digit     what it shows
    kind      how it was made, such as photo or scan; odd, if it is no single digit
    source    where it comes from; pictures of one source mostly have one writer

`measure` takes these steps:

1. `read_table`: read and check table.csv.
2. `prepare`: put each picture in MNIST's form, as this project does it and as tutorials do.
3. `draw_again`: make pictures of MNIST's test images, and prepare those, too. What this costs shows
   how much of an error is the preparation's, and not the writing's.
4. `read`: have all of these images read by the networks.
5. `summarise`: count what is read correctly.

`report` writes it down. Percentages are means over the trainings. A value with an interval, which
is of 95 %, has the parts `estimate`, `low` and `high`; one with a standard deviation has the parts
`estimate` and `sd`.
"""

import io
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from helpers.data import Digits, load_mnist
from helpers.errors import InputError
from helpers.handwriting import as_mnist
from helpers.picture_file import HandwritingError, read_picture
from helpers.variation import probability_of_superiority

STUDY = Path(__file__).parent.parent / "study"
MEASURED, REPORT = STUDY / "pictures.json", STUDY / "PICTURES.md"

COLUMNS = ["file", "digit", "kind", "source"]  # of the table, which may have others
BEST = "conv-normalised"  # the network that is looked at more closely
LEAST_SOURCES = 5  # for an interval; drawn from fewer, it would be far too narrow
PROBABILITIES = (0.5, 0.8, 0.9, 0.95, 0.99)  # that the report asks of a reading
# The study of this project has 683 pictures. No change of `handwriting` was chosen by those of
# these sources.
APART = "5 10 12 20 23 25 27 29 30 51 55 57 63 65 70".split()
KEPT_APART = "sources kept apart"

Row = dict[str, Any]
Rows = dict[str, Row]
# Sets of images by name, each uint8, shape (n, 28, 28). An empty image stands for a refused one.
ImageSets = Mapping[str, np.ndarray]
# Whether each image is read correctly, by network or recipe: bool, shape (trainings, n).
Correct = Mapping[str, np.ndarray]


def measure(folder: Path, trainings: int = 0) -> dict[str, Any]:
    """Have the networks read the pictures in a folder, and compute what `report` writes down.

    Parameters
    ----------
    trainings
        How many trainings of each network read them, with the seeds 1, 2, 3, ... Those that are not
        in ``models/local`` take place first. 0 for the models that come with the project.

    Raises
    ------
    InputError
        If the table cannot be used.
    """
    table = read_table(folder)
    images = prepare([folder / "pictures" / file for file in table["file"]])
    is_odd = (table["kind"] == "odd").to_numpy()
    is_refused = ~_has_ink(images["as here"])
    refused = {
        "odd": int(is_odd.sum()),
        "of these": int((is_odd & is_refused).sum()),
        "digits": int((~is_odd & is_refused).sum()),
    }
    table = table[~is_odd].reset_index(drop=True)
    images = {recipe: each[~is_odd] for recipe, each in images.items()}

    digits = load_mnist()
    images["drawn again"] = draw_again(digits.test_images)
    images["test images"] = digits.test_images
    labels = dict.fromkeys(RECIPES, table["digit"].astype(int).to_numpy())
    labels |= dict.fromkeys(["drawn again", "test images"], digits.test_labels)

    probabilities = read(digits, images, range(1, trainings + 1))
    correct = {
        name: {
            network: (sets[name].argmax(axis=2) == labels[name]) & _has_ink(images[name])
            for network, sets in probabilities.items()
        }
        for name in images
    }
    highest = probabilities[BEST]["as here"].max(axis=2)
    found = summarise(table, correct, highest)
    return {"trainings": trainings, **found, "refused": refused}


def read_table(folder: Path) -> pd.DataFrame:
    """Read table.csv, and check that it is complete.

    Columns may be divided by commas, semicolons or tabs, and the file may begin with a byte-order
    mark: spreadsheets save all of these.

    Returns
    -------
    A row per picture, all of it text.

    Raises
    ------
    InputError
        If a column or a picture is missing, if a row is incomplete, or if there is no digit at all.
    """
    path = folder / "table.csv"
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        expected = "expected a table of comma-separated values, in UTF-8"
        remedy = "Name the folder that holds it, or export it as CSV UTF-8."
        raise InputError(f"{path}: {expected}; it cannot be read ({error}). {remedy}") from None

    missing = ", ".join(column for column in COLUMNS if column not in table)
    if missing:
        found = f"found no {missing}, only {', '.join(table.columns)}"
        expected = f"expected the columns {', '.join(COLUMNS)}"
        raise InputError(f"{path}: {expected}; {found}. Name the columns in its first line.")

    table = table[(table[COLUMNS] != "").any(axis=1)].reset_index(drop=True)
    is_odd = table["kind"] == "odd"
    has_digit = table["digit"].isin(list("0123456789")) | is_odd
    is_complete = has_digit & (table[["file", "kind", "source"]] != "").all(axis=1)
    if not is_complete.all():
        found = ", ".join(table.loc[is_complete.idxmin(), COLUMNS])
        expected = "expected of each picture file, digit (0 to 9, or the kind odd), kind and source"
        raise InputError(f"{path}: {expected}; found the row {found}. Complete it.")

    is_there = table["file"].map(lambda file: (folder / "pictures" / file).is_file())
    if not is_there.all():
        found = f"found no {table.loc[is_there.idxmin(), 'file']} there"
        raise InputError(
            f"{path}: expected each file in {folder / 'pictures'}; {found}. Correct it."
        )
    if is_odd.all():
        raise InputError(f"{path}: expected pictures of digits; found none. Add a row for each.")
    return table


# --- Three recipes: from a picture in shades of grey, uint8, to an image in MNIST's form, as
# `handwriting.as_mnist` does it, and as tutorials do.


def largest_piece(picture: np.ndarray) -> np.ndarray:
    """Keep the largest piece of ink, scaled to 20 x 20 pixels, its centre of mass in the middle."""
    blurred = ndimage.gaussian_filter(picture, 1)
    is_ink = blurred <= _otsu(blurred)
    if is_ink.mean() > 0.5:  # light ink on dark paper
        is_ink = ~is_ink
    pieces, count = ndimage.label(is_ink, np.ones((3, 3)))
    if not count:
        return np.zeros((28, 28), np.uint8)
    sizes = ndimage.sum_labels(is_ink, pieces, np.arange(1, count + 1))
    largest = (pieces == 1 + np.argmax(sizes)).astype(np.uint8)
    (box,) = ndimage.find_objects(largest)
    digit = Image.fromarray(255 * largest[box])
    width, height = (max(1, round(20 * side / max(digit.size))) for side in digit.size)
    # With a wide margin, 28 x 28 pixels can be cut out around any point of the digit.
    small = np.pad(np.asarray(digit.resize((width, height), Image.Resampling.BOX)), 14)
    row, column = (round(middle) for middle in ndimage.center_of_mass(small))
    return small[row - 14 : row + 14, column - 14 : column + 14]


def _otsu(picture: np.ndarray) -> float:
    """Compute the threshold with the most variance between what is below and above it.

    Notes
    -----
    N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    counts = np.bincount(picture.ravel(), minlength=256)
    below, sum_below = counts.cumsum(), (counts * np.arange(256)).cumsum()
    above, sum_above = below[-1] - below, sum_below[-1] - sum_below
    difference = sum_below / np.maximum(below, 1) - sum_above / np.maximum(above, 1)
    return float(np.argmax(below * above * difference**2))


def resized(picture: np.ndarray) -> np.ndarray:
    """Scale the whole picture to 28 x 28 pixels, and invert it if it is light."""
    small = np.asarray(Image.fromarray(picture).resize((28, 28)))
    return 255 - small if small.mean() > 127 else small


RECIPES = {"as here": as_mnist, "largest piece": largest_piece, "resized": resized}


def prepare(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Prepare pictures by each of the recipes.

    Returns
    -------
    Images by recipe, uint8, shape (n, 28, 28). An image is empty where its
    recipe cannot make it: all of them if the file cannot be read, "as here" if it is refused.
    """
    images = {recipe: np.zeros((len(files), 28, 28), np.uint8) for recipe in RECIPES}
    for number, file in enumerate(files):
        with suppress(HandwritingError):
            picture = read_picture(file)
            images["largest piece"][number] = largest_piece(picture)
            images["resized"][number] = resized(picture)
            images["as here"][number] = as_mnist(picture)  # last, since it may refuse
    return images


def draw_again(images: np.ndarray) -> np.ndarray:
    """Draw images ten times as large, somewhere on white paper, and put these pictures in form.

    Returns
    -------
    uint8, shape (n, 28, 28). An image is empty where its picture is refused: a few digits are in
    two pieces side by side.
    """
    rng = np.random.default_rng(0)
    again = np.zeros_like(images)
    for number, image in enumerate(images):
        paper = np.full(rng.integers(280, 420, size=2), 255, np.uint8)
        top, left = (rng.integers(0, side - 279) for side in paper.shape)
        large = np.asarray(Image.fromarray(image).resize((280, 280)))
        paper[top : top + 280, left : left + 280] = 255 - large
        with suppress(HandwritingError):
            again[number] = as_mnist(paper)
    return again


def read(
    digits: Digits, images: ImageSets, seeds: Sequence[int]
) -> dict[str, dict[str, np.ndarray]]:
    """Have sets of images read by all trainings of all networks.

    Parameters
    ----------
    seeds
        Of the trainings. If there are none, the models that come with the project read.

    Returns
    -------
    The probabilities of the digits, by network and by set: float32, shape (trainings, n, 10).
    """
    from helpers.compute import start_tensorflow

    start_tensorflow()
    import keras

    from helpers.loading import train_or_load
    from helpers.models import CANDIDATES
    from helpers.training import Settings

    found = {}
    for candidate in CANDIDATES:
        by_training = []
        for seed in seeds or [Settings().seed]:
            model = train_or_load(candidate, digits, Settings(seed=seed))
            by_training.append([model.predict(each) for each in images.values()])
            keras.backend.clear_session()  # else each model would stay in memory
        by_set = map(np.array, zip(*by_training, strict=True))
        found[candidate.name] = dict(zip(images, by_set, strict=True))
    return found


def summarise(
    table: pd.DataFrame, correct: Mapping[str, Correct], highest: np.ndarray
) -> dict[str, Any]:
    """Compute all tables of the report.

    Parameters
    ----------
    table
        A row for each picture of a digit, as `read_table` returns it.
    correct
        By the name of the set, for each recipe and for "drawn again" and "test images", and then by
        network.
    highest
        The probability of the digit that `BEST` reads in each picture, shape (trainings, n).
    """
    recipes = {recipe: correct[recipe][BEST] for recipe in RECIPES}
    is_right = recipes["as here"]
    by_others = recipes["largest piece"] | recipes["resized"]
    # If all pictures are read, or none, there is nothing to tell apart.
    areas = [
        roc_auc_score(right, probability)
        for right, probability in zip(is_right, highest, strict=True)
        if right.any() and not right.all()
    ]
    return {
        "kinds": by_kind(table, correct["as here"]),
        "pairs": in_pairs(table, correct["as here"]),
        "recipes": by_kind(table, recipes),
        "tests": beside_test_images(correct),
        "misread": {
            "readings %": _percent(~is_right),
            "read otherwise %": _percent(by_others[~is_right]),
        },
        "trust": by_probability(is_right, highest),
        "area under the curve": float(np.mean(areas)) if areas else None,
        "sources": by_source(table, correct["as here"]),
    }


def by_kind(table: pd.DataFrame, correct: Correct) -> Rows:
    """Compute what percentage is read of each kind, of all, and of the sources kept apart."""
    groups = {kind: table["kind"] == kind for kind in sorted(set(table["kind"]))}
    groups["all"] = pd.Series(True, table.index)
    if set(APART) <= set(table["source"]):  # these are the project's pictures
        groups[KEPT_APART] = table["source"].isin(APART)
    rows: Rows = {}
    for group, members in groups.items():
        sources = table["source"][members]
        rows[group] = {"pictures": int(members.sum()), "sources": int(sources.nunique())}
        for name, each in correct.items():
            rows[group][f"{name} %"] = with_interval(each[:, members].mean(axis=0), sources)
    return rows


def in_pairs(table: pd.DataFrame, correct: Correct) -> Rows:
    """Compare the networks two by two: which reads more pictures, and how many more."""
    rows: Rows = {}
    for first, second in itertools.combinations(correct, 2):
        counts = correct[first].sum(axis=1), correct[second].sum(axis=1)
        difference = correct[first].mean(axis=0) - correct[second].mean(axis=0)
        rows[f"{first} beats {second}"] = {
            "% of pairs": round(float(probability_of_superiority(*counts)), 2),
            "difference, points": with_interval(difference, table["source"]),
        }
    return rows


def with_interval(values: np.ndarray, sources: pd.Series) -> Row:
    """Compute the mean of a value per picture, in percent, and its interval.

    Returns
    -------
    `estimate`, `low` and `high`.

    Notes
    -----
    The interval is the percentile bootstrap, which draws whole sources: pictures of one writer are
    alike. There is none if there are fewer than `LEAST_SOURCES`.
    """
    groups = pd.Series(values).groupby(np.asarray(sources)).agg(["sum", "size"])
    row = {"estimate": 100 * float(np.mean(values))}
    if len(groups) >= LEAST_SOURCES:

        def mean(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
            return 100 * sums.sum(axis) / sizes.sum(axis)

        drawn = bootstrap(
            (groups["sum"].to_numpy(), groups["size"].to_numpy()),
            mean,
            paired=True,  # a source's sum and its size are drawn together
            method="percentile",
            rng=np.random.default_rng(0),
        )
        row["low"], row["high"] = drawn.confidence_interval
    return {key: round(float(value), 2) for key, value in row.items()}


def beside_test_images(correct: Mapping[str, Correct]) -> Rows:
    """Compute, for each network, what it reads of test images, of these drawn again, of pictures.

    With several trainings, also how much the last varies: its standard deviation, over n - 1.
    """
    rows: Rows = {}
    for network, pictures in correct["as here"].items():
        rows[network] = {
            "test images %": _percent(correct["test images"][network]),
            "drawn and read again %": _percent(correct["drawn again"][network]),
            "pictures %": {"estimate": _percent(pictures)},
        }
        if len(pictures) > 1:
            rows[network]["pictures %"]["sd"] = 100 * float(pictures.mean(axis=1).std(ddof=1))
    return rows


def by_probability(is_right: np.ndarray, highest: np.ndarray) -> Rows:
    """Say how far a reading can be trusted, by the probability of the digit that is read.

    Of eight measures of trust that were tried (such as neighbours among the training images, and
    whether the networks agree), none told right from wrong better on half of the sources.

    Returns
    -------
    For each probability how many readings have at least that, their mean probability, how many of
    them are right, and how many of the others.
    """
    return {
        str(least): {
            "readings %": _percent(highest >= least),
            "probability %": _percent(highest[highest >= least]),
            "right %": _percent(is_right[highest >= least]),
            "of the others right %": _percent(is_right[highest < least]),
        }
        for least in PROBABILITIES
    }


def by_source(table: pd.DataFrame, correct: Correct) -> Rows:
    """Compute what percentage of each source is read; numbered sources come in their order."""
    rows: Rows = {}
    for source in sorted(set(table["source"]), key=lambda source: (len(source), source)):
        members = table["source"] == source
        kinds = sorted(set(table["kind"][members]))
        rows[source] = {"kind": ", ".join(kinds), "pictures": int(members.sum())}
        for network, each in correct.items():
            rows[source][f"{network} %"] = round(100 * float(each[:, members].mean()), 1)
    return rows


def _percent(values: np.ndarray) -> float | None:
    """Return the mean in percent, or None if there are no values: JSON has no word for NaN."""
    return 100 * float(values.mean()) if values.size else None


def _has_ink(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).max(axis=1) > 0


# --- The results as Markdown


def report(measured: Mapping[str, Any]) -> str:
    """Write down what `measure` returns."""
    trainings, area = measured["trainings"], measured["area under the curve"]
    otherwise, refused = measured["misread"]["read otherwise %"], measured["refused"]
    lines = [
        "# Pictures of people's own digits",
        "",
        "Written by `make handwriting`; "
        + (f"means over {trainings} trainings" if trainings else "one training")
        + " of each network. Read correctly, in",
        "percent, with 95 % intervals by bootstrap over sources where there are at least five.",
        "",
        *_table(measured["kinds"], "kind"),
    ]
    if KEPT_APART in measured["kinds"]:
        lines += [
            "No change of the reader was chosen by the sources kept apart. They are few, and were",
            "read before and after such changes, so they are no untouched test set either.",
            "",
        ]
    lines += [
        "In what share of pairs of trainings the first network reads more pictures, and by how",
        "many points on average:",
        "",
        *_table(measured["pairs"], ""),
        f"What {BEST} reads if a picture is prepared as here, or as tutorials do it:",
        "",
        *_table(measured["recipes"], "kind"),
    ]
    if otherwise is not None:
        lines += [
            f"Of the pictures that {BEST} misreads, {otherwise:.0f} % are read correctly when",
            "prepared by at least one of the other two recipes.",
            "",
        ]
    lines += [
        "What comes of the test images themselves, as they are and drawn as pictures that the",
        "reader prepares; ± is the standard deviation over the trainings:",
        "",
        *_table(measured["tests"], "network"),
        f"How far {BEST} can be trusted when it gives a digit at least some probability"
        + (":" if area is None else f" (area under the ROC curve {area:.2f}):"),
        "",
        *_table(measured["trust"], "probability of at least"),
        f"Refused: {refused['of these']} of {refused['odd']} that are no single digit or were of",
        f"another format, and {refused['digits']} digits.",
        "",
        *_table(measured["sources"], "source"),
    ]
    return "\n".join(lines)


def _table(rows: Rows, title: str) -> list[str]:
    """Return the lines of a table."""
    columns = list(next(iter(rows.values())))
    return [
        f"| {title} | {' | '.join(columns)} |",
        "|---|" + "---:|" * len(columns),
        *(
            f"| {key} | {' | '.join(_cell(row[name]) for name in columns)} |"
            for key, row in rows.items()
        ),
        "",
    ]


def _cell(value: Any) -> str:
    """Write a value; an interval stands in brackets after it, a standard deviation after ±."""
    if isinstance(value, dict):
        text = _cell(value["estimate"])
        if "low" in value:
            text += f" ({value['low']:.1f} to {value['high']:.1f})"
        if "sd" in value:
            text += f" ± {value['sd']:.2f}"
        return text
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
