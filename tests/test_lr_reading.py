import json
import math

import pytest

from superconv.analysis.curvature.jackknife import Estimate
from superconv.analysis.curvature.probes import Probe, conclude
from superconv.analysis.curvature.statement import LRReading


def reading(**changes):
    values = {
        "step": 400, "lr": 0.1, "momentum": 0.9, "effective_lr": 1.0, "spacing": 1, "paper_estimate": 0.22,
        "window_estimate": 0.23, "squared_estimate": 0.21, "rho": Estimate(0.9, 0.01, 50), "noise_rho": 0.9,
        "noise_value": 0.2236, "noise_line": 0.2236, "echo": True,
    }  # fmt: skip
    return LRReading(**{**values, **changes})


def probes(sy=2.0, product=1.0):
    return conclude([Probe(product, 4.0, 4.0, 0.5 + 0.01 * i, 1.0, sy + 0.1 * i, 9.0) for i in range(8)])


def test_one_line_says_what_the_echo_is():
    line = str(reading(probes=probes()))
    assert "\n" not in line
    assert line.startswith("step 400: LR 0.1, 1 with momentum 0.9 | paper's estimate 0.22 (follows the LR as LR^1.0)")
    assert "), noise alone gives 0.224; echo: " in line
    assert "echo: this number reflects the LR, not the curvature" in line
    assert "secant 0.426 ± " in line
    assert "expected-loss step 1.87 ± " in line
    assert line.endswith("signal 25% of a gradient")


def test_without_momentum_there_is_one_lr():
    assert str(reading(momentum=0.0, effective_lr=0.1)).startswith("step 400: LR 0.1 | ")


@pytest.mark.parametrize(
    ("echo", "text"), [(False, "not correlated as noise is"), (None, "not told apart from noise yet")]
)
def test_no_echo_is_said_in_words(echo, text):
    assert text in str(reading(echo=echo))
    assert "echo:" not in str(reading(echo=echo))


def test_silence_gives_its_reason_without_the_numbers():
    line = str(reading(probes=conclude([])))
    assert "secant none (0 of 8 probes so far)" in line
    assert "signal not seen" in line
    alternating = conclude([Probe(1.0, 4.0, 4.0, 0.5, 1.0, sign, 9.0) for sign in (2.0, -2.0) * 4])
    assert "secant none (the curvature along the step is not told from zero) |" in str(reading(probes=alternating))


def test_stiffness_is_no_limit_in_words():
    line = str(reading(largest_eigenvalue=38.0, stability_limit=0.1, stability_label="current stiffness"))
    assert "current stiffness: LR 0.1 (largest eigenvalue 38) (follows the LR as LR^0.5)" in line
    assert "limit" not in line


def test_plain_data_without_infinities():
    plain = reading(window_estimate=math.inf, probes=probes()).to_dict()
    assert plain["window_estimate"] is None
    assert plain["rho"]["value"] == 0.9
    assert plain["probes"]["secant"]["quotient"]["n"] == 8
    assert plain["text"].startswith("step 400")
    json.dumps(plain, allow_nan=False)


def test_probes_along_a_training_count_alike():
    """A gradient that shrinks by half each probe: pooled sums are the first probe's, and silent."""
    shrinking = [Probe(s, s, s, 2 * s) for s in (0.25**i for i in range(8))]
    assert conclude(shrinking).expected_step.value is None
    assert conclude(shrinking, equal_weight=True).expected_step.value == pytest.approx(0.5)
    zero = [Probe(0.0, 0.0, 0.0, 0.0)] * 8
    assert conclude(zero, equal_weight=True).signal_share.value is None


def test_the_noise_scale_follows_from_the_signals_share():
    from superconv.analysis.curvature.expected_step import noise_scale_from_share
    from superconv.analysis.curvature.jackknife import Estimate

    found = noise_scale_from_share(Estimate(0.25, 0.05, 8), 64)
    assert (found.value, found.standard_error) == (192.0, 64 * 0.05 / 0.0625)
    assert "noise scale 192 ± 5e+01 samples" in str(reading(probes=probes(), noise_scale=found))
    assert noise_scale_from_share(Estimate(None, None, 8, "no signal"), 64).value is None
    assert noise_scale_from_share(Estimate(1.0, 0.0, 8), 64).value == 0.0
