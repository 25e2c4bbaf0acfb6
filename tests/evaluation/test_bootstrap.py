import numpy as np
import pytest
from scipy import stats

from fb_jax.evaluation import paired_bootstrap
from fb_jax.evaluation.bootstrap import around

RNG = np.random.default_rng(0)


def test_no_spread_has_no_interval():
    assert paired_bootstrap([np.full(10, 2.0)]) == (2.0, 2.0, 2.0)


def test_it_agrees_with_scipys_bootstrap_of_one_sample():
    sample = RNG.choice([-50.0, 0.0, 50.0, 100.0], 400)
    found = paired_bootstrap([sample])
    wanted = stats.bootstrap((sample,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert found.mean == sample.mean()
    assert found[1:] == pytest.approx(wanted.confidence_interval, abs=0.3)


def test_samples_weigh_alike_and_spread_by_themselves():
    samples = [np.zeros(10), np.full(1000, 10.0)]  # far apart, but no spread within
    assert paired_bootstrap(samples) == (5.0, 5.0, 5.0)
    sample = RNG.normal(size=900)
    one, four = paired_bootstrap([sample]), paired_bootstrap([sample] * 4)
    assert (four.high - four.low) / (one.high - one.low) == pytest.approx(0.5, abs=0.03)


def test_an_interval_lies_around_its_value_whatever_the_bias_of_the_resamples():
    samples = RNG.normal(7.0, 1.0, 10_000)  # of something whose value is 5
    low, high = around(5.0, samples)
    assert (low, high) == (pytest.approx(3.04, abs=0.1), pytest.approx(6.96, abs=0.1))
    assert around(5.0, np.append(samples, np.nan)) == (pytest.approx(low), pytest.approx(high))


def test_the_same_seed_gives_the_same_interval():
    sample = RNG.normal(size=50)
    assert paired_bootstrap([sample]) == paired_bootstrap([sample], seed=0)
    assert paired_bootstrap([sample], seed=3) == paired_bootstrap([sample], seed=3)
    assert paired_bootstrap([sample], seed=3) != paired_bootstrap([sample], seed=4)
