"""Measure how the pictures of digits in a folder are read: ``make handwriting HANDWRITING=folder``.

The folder holds pictures/ and table.csv, with the columns file, digit, kind and source; the kind is `odd` for what is
no single digit. Prints a report on the trained models that come with the project. With ``TRAININGS=30`` it is about so
many trainings of each network instead, those of the study, which are trained first where they are not in models/local/;
then rates and counts are stored in benchmarks/handwriting.json, for the notebook, and in benchmarks/HANDWRITING.md.
"""

import io
import itertools
import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from helpers.errors import InputError  # noqa: E402
from helpers.handwriting import HandwritingError, as_mnist, read_picture  # noqa: E402
from helpers.variation import probability_of_superiority  # noqa: E402

MEASURED, REPORT = HERE / "handwriting.json", HERE / "HANDWRITING.md"
NONE = np.zeros((28, 28), np.uint8)
THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)
LEAST_SOURCES = 5  # for an interval; drawn from fewer, it would be far too narrow
BEST, KEPT_APART = "conv-normalised", "sources kept apart"
COLUMNS = ["file", "digit", "kind", "source"]  # of the table; it may have others
# Of the 683 pictures that the project was measured on, those of these sources chose no change of the reader.
APART = "5 10 12 20 23 25 27 29 30 51 55 57 63 65 70".split()
KEPT_APART_NOTE = (
    "No change of the reader was chosen by the sources kept apart. They are few, and were read before and after such",
    "changes, so they are no untouched test set either.", "",
)  # fmt: skip


def read_table(folder: Path) -> pd.DataFrame:
    """Read table.csv: one row per picture, all of it text.

    Columns are divided by commas, semicolons or tabs, and the first may begin with a byte-order mark: spreadsheets
    save all of these. An InputError if a column or a picture is missing, or a row is incomplete.
    """
    path = folder / "table.csv"
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        found = f"{path}: expected a table of comma-separated values, in UTF-8; it cannot be read ({error})."
        raise InputError(f"{found} Name the folder that holds it, or export it as CSV UTF-8.") from None
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        found = f"{path}: expected the columns {', '.join(COLUMNS)}; found no {', '.join(missing)}"
        raise InputError(f"{found}, only {', '.join(table.columns)}. Name the columns in its first line.")
    table = table[(table[COLUMNS] != "").any(axis=1)].reset_index(drop=True)
    is_digit = table["digit"].isin(list("0123456789")) | (table["kind"] == "odd")
    complete = is_digit & (table[["file", "kind", "source"]] != "").all(axis=1)
    is_there = table["file"].map(lambda file: (folder / "pictures" / file).is_file())
    if not complete.all():
        found = ", ".join(table.loc[complete.idxmin(), COLUMNS])
        expected = "expected of each picture file, digit (0 to 9, or the kind odd), kind and source"
        raise InputError(f"{path}: {expected}; found the row {found}. Complete it.")
    if not is_there.all():
        found = table.loc[is_there.idxmin(), "file"]
        raise InputError(f"{path}: expected each file in {folder / 'pictures'}; found no {found} there. Correct it.")
    return table


def otsu(grey: np.ndarray) -> float:
    """The threshold with the most variance between what is below and above it (N. Otsu, 1979)."""
    counts = np.bincount(grey.ravel(), minlength=256)
    below, total = counts.cumsum(), (counts * np.arange(256)).cumsum()
    above = below[-1] - below
    means = total / np.maximum(below, 1), (total[-1] - total) / np.maximum(above, 1)
    return float(np.argmax(below * above * (means[0] - means[1]) ** 2))


