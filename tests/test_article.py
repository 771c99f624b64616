import numpy as np
import pytest

from helpers import article, evaluation, tables


def test_published_figures_agree_with_each_other():
    """Rows add up to the number of test images of each digit; the diagonal to the validation accuracy."""
    assert article.CONFUSION.sum(axis=1).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.trace(article.CONFUSION) == 9_801 == round(100 * article.VALIDATION[article.BEST])


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ((False, 3, 64, ["the layers of dense"], False), "this run used a sample instead of MNIST"),
        (
            (True, 3, 32, ["the layers of dense"], False),
            "the article trained for 5 epochs in batches of 64, this run for 3 in batches of 32",
        ),
        (
            (True, 5, 64, ["the layers of dense", "the pixels of conv"], False),
            "in this run the layers of dense and the pixels of conv are not the article's",
        ),
        (
            (True, 5, 64, [], False),
            "there is no study with two trainings or more of each network as it is trained here",
        ),
    ],
)
def test_the_one_reason_why_something_is_left_out(run, reason):
    said = article.why_left_out(*run)
    assert said == f"What compares with the article or the study is left out: {reason}."


def test_only_like_is_compared_with_like():
    assert article.why_left_out(True, 5, 64) == ""
    ours = tables.from_rows({"conv": {"training %": 98.0}, "dense": {"training %": 99.0}})
    assert article.with_published(ours, "Left out.") is ours
    assert article.published_by_digit("dense", "Left out.").empty
    assert article.published_by_digit("conv").empty  # they are dense's
    table = article.with_published(ours)
    parts = [("validation %, article", part) for part in ("estimate", "low", "high")]
    assert table.columns.tolist() == [("training %", ""), ("training %, article", ""), *parts]
    assert table["training %, article"].tolist() == [97.83, 98.5]
    interval = pytest.approx([100 * bound for bound in evaluation.wilson_interval(9_816, 10_000)])
    assert table.loc["conv", parts[1:]].tolist() == interval
    interval = [100 * bound for bound in evaluation.wilson_interval(973, 980)]
    assert article.published_by_digit().loc[0].tolist() == pytest.approx([99.29, *interval])


# For the scorecard: a made-up study that is just like the article says.
NEARBY = np.zeros((10_000, 10), dtype=bool)
NEARBY[[2, 12, 4], [1, 7, 9]] = True
LINKS = np.eye(10, dtype=int) * 1_000
for one, other, count in ((4, 9, 90), (7, 9, 80), (3, 5, 70), (3, 8, 60), (0, 6, 4), (1, 7, 5), (2, 7, 50), (6, 5, 55)):
    LINKS[one, other] = LINKS[other, one] = count


def made_up(changed=None, **history):
    """Four trainings of each network around the article's figures; `changed` edits the confusion counts."""
    runs = []
    for number, shift in enumerate((-0.0003, -0.0001, 0.0001, 0.0003)):
        for name in article.TRAINING:
            training, validation = article.TRAINING[name] / 100 + shift, article.VALIDATION[name] / 100 + shift / 3
            confusion = article.CONFUSION.copy()
            confusion[1, 8], confusion[1, 1] = 3, 1_126  # so that 1 is read better than all others but 0
            confusion[8, 7] += number % 2  # so that the gap is not always the same
            confusion[8, 8] -= number % 2
            if changed is not None:
                changed(confusion)
            accuracies = {"accuracy": [0.9, training], "val_accuracy": [0.95, validation], "val_loss": [0.2, 0.1]}
            errors = {"confusion": confusion.tolist(), "misread": [2, 12, 4], "taken_for": [1, 7, 3]}
            runs.append({"candidate": name, "seed": number, "history": accuracies | history, **errors})
    return runs


def scorecard(runs, links=LINKS, nearby=NEARBY):
    return article.scorecard(runs, links, nearby, np.arange(10_000) % 10)


