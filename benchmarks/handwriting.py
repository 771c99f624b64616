"""Measure how digits in a folder of pictures are read: ``make handwriting HANDWRITING=folder``.

The folder holds table.csv (file, digit, kind, source) and pictures/. Writes benchmarks/handwriting.json, rates and
counts only, and benchmarks/HANDWRITING.md.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from helpers.startup import start_tensorflow  # noqa: E402

start_tensorflow()
from helpers import models  # noqa: E402
from helpers.data import load_mnist  # noqa: E402
from helpers.handwriting import HandwritingError, as_mnist, read_picture  # noqa: E402
from helpers.training import Settings, train_or_load  # noqa: E402

NONE = np.zeros((28, 28), np.uint8)
THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)


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


def interval(right: pd.Series, sources: pd.Series) -> list[float]:
    """95 % interval of a share in percent, by bootstrap over sources."""
    groups = right.groupby(sources).agg(["sum", "size"]).to_numpy()
    drawn = groups[np.random.default_rng(0).integers(0, len(groups), (2000, len(groups)))].sum(axis=1)
    return np.round(100 * np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975]), 1).tolist()


def measure(folder: Path) -> dict:
    table = pd.read_csv(folder / "table.csv", dtype=str)
    images = {"project": [], "largest piece": [], "resized": []}
    refused = []
    for file in table["file"]:
        made = dict.fromkeys(images, NONE)
        try:
            grey = read_picture(folder / "pictures" / file)
            made |= {"largest piece": largest_piece(grey), "resized": resized(grey)}
            made["project"] = as_mnist(grey)
            refused.append(False)
        except HandwritingError:
            refused.append(True)
        for name, image in made.items():
            images[name].append(image)
    refused, odd = np.array(refused), (table["kind"] == "odd").to_numpy()
    digits = load_mnist()
    read = {}
    for candidate in models.CANDIDATES:
        answers = train_or_load(candidate, digits, Settings()).predict(np.array(images["project"]))
        read[candidate.name] = (answers.argmax(axis=1).astype(str) == table["digit"]) & ~refused
    best = train_or_load(models.CONV_NORMALISED, digits, Settings())
    for name in ("largest piece", "resized"):
        read[name] = best.predict(np.array(images[name])).argmax(axis=1).astype(str) == table["digit"]
    # Of eight measures of how far a reading can be trusted (neighbours among the training images, agreement of the
    # networks, ...) none told right from wrong better on half of the sources than the probability itself.
    sure, rows = answers.max(axis=1), {}
    for kind in [*sorted(set(table["kind"]) - {"odd"}), "all"]:
        here = ~odd & ((table["kind"] == kind) | (kind == "all"))
        sources = table["source"][here]
        rows[kind] = {"pictures": int(here.sum()), "sources": int(sources.nunique())} | {
            name: {"right": int(right[here].sum()), "interval": interval(right[here], sources)}
            for name, right in read.items()
        }
    kept = {
        str(least): {"kept": int(some.sum()), "right": int(read["conv-normalised"][some].sum())}
        for least in THRESHOLDS
        for some in [~odd & ~refused & (sure >= least)]
    }
    return {"kinds": rows, "trust": kept, "odd": int(odd.sum()), "odd refused": int((odd & refused).sum()),
            "digits refused": int((~odd & refused).sum())}  # fmt: skip


def report(measured: dict) -> str:
    """The results as Markdown."""
    kinds, number = measured["kinds"], measured["kinds"]["all"]["pictures"]
    names = [name for name in kinds["all"] if name not in ("pictures", "sources")]

    def share(row: dict, name: str) -> str:
        low, high = row[name]["interval"]
        return f"{100 * row[name]['right'] / row['pictures']:.1f} ({low:.1f} to {high:.1f})"

    lines = [
        "# Pictures of people's own digits", "",
        "Written by `make handwriting`. Read correctly, in percent, with 95 % intervals by bootstrap over sources. The",
        "last two columns are what conv-normalised reads when a picture is prepared as tutorials do it.", "",
        f"| kind | pictures | sources | {' | '.join(names)} |", "|---|" + "---:|" * (len(names) + 2),
        *(f"| {kind} | {row['pictures']} | {row['sources']} | {' | '.join(share(row, name) for name in names)} |"
          for kind, row in kinds.items()), "",
        "| probability of at least | kept, % | of these right, % |", "|---|---:|---:|",
        *(f"| {least} | {100 * row['kept'] / number:.1f} | {100 * row['right'] / max(1, row['kept']):.1f} |"
          for least, row in measured["trust"].items()), "",
        f"Refused: {measured['odd refused']} of {measured['odd']} that are no single digit or were of another format, "
        f"and {measured['digits refused']} digits.", "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) < 2 or not Path(sys.argv[1], "table.csv").is_file():
        sys.exit("error: expected a folder with table.csv and pictures/. Name one: make handwriting HANDWRITING=folder")
    measured = measure(Path(sys.argv[1]))
    (HERE / "handwriting.json").write_text(json.dumps(measured, indent=1) + "\n")
    (HERE / "HANDWRITING.md").write_text(report(measured))
    print(report(measured))
