"""Scores of texts, predictions and chains, whatever made them."""
from __future__ import annotations

import ctypes
from typing import Mapping, Sequence

from numpy.typing import ArrayLike

from ._arrays import doubles, floats, sized, switches, tokens
from ._call import number, texts
from ._error import refuse
from .constants import UNITS, word
from .context import Context, context_of
from .report import Report, reported


def _pairs(references: Sequence[str], predictions: Sequence[str]) -> tuple[object, ...]:
    if len(references) != len(predictions):
        raise refuse("BNN_ERR_SHAPE", f"there are {len(predictions)} predictions of {len(references)} references")
    return (*texts(references), *texts(predictions), len(references))


def bleu(references: Sequence[str], predictions: Sequence[str], unit: str = "word", max_order: int = 4) -> float:
    """Calls bnn_bleu: corpus BLEU, 0 to 1, unsmoothed, with brevity penalty. unit: "word" or "char"; max_order: 1 to 4."""
    return number(ctypes.c_double, "bnn_bleu", *_pairs(references, predictions), word(UNITS, unit), max_order)


def rouge(references: Sequence[str], predictions: Sequence[str], unit: str = "word") -> Report:
    """Calls bnn_rouge: the mean F-measures rouge1, rouge2 and rouge_l, 0 to 1."""
    return reported("bnn_rouge", *_pairs(references, predictions), word(UNITS, unit))


def brier_score(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """Calls bnn_brier_score: 0 to 2, 0 the best. probabilities: (n, v); outcomes: (n), each below v."""
    probabilities, outcomes = doubles(probabilities), tokens(outcomes)
    v = probabilities.shape[-1] if probabilities.ndim == 2 else 0
    sized("probabilities", probabilities, outcomes.size * v)
    return number(ctypes.c_double, "bnn_brier_score", probabilities.ctypes.data, outcomes, v)


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Calls bnn_calibration_error: 0 to 1. confidence: (n), the highest probability of each prediction; correct: (n), nonzero where that outcome came."""
    confidence, correct = doubles(confidence), switches(correct)
    sized("correct", correct, confidence.size)
    return number(ctypes.c_double, "bnn_calibration_error", confidence.ctypes.data, correct, bins)


def paired_bootstrap(a: ArrayLike, b: ArrayLike, block: int = 256, resamples: int = 1000, seed: int = 0) -> Report:
    """Calls bnn_paired_bootstrap: the mean of a - b, with std_error, z, low and high. a, b: (n) losses of the same tokens in the order of the text."""
    a, b = doubles(a), doubles(b)
    sized("b", b, a.size)
    return reported("bnn_paired_bootstrap", a.ctypes.data, b, block, resamples, seed)


def chain_diagnostics(draws: ArrayLike) -> Report:
    """Calls bnn_chain_diagnostics: rhat, ess_bulk, ess_tail, ess_mean, mcse_mean, mean, sd and quantiles. draws: (chains, n) of one quantity, n at least 4."""
    draws = doubles(draws)
    if draws.ndim != 2:
        raise refuse("BNN_ERR_SHAPE", f"draws are {draws.shape}, expected (chains, n)")
    return reported("bnn_chain_diagnostics", draws.ctypes.data, *draws.shape)


def agreement(draws: ArrayLike, gradients: int, seconds: float = float("nan"), context: Context | None = None) -> Report:
    """Calls bnn_agreement: whether chains agree on all quantities at once, and what the draws are worth.

    draws: (chains, n, quantities), n at least 4; gradients: how many all chains took, warm-up among them; seconds: that they took, NaN where unknown.
    Raises BNN_ERR_INVALID, also for a draw that is not finite.
    """
    draws = doubles(draws)
    if draws.ndim != 3:
        raise refuse("BNN_ERR_SHAPE", f"draws are {draws.shape}, expected (chains, n, quantities)")
    return reported("bnn_agreement", context_of(context), draws.ctypes.data, *draws.shape, gradients, seconds)


def movement(samples: int, start: ArrayLike, first: ArrayLike, last: ArrayLike) -> Report:
    """Calls bnn_movement: how far the samples of a chain lie from its start. start, first, last: (n) parameters each."""
    start, first, last = floats(start), floats(first), floats(last)
    sized("first", first, start.size)
    sized("last", last, start.size)
    return reported("bnn_movement", samples, start.ctypes.data, first.ctypes.data, last)


def temperature_band(series: ArrayLike, temperature: float, parameters: int) -> Report:
    """Calls bnn_temperature_band: whether a chain's temperatures, (n) with n at least 20, are the target's."""
    return reported("bnn_temperature_band", doubles(series), temperature, parameters)


def energy(log_post: ArrayLike, kinetic: ArrayLike | None, n_params: int, temperature: float) -> Report:
    """Calls bnn_energy: the energies of a chain while it sampled. log_post: (n), at least 40; kinetic: (n) temperatures, None without momenta."""
    log_post = doubles(log_post)
    if kinetic is not None:
        kinetic = doubles(kinetic)
        sized("kinetic", kinetic, log_post.size)
    at = None if kinetic is None else kinetic.ctypes.data
    return reported("bnn_energy", log_post.ctypes.data, at, log_post.size, n_params, temperature)


def verdict(facts: Mapping[str, float], sampler: str = "", single: str = "", control: str = "") -> Report:
    """Calls bnn_verdict: what samples are, what their average gains, and what to try next. bnn.h lists the facts; those not known are left out."""
    return reported("bnn_verdict", *texts(list(facts)), doubles(list(facts.values())), sampler, single, control)
