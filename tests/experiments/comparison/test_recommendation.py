"""The rule and the claims, on numbers whose answer is known."""

import pytest

from pyneural.experiments.comparison.recommendation import DATA, claims, recommend

pytest.importorskip("scipy")


def row(model, seed, **values):
    usual = {"failed": "", "copied": 0.0, "closer": 0.5, "samples_per_second": 100.0,
             "log_likelihood": None, "recall": 0.9}  # fmt: skip
    return {"model": model, "seed": seed, **usual, **values}


def rows_of(**models):
    return [
        row(
            model.replace("_", "-"), seed, c2st=value, frechet=100 * value, sliced_wasserstein=value
        )
        for model, values in models.items()
        for seed, value in enumerate(values)
    ]


def test_best_beyond_the_spread():
    found = recommend(rows_of(mixture=(0.80, 0.81, 0.80), nsf=(0.53, 0.54, 0.53)), images=False)
    assert (found.model, found.decided, found.measure) == ("nsf", True, "c2st")
    assert found.reasons[0] == "nsf has the lowest C2ST, 0.533 +- 0.006"
    assert "mixture with 0.803 +- 0.006" in found.reasons[1]


def test_within_the_spread_the_simplest():
    rows = rows_of(ddpm=(0.60, 0.64, 0.62), nsf=(0.61, 0.65, 0.63), gan=(0.91, 0.90, 0.92))
    found = recommend(rows, images=False)
    assert found.alike == ("nsf", "ddpm")
    assert (found.model, found.decided) == ("nsf", False)
    assert "from 3 seeds these can't be told apart by C2ST" in found.reasons[0]


def test_images_by_their_frechet_distance():
    rows = rows_of(vae=(0.9, 0.91), gan=(0.2, 0.21))
    assert recommend(rows, images=True).measure == "frechet"
    assert recommend(rows, images=True).model == "gan"


def test_saturated_classifier():
    rows = rows_of(vae=(0.99, 1.0), gan=(0.98, 0.99))
    for one in rows:
        one["sliced_wasserstein"] = {"vae": 0.1, "gan": 0.8}[one["model"]] + 0.01 * one["seed"]
    found = recommend(rows, images=False)
    assert (found.model, found.measure) == ("vae", "sliced_wasserstein")


def test_a_model_with_samples_far_from_all_data_is_not_taken():
    """A few of them are seen by a distance, but not by a classifier."""
    rows = rows_of(realnvp=(0.50, 0.52), nsf=(0.51, 0.53), gan=(0.9, 0.91))
    assert recommend(rows, images=False).alike == ("realnvp", "nsf")
    rows[1]["sliced_wasserstein"] = 1e8
    found = recommend(rows, images=False)
    assert found.alike == ("nsf",)
    text = "realnvp is left out: samples far from the data (sliced Wasserstein 1e+08, 0.53 at best)"
    assert text in found.reasons
    assert recommend(rows, images=True).alike == ("realnvp", "nsf")


def test_copies_and_failures_are_left_out():
    rows = rows_of(nsf=(0.51, 0.52), vae=(0.52, 0.53), mixture=(0.7, 0.71))
    for one in rows:
        if one["model"] == "nsf":
            one |= {"copied": 0.9, "closer": 0.95}
        if one["model"] == "vae" and one["seed"] == 1:
            one |= {"failed": "9 of 9 samples are not finite", "c2st": None}
    found = recommend(rows, images=False)
    assert found.model == "mixture"
    assert any("nsf is left out: about 90% of its samples are copies" in r for r in found.reasons)
    assert any("vae is left out: 9 of 9" in r for r in found.reasons)
    # Samples that are all alike may seem to be copies, but are far from the data.
    for one in rows:
        one["closer"] = 0.0
    assert recommend(rows, images=False).model == "nsf"


def test_nothing_is_left():
    rows = [row("nsf", seed, failed="it broke") for seed in (0, 1)]
    assert recommend(rows, images=False).model is None


def with_values(model, name, values):
    return [row(model, seed, **{name: value}) for seed, value in enumerate(values)]


def test_claims_by_their_intervals():
    rows = [
        *with_values(DATA, "sharpness", (1.0, 1.01, 0.99)),
        *with_values("vae", "sharpness", (0.4, 0.41, 0.42)),
    ]
    assert [(c.claim, c.holds) for c in claims(rows)] == [("a VAE is blurry", "yes")]
    for one in rows[3:]:
        one["sharpness"] = (0.5, 1.0, 1.3)[one["seed"]]
    assert claims(rows)[0].holds == "can't tell"
    for one in rows[3:]:
        one["sharpness"] = 1.5 + 0.01 * one["seed"]
    assert claims(rows)[0].holds == "no"


def test_collapse_and_speed():
    rows = [*with_values("gan", "recall", (0.3, 0.31)), *with_values("ddpm", "recall", (0.9, 0.91))]
    for one in rows:
        one["samples_per_second"] = {"gan": 1e5, "ddpm": 1e3}[one["model"]] + one["seed"]
    collapse, slow = claims(rows)
    assert (collapse.holds, slow.holds) == ("yes", "yes")
    assert "recall 0.305 +- 0.007, ddpm 0.905" in collapse.measured
    assert "1,000 samples a second, gan 100,000: a factor of 1e+02" in slow.measured
