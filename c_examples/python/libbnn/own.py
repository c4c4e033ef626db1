"""Chains of a log posterior of the caller's own: bnn.sample."""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Doubles, Floats
from ._error import refuse
from .context import Context
from .metrics import agreement, chain_diagnostics
from .options import Options, Value
from .report import Report
from .sampler import Sampler

LogPosterior = Callable[[Doubles], "tuple[float, ArrayLike]"]
DENSE = 100  # parameters, up to which the warm-up finds a dense mass: its steps cost d^2


@dataclass(frozen=True)
class Draws:
    """What chains drew.

    draws: (chains, n, d); log_post: (chains, n), of each draw; mass: (chains, d), the diagonal of what the warm-up found; step_size: (chains); gradients:
    how many all chains took, warm-up among them; seconds: that they took.
    """

    draws: Doubles
    log_post: Doubles
    mass: Floats
    step_size: Doubles
    gradients: int
    seconds: float

    def report(self) -> Report:
        """Calls bnn_agreement: the verdict, and R-hat and effective sample sizes of the worst parameter and the median one."""
        return agreement(self.draws, self.gradients, self.seconds)

    def each(self) -> list[Report]:
        """Calls bnn_chain_diagnostics for each parameter: (d) reports of rhat, ess_bulk, ess_tail, mcse_mean, mean, sd and quantiles."""
        return [chain_diagnostics(self.draws[:, :, i]) for i in range(self.draws.shape[2])]

    def to_arviz(self, name: str = "theta") -> dict[str, dict[str, Doubles]]:
        """Returns what arviz.from_dict takes: from_dict(**d) of ArviZ 0.x, from_dict(d) of ArviZ 1."""
        return {"posterior": {name: self.draws}, "sample_stats": {"lp": self.log_post}}


def _starts(x0: ArrayLike, chains: int) -> Doubles:
    """Returns (chains, d)."""
    x0 = np.asarray(x0, np.float64)
    if x0.ndim == 2 and len(x0) != chains:
        raise refuse("BNN_ERR_SHAPE", f"x0 has {len(x0)} starts for {chains} chains")
    if x0.ndim not in (1, 2) or x0.size == 0:
        raise refuse("BNN_ERR_SHAPE", f"x0 is {x0.shape}, expected (d) or (chains, d)")
    return np.broadcast_to(x0, (chains, x0.shape[-1]))


def _run(chain: Sampler, log_post_and_grad: LogPosterior, draws: Doubles, log_post: Doubles) -> int:
    """Makes all steps of a chain into draws, (n, d), and log_post, (n). Returns how many gradients it took."""
    theta = chain.params().astype(np.float64)
    seen = theta.view()
    seen.flags.writeable = False
    taken, kept, due = 0, 0, False
    while not chain.done:
        value, grad = log_post_and_grad(seen)
        if due:  # theta has not moved since
            log_post[kept - 1] = value
        due = chain.step_gradient(grad, value, theta).sample_due
        taken += 1
        if due:
            draws[kept] = theta
            kept += 1
    if kept != len(draws):
        raise refuse("BNN_ERR_INVALID", f"{kept} samples fell due, expected {len(draws)}: fits of normals and cyclical schedules are stepped by bnn.Sampler")
    if due:
        log_post[kept - 1] = log_post_and_grad(seen)[0]
    return taken + due


def sample(
    log_post_and_grad: LogPosterior,
    x0: ArrayLike,
    *,
    draws: int = 1000,
    chains: int = 4,
    thinning: int = 5,
    context: Context | None = None,
    on_chain: Callable[[int], Any] | None = None,
    **options: Value,
) -> Draws:
    """Runs chains on a log posterior, one after the other; their warm-up finds mass and step size.

    log_post_and_grad(theta): the log posterior at theta, (d) in float64, up to a constant, and its gradient, (d). The array is the library's: copy what is to
    be kept. x0: (d), or (chains, d) for starts of their own, without which R-hat says less. draws: of each chain, every thinning-th step; on_chain(k) is
    called before chain k. options: any of the library's; unless they say otherwise, sampler is baoa, adapt is dense up to 100 parameters and diagonal
    above, and warmup_steps is 2000. chain, 0 unless given, is the first chain's number: other numbers are other chains of the seed. Results depend on the options, seed among them, and on log_post_and_grad alone. What it raises comes out as it is.

    Raises BNN_ERR_NOT_FINITE for a log posterior or a gradient that is not finite where a chain starts or has warmed up, BNN_ERR_INVALID, BNN_ERR_SHAPE.
    """
    if draws < 1 or chains < 1 or thinning < 1:
        raise refuse("BNN_ERR_INVALID", f"draws {draws}, chains {chains} and thinning {thinning} must be at least 1")
    if "sampling_steps" in options:
        raise refuse("BNN_ERR_INVALID", "sampling_steps is draws times thinning: set these")
    starts, first = _starts(x0, chains), int(options.pop("chain", 0))
    d = starts.shape[1]
    settings: dict[str, Value] = {"sampler": "baoa", "adapt": "dense" if d <= DENSE else "diagonal", **options}
    all = Options(**{**settings, "sampling_steps": draws * thinning, "thinning": thinning})
    kept, values = np.empty((chains, draws, d)), np.empty((chains, draws))
    mass, step_size = np.empty((chains, d), np.float32), np.empty(chains)
    gradients, began = 0, time.perf_counter()
    for k in range(chains):
        if on_chain is not None:
            on_chain(k)
        with Sampler.with_gradients(starts[k], all.set(chain=first + k), context) as chain:
            gradients += _run(chain, log_post_and_grad, kept[k], values[k])
            mass[k], step_size[k] = chain.mass(), chain.step_size()["step_size"]
    return Draws(kept, values, mass, step_size, gradients, time.perf_counter() - began)
