"""Bayesian inference for GPT language models, and for log posteriors of one's own: the library bnn from Python.

Each function and method says which function of bnn.h it calls; what is documented there in full is said here in short. A status other than BNN_OK is raised as
bnn.Error. Calls let other Python threads run meanwhile.
"""
from __future__ import annotations

from ._abi import VERSION as __version__
from ._error import Error
from ._library import PATH as library_path
from ._library import raw
from .constants import NO_TOKEN, STATUSES, Phase
from .context import Context
from .corpus import Corpus
from .ensemble import Ensemble, Probe
from .evaluator import Evaluator
from .flat import flatten
from .generator import Generator
from .metrics import (
    agreement,
    bleu,
    brier_score,
    calibration_error,
    chain_diagnostics,
    energy,
    movement,
    paired_bootstrap,
    rouge,
    temperature_band,
    verdict,
)
from .model import Model, Tensor
from .options import Options, all_options
from .own import Draws, sample
from .report import Report
from .sampler import Made, Sampler
from .store import Sample, Store, check_checkpoint, check_samples
from .trainer import Trainer

globals().update({name: value for name, value in STATUSES.items() if name.startswith("ERR_")})


def version() -> str:
    """Calls bnn_version_string: of the library that is loaded."""
    return raw.bnn_version_string().decode()


def version_number() -> int:
    """Calls bnn_version_number: major * 1000000 + minor * 1000 + patch."""
    return raw.bnn_version_number()


__all__ = [name for name in globals() if not name.startswith("_") and name not in ("annotations", "raw", "STATUSES")]