def largest_piece(grey: np.ndarray) -> np.ndarray:
    """As many tutorials do: blur, Otsu's threshold, the largest piece, a box of 20 x 20, the centre of mass."""
    blurred = ndimage.gaussian_filter(grey, 1)
    ink = blurred <= otsu(blurred)
    ink = ink if ink.mean() <= 0.5 else ~ink
    pieces, count = ndimage.label(ink, np.ones((3, 3)))
    if not count:
        return NONE
    piece = pieces == 1 + np.argmax(ndimage.sum_labels(ink, pieces, np.arange(1, count + 1)))
    digit = Image.fromarray(255 * piece[ndimage.find_objects(piece.astype(int))[0]].astype(np.uint8))
    size = [max(1, round(20 * side / max(digit.size))) for side in digit.size]
    small = np.pad(np.asarray(digit.resize(size, Image.Resampling.BOX)), 14)
    down, right = (round(middle) for middle in ndimage.center_of_mass(small))
    return small[down - 14 : down + 14, right - 14 : right + 14]


def resized(grey: np.ndarray) -> np.ndarray:
    """As other tutorials do: 28 x 28 pixels of the whole picture, inverted where it is light."""
    small = np.asarray(Image.fromarray(grey).resize((28, 28)))
    return 255 - small if small.mean() > 127 else small


PREPARATIONS = {"as here": as_mnist, "largest piece": largest_piece, "resized": resized}