def test_all_claims_hold_where_all_is_as_the_article_says():
    table = scorecard(made_up())
    assert {verdict.split(",")[0] for verdict in table["verdict"]} == {"holds"}
    assert table.loc["Final accuracies", "verdict"] == "holds, 4 of 4" and not table["does not hold"].any()
    assert "dense 98.50 ± 0.03 and 98.01 ± 0.01 %" in table.loc["Final accuracies", "here"]
    # Images 2, 12, 4, which show 2, 2 and 4, were taken for 1, 7 and 3; nearby are 1, 7 and 9. So two of three were
    # taken for what is nearby; with the other 2 in place of each 2, half as many.
    found = table.loc["The errors can often be understood", "here"]
    assert found.startswith("judged by pixels: in 67 % of errors")
    assert found.endswith("a random misread image of the same digit, in 33 %")


def linked(one, other, count):
    links = LINKS.copy()
    links[one, other] = links[other, one] = count
    return links


def move(count, *digits):
    """So many images of each of these digits are read as a 6 instead of rightly."""

    def changed(confusion):
        for digit in digits:
            confusion[digit, digit] -= count
            confusion[digit, 6] += count

    return changed


FINAL = "Final accuracies"
LEARNING = "No overfitting, accuracies rise"
CHOICE = "Dense has the larger sum, conv validates better"
EVEN = "Even accuracies, 0 best and 8 worst"
CONFUSED = "Only 4/9 and 2/7 stand out as confused"
MAP = "Neighbours agree with the accuracies"
ERRORS = "The errors can often be understood"
# A claim, what differs from a study in which all of them hold, and the verdict.
FAILING = [
    (FINAL, {"runs": made_up(accuracy=[0.9, 0.95])}, "holds in part"),
    (FINAL, {"runs": made_up(accuracy=[0.9, 0.95], val_accuracy=[0.9, 0.95])}, "does not hold"),
    (LEARNING, {"runs": made_up(val_loss=[0.1, 0.2])}, "holds in part"),
    (LEARNING, {"runs": made_up(val_loss=[0.1, 0.2], val_accuracy=[0.99, 0.98])}, "does not hold"),
    (CHOICE, {"runs": made_up(accuracy=[0.9, 0.95])}, "holds in part"),
    (EVEN, {"runs": made_up(move(40, 0))}, "does not hold"),
    (EVEN, {"runs": made_up(move(40, 8))}, "holds in part"),
    (CONFUSED, {"runs": made_up(move(30, 8))}, "holds in part"),
    (CONFUSED, {"runs": made_up(move(30, 5, 8))}, "does not hold"),
    (MAP, {"links": linked(0, 1, 900)}, "holds in part"),
    (MAP, {"links": linked(4, 5, 900)}, "holds in part"),
    (MAP, {"runs": made_up(move(40, 0))}, "holds in part"),
    (ERRORS, {"nearby": ~NEARBY}, "does not hold"),
    (ERRORS, {"nearby": np.ones_like(NEARBY)}, "holds in part"),  # with any other error as well
]


@pytest.mark.parametrize(("claim", "wrong", "expected"), FAILING)
def test_claims_that_do_not_hold(claim, wrong, expected):
    assert scorecard(**({"runs": made_up()} | wrong)).loc[claim, "verdict"].split(",")[0] == expected


def test_every_claim_can_fail():
    assert {claim for claim, _, _ in FAILING} == set(scorecard(made_up()).index)


def test_what_does_not_hold_is_named():
    row = scorecard(made_up(move(40, 8))).loc[EVEN]
    assert (row["verdict"], row["does not hold"]) == ("holds in part, 2 of 3", "the gap between best and worst")
    finding = article.Finding("so", "not so", {"one": False, "other": False})
    assert (finding.verdict, finding.false) == ("does not hold, 0 of 2", "one; other")
    assert scorecard([]).empty


def test_what_could_be_one_more():
    """Ten values with mean 0 and standard deviation 1: t(0.975, 9) = 2.262, times the root of 1.1."""
    values = np.array([-1, 1] * 5) * np.sqrt(0.9)
    assert article._in_prediction_interval(2.37, values) and not article._in_prediction_interval(2.38, values)