def prepared(files: list[Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The pictures, prepared in each way, uint8 (n, 28, 28), empty where that fails; and whether each is refused."""
    images = {name: np.zeros((len(files), 28, 28), np.uint8) for name in PREPARATIONS}
    refused = np.zeros(len(files), bool)
    for number, file in enumerate(files):
        try:
            grey = read_picture(file)
            for name in reversed(PREPARATIONS):  # ours last, since it may refuse
                images[name][number] = PREPARATIONS[name](grey)
        except HandwritingError:
            refused[number] = True
    return images, refused


def drawn_again(images: np.ndarray) -> np.ndarray:
    """The test images as pictures, ten times as large, somewhere on white paper, as the reader then prepares them.

    Empty where it refuses one: a few digits are in two pieces side by side.
    """
    rng = np.random.default_rng(0)
    again = np.zeros_like(images)
    for number, image in enumerate(images):
        paper = np.full(rng.integers(280, 420, size=2), 255, np.uint8)
        top, left = (rng.integers(0, side - 279) for side in paper.shape)
        paper[top : top + 280, left : left + 280] = 255 - np.asarray(Image.fromarray(image).resize((280, 280)))
        with suppress(HandwritingError):
            again[number] = as_mnist(paper)
    return again


def readings(digits, images: np.ndarray, seeds: list[int]) -> dict[str, np.ndarray]:
    """Probabilities of the digits, by each training of each network, float32 (trainings, n, 10)."""
    from helpers.compute import start_tensorflow

    start_tensorflow()
    import keras

    from helpers import models
    from helpers.loading import train_or_load
    from helpers.training import Settings

    read = {}
    for candidate in models.CANDIDATES:
        each = []
        for seed in seeds or [Settings().seed]:
            each.append(train_or_load(candidate, digits, Settings(seed=seed)).predict(images))
            keras.backend.clear_session()
        read[candidate.name] = np.array(each)
    return read


def with_interval(values: np.ndarray, sources: pd.Series) -> dict[str, float]:
    """Mean of a value of each picture, in percent, with a 95 % interval by bootstrap over sources if there are enough.

    Pictures of one source, which are of one writer as a rule, are drawn together.
    """
    groups = pd.Series(values).groupby(np.asarray(sources)).agg(["sum", "size"])
    mean = round(100 * float(np.mean(values)), 2)
    if len(groups) < LEAST_SOURCES:
        return {"estimate": mean}

    def share(sums, sizes, axis):
        return 100 * sums.sum(axis) / sizes.sum(axis)

    data = groups["sum"].to_numpy(), groups["size"].to_numpy()
    found = bootstrap(data, share, paired=True, method="percentile", rng=np.random.default_rng(0))
    low, high = (round(float(bound), 2) for bound in found.confidence_interval)
    return {"estimate": mean, "low": low, "high": high}


def rates(table: pd.DataFrame, right: dict[str, np.ndarray]) -> dict[str, dict]:
    """By kind, for all, and for the sources kept apart: how many pictures and sources, and what share is read."""
    groups = {kind: table["kind"] == kind for kind in sorted(set(table["kind"]))}
    groups["all"] = pd.Series(True, table.index)
    if set(APART) <= set(table["source"]):
        groups[KEPT_APART] = table["source"].isin(APART)
    rows = {}
    for group, here in groups.items():
        sources = table["source"][here]
        rows[group] = {"pictures": int(here.sum()), "sources": int(sources.nunique())}
        for name, each in right.items():
            rows[group][f"{name} %"] = with_interval(each[:, here].mean(axis=0), sources)
    return rows


def pairs(table: pd.DataFrame, right: dict[str, np.ndarray]) -> dict[str, dict]:
    """In what share of the pairs of trainings a network reads more pictures than another; and by how many points."""
    rows = {}
    for first, second in itertools.combinations(right, 2):
        won = probability_of_superiority(right[first].sum(axis=1), right[second].sum(axis=1))
        difference = right[first].mean(axis=0) - right[second].mean(axis=0)
        rows[f"{first} beats {second}"] = {
            "% of pairs": round(float(won), 2),
            "difference, points": with_interval(difference, table["source"]),
        }
    return rows


def trust(right: np.ndarray, sure: np.ndarray) -> dict[str, dict]:
    """Of the readings with at least some probability: how many, with what mean probability, how many right; in %.

    And how many of the others are right.
    """
    return {
        str(least): {
            "readings %": 100 * float((sure >= least).mean()),
            "probability %": 100 * float(sure[sure >= least].mean()),
            "right %": 100 * float(right[sure >= least].mean()),
            "of the others right %": 100 * float(right[sure < least].mean()),
        }
        for least in THRESHOLDS
    }


def measure(folder: Path, trainings: int) -> dict:
    """All rates; they are means over the trainings."""
    from helpers.data import load_mnist

    table = read_table(folder)
    odd = (table["kind"] == "odd").to_numpy()
    images, refused = prepared([folder / "pictures" / file for file in table["file"]])
    digits, count = load_mnist(), len(table)
    again = drawn_again(digits.test_images)
    everything = np.concatenate([*images.values(), again, digits.test_images])
    read = readings(digits, everything, list(range(1, trainings + 1)))
    labels = [table["digit"].where(~odd, "-1").astype(int)] * len(images)
    expected = np.concatenate([*labels, digits.test_labels, digits.test_labels])
    right = {name: each.argmax(axis=2) == expected for name, each in read.items()}
    ours, table = np.flatnonzero(~odd), table[~odd]
    for each in right.values():
        each[:, ~everything.any(axis=(1, 2))] = False  # what was refused
    recipes = {name: right[BEST][:, place * count + ours] for place, name in enumerate(images)}
    right_here = {name: each[:, ours] for name, each in right.items()}
    start, end = len(images) * count, len(images) * count + len(again)
    wrong = ~recipes["as here"]
    otherwise = (recipes["largest piece"] | recipes["resized"])[wrong]
    # Of eight measures of how far a reading can be trusted (neighbours among the training images, agreement of the
    # networks, ...) none told right from wrong better on half of the sources than the probability itself.
    sure = read[BEST][:, ours].max(axis=2)
    areas = [roc_auc_score(one, other) for one, other in zip(recipes["as here"], sure, strict=True) if one.std()]
    return {
        "trainings": trainings,
        "kinds": rates(table, right_here),
        "pairs": pairs(table, right_here),
        "recipes": rates(table, recipes),
        "tests": {
            name: {
                "test images %": 100 * float(each[:, end:].mean()),
                "drawn and read again %": 100 * float(each[:, start:end].mean()),
                "pictures %": {"estimate": 100 * float(right_here[name].mean())}
                | ({"sd": 100 * float(right_here[name].mean(axis=1).std(ddof=1))} if trainings > 1 else {}),
            }
            for name, each in right.items()
        },
        "misread": {"readings %": 100 * float(wrong.mean()), "read otherwise %": 100 * float(otherwise.mean())},
        "trust": trust(recipes["as here"], sure),
        "area under the curve": float(np.mean(areas)),
        "refused": {"odd": int(odd.sum()), "of these": int((odd & refused).sum()),
                    "digits": int((~odd & refused).sum())},
        "sources": {
            source: {"kind": ", ".join(sorted(set(group["kind"]))), "pictures": len(group)}
            | {f"{name} %": round(100 * float(each[:, table.index.get_indexer(group.index)].mean()), 1)
               for name, each in right_here.items()}
            for source, group in sorted(table.groupby("source"), key=lambda item: (len(item[0]), item[0]))
        },
    }  # fmt: skip


def markdown(rows: dict[str, dict], title: str) -> list[str]:
    """Rows as a table; an interval stands in brackets after its estimate, a standard deviation after ±."""
    columns = list(next(iter(rows.values())))

    def cell(value) -> str:
        if isinstance(value, dict):
            if "low" in value:
                return f"{value['estimate']:.2f} ({value['low']:.1f} to {value['high']:.1f})"
            return f"{value['estimate']:.2f} ± {value['sd']:.2f}" if "sd" in value else f"{value['estimate']:.2f}"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    return [
        f"| {title} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns),
        *(f"| {key} | {' | '.join(cell(row[name]) for name in columns)} |" for key, row in rows.items()), "",
    ]  # fmt: skip


def report(measured: dict) -> str:
    """The results as Markdown."""
    misread, refused, trainings = measured["misread"], measured["refused"], measured["trainings"]
    which = f"means over {trainings} trainings of each network" if trainings else "one training of each network"
    return "\n".join([
        "# Pictures of people's own digits", "",
        f"Written by `make handwriting`; {which}. Read correctly, in",
        "percent, with 95 % intervals by bootstrap over sources where there are at least five.", "",
        *markdown(measured["kinds"], "kind"),
        *(KEPT_APART_NOTE if KEPT_APART in measured["kinds"] else ()),
        "In what share of pairs of trainings the first network reads more pictures, and by how many points on average:",
        "",
        *markdown(measured["pairs"], ""),
        f"What {BEST} reads if a picture is prepared as here, or as tutorials do it:", "",
        *markdown(measured["recipes"], "kind"),
        f"Of the pictures that {BEST} misreads, {misread['read otherwise %']:.0f} % are read correctly when prepared",
        "by at least one of the other two recipes. What comes of the test images themselves, as they are and drawn as",
        "pictures that the reader prepares; ± is the standard deviation over the trainings:", "",
        *markdown(measured["tests"], "network"),
        f"How far {BEST} can be trusted when it gives a digit at least some probability (area under the ROC curve "
        f"{measured['area under the curve']:.2f}):", "",
        *markdown(measured["trust"], "probability of at least"),
        f"Refused: {refused['of these']} of {refused['odd']} that are no single digit or were of another format, "
        f"and {refused['digits']} digits.", "",
        *markdown(measured["sources"], "source"),
    ])  # fmt: skip


if __name__ == "__main__":
    name, trainings = "".join(sys.argv[1:2]), " ".join(sys.argv[2:]) or "0"
    if not name or not trainings.isdecimal():
        sys.exit("error: expected a folder with table.csv and pictures/, and perhaps a number of trainings. "
                 "Name them: make handwriting HANDWRITING=folder TRAININGS=30")  # fmt: skip
    try:
        measured = measure(Path(name).expanduser(), int(trainings))
    except InputError as error:
        sys.exit(f"error: {error}")
    if int(trainings):
        MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
        REPORT.write_text(report(measured))
    print(report(measured))
