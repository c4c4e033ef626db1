"""Chains, and fits of normals: of a model's posterior, or on gradients of the caller's."""
from __future__ import annotations

import ctypes
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Doubles, Floats, Tokens, doubles, floats, room, sized, sizes, tokens, written
from ._call import Hook, call, progress
from ._error import raised, refuse, thread
from ._handle import Handle
from ._library import raw
from .constants import PHASES, Phase
from .context import Context, context_of
from .corpus import Corpus
from .model import Model, Path, Settings
from .options import Options
from .report import Report, reported
from .store import Store


class Made(NamedTuple):
    """What the next step is, and whether the parameters are now a sample to keep."""

    phase: Phase
    sample_due: bool

    @property
    def done(self) -> bool:
        """Whether every step was made."""
        return self.phase == Phase.DONE


class Sampler(Handle):
    """A chain, or a fit of normals, on a model's posterior; with_gradients has those on a log posterior of the caller's. One thread at a time.

    It starts at the model's parameters. corpus: None where every batch is the caller's (option num_data). options: sampler and its settings. Raises
    BNN_ERR_INVALID, BNN_ERR_UNSTABLE, and BNN_ERR_DATA when the text is too short. n_params: the length of the parameter vector; done: whether
    every step was made, as the last one said.
    """

    _free = "bnn_sampler_free"

    def __init__(self, model: Model, corpus: Corpus | None = None, options: Settings = None) -> None:
        self._own("bnn_sampler_new", model, corpus, Options.of(options))
        self._begin(model.n_params)

    @classmethod
    def with_gradients(cls, theta0: ArrayLike, options: Settings = None, context: Context | None = None) -> Sampler:
        """Calls bnn_sampler_new_with_gradients: starts at theta0, (n) finite numbers."""
        theta0 = floats(theta0)
        self = cls._make("bnn_sampler_new_with_gradients", context_of(context), Options.of(options), theta0)
        return self._begin(theta0.size)

    @classmethod
    def load(cls, path: Path, model: Model, corpus: Corpus | None = None, options: Settings = None) -> Sampler:
        """Calls bnn_sampler_load: goes on from what save wrote, bit for bit. Raises BNN_ERR_MISMATCH with what differs, BNN_ERR_IO, BNN_ERR_BAD_…."""
        return cls._make("bnn_sampler_load", model, corpus, Options.of(options), path)._begin(model.n_params)

    @classmethod
    def load_with_gradients(cls, path: Path, n: int, options: Settings = None, context: Context | None = None) -> Sampler:
        """Calls bnn_sampler_load_with_gradients. n: how many parameters. Where the next gradient is to be taken, params says."""
        return cls._make("bnn_sampler_load_with_gradients", context_of(context), Options.of(options), n, path)._begin(n)

    def _begin(self, n_params: int) -> Sampler:
        self.n_params = n_params
        self.done = False
        self._phase, self._due = ctypes.c_int32(), ctypes.c_int32()
        self._outs = ctypes.byref(self._phase), ctypes.byref(self._due)
        self._schedule: Hook | None = None
        self._grad: Any = None
        self._theta: Any = None
        return self

    def _made(self, function: Any, *args: Any) -> Made:
        """Makes a step and returns what it said, or raises what the schedule raised, or the step's error."""
        if self._schedule is None:
            status = function(self.at, *args, *self._outs, thread.ref)
        else:
            with self._schedule.interrupts:
                status = function(self.at, *args, *self._outs, thread.ref)
        if status:
            if self._schedule is not None:
                self._schedule.rethrow()
            raise raised(status)
        phase = PHASES[self._phase.value]
        self.done = phase is Phase.DONE
        return Made(phase, self._due.value != 0)

    def step(self) -> Made:
        """Calls bnn_sampler_step, on a batch of the corpus. Raises BNN_ERR_DONE when every step was made, and BNN_ERR_NOT_FINITE when it diverges."""
        return self._made(raw.bnn_sampler_step)

    def step_tokens(self, x: ArrayLike, y: ArrayLike) -> Made:
        """Calls bnn_sampler_step_tokens. x, y: (B, T), batch_size * window tokens each."""
        x, y = tokens(x), tokens(y)
        sized("y", y, x.size)
        return self._made(raw.bnn_sampler_step_tokens, x.ctypes.data, y.ctypes.data, x.size)

    def step_gradient(self, grad: ArrayLike, log_post: float, theta: NDArray[Any]) -> Made:
        """Calls bnn_sampler_step_gradient, or for theta in float64 bnn_sampler_step_gradient_f64, of a chain or of vi, swag, ivon, ema and snapshots.

        grad, log_post: of the log posterior at the sampler's parameters, not divided by the temperature. theta: (n), written: where the next gradient is
        to be taken. Raises BNN_ERR_NOT_FINITE, after which the sampler is as before; BNN_ERR_DONE when every step was made.
        """
        if grad is not self._grad or theta is not self._theta:
            self._take(grad, theta)
        return self._made(self._step_gradient, self._grad_at, self.n_params, float(log_post), self._theta_at)

    def _take(self, grad: ArrayLike, theta: NDArray[Any]) -> None:
        """Checks the arrays of step_gradient and keeps their addresses: looking these up takes longer than a short chain's step."""
        self._grad = None
        if theta is not self._theta:
            wide = isinstance(theta, np.ndarray) and theta.dtype == np.float64
            written("theta", theta, np.float64 if wide else np.float32, self.n_params)
            self._step_gradient = raw.bnn_sampler_step_gradient_f64 if wide else raw.bnn_sampler_step_gradient
            self._theta, self._theta_at = theta, theta.ctypes.data
        grad = doubles(grad) if theta.dtype == np.float64 else floats(grad)
        sized("grad", grad, self.n_params)
        at = grad.ctypes.data
        if abs(at - self._theta_at) < theta.nbytes:
            raise refuse("BNN_ERR_INVALID", "theta shares memory with grad")
        self._grad, self._grad_at = grad, at

    def step_squares(self, grad: ArrayLike, squares: ArrayLike, log_lik: float, theta: Floats) -> Made:
        """Calls bnn_sampler_step_squares, of ekf or laplace.

        grad: (n), mean over the observations of the gradient of the log likelihood; squares: (n), of its square; log_lik: the mean. theta: (n), written.
        """
        grad, squares = floats(grad), floats(squares)
        sized("grad", grad, self.n_params)
        sized("squares", squares, self.n_params)
        written("theta", theta, np.float32, self.n_params, grad, squares)
        at = grad.ctypes.data, squares.ctypes.data, grad.size
        return self._made(raw.bnn_sampler_step_squares, *at, float(log_lik), theta.ctypes.data)

    def step_loss_gradient(self, grad: ArrayLike, loss: float) -> Made:
        """Calls bnn_sampler_step_loss_gradient: a chain's step from the gradient of a mean loss at params, such as Evaluator.gradient's. The prior is added."""
        grad = floats(grad)
        return self._made(raw.bnn_sampler_step_loss_gradient, grad.ctypes.data, grad.size, float(loss))

    def samples(self) -> Iterator[Floats]:
        """Makes the steps that are left, and yields each sample that falls due: (n_params), a new array each."""
        while not self.done:
            if self.step().sample_due:
                yield self.params()

    def set_schedule(self, function: Callable[[int], tuple[float, float]] | None) -> None:
        """Calls bnn_sampler_set_schedule: function(step) returns what the options' step size and temperature are multiplied by. None ends it.

        What it raises comes out of the step, which is not made. Returning None ends the step with BNN_ERR_INTERRUPTED.
        """
        hook = None

        if function is not None:

            def factors(step: int, step_size: Any, temperature: Any) -> bool:
                said = function(step)
                if said is not None:
                    step_size[0], temperature[0] = said
                return said is not None

            hook = Hook("bnn_schedule_callback", factors)
        call("bnn_sampler_set_schedule", self, *((hook,) if hook else (None, None)))
        self._schedule = hook

    def save(self, path: Path) -> None:
        """Calls bnn_sampler_save: the whole state, and a trace beside it. Raises BNN_ERR_IO."""
        call("bnn_sampler_save", self, path)

    def extend(self, steps: int) -> None:
        """Calls bnn_sampler_extend: another number of sampling steps. Raises BNN_ERR_INVALID where a step depends on it."""
        call("bnn_sampler_extend", self, steps)

    def set_mass(self, mass: ArrayLike) -> None:
        """Calls bnn_sampler_set_mass: (n) positive numbers, of a chain on gradients of the caller's before sampling begins."""
        call("bnn_sampler_set_mass", self, floats(mass))

    def set_mass_cholesky(self, factor: ArrayLike) -> None:
        """Calls bnn_sampler_set_mass_cholesky. factor: (n, n), lower triangular, L of a covariance L L^T over the temperature; n at most 1000."""
        factor = doubles(factor)
        sized("factor", factor, self.n_params**2)
        call("bnn_sampler_set_mass_cholesky", self, factor.ctypes.data, self.n_params)

    def set_gradient_noise(self, variance: ArrayLike) -> None:
        """Calls bnn_sampler_set_gradient_noise: (n) variances of the gradient's noise, whose heat baoa then makes up for."""
        call("bnn_sampler_set_gradient_noise", self, floats(variance))

    def _copied(self, name: str, out: Any = None) -> Floats:
        to = room(out, self.n_params)
        call(name, self, to)
        return to

    def params(self, out: Floats | None = None) -> Floats:
        """Calls bnn_sampler_get_params: (n), where the next gradient is taken."""
        return self._copied("bnn_sampler_get_params", out)

    def momenta(self) -> Floats:
        """Calls bnn_sampler_get_momenta: (n). Raises BNN_ERR_INVALID for methods without."""
        return self._copied("bnn_sampler_get_momenta")

    def mass(self) -> Floats:
        """Calls bnn_sampler_get_mass: (n), the diagonal mass of a chain."""
        return self._copied("bnn_sampler_get_mass")

    def mass_cholesky(self) -> Doubles:
        """Calls bnn_sampler_get_mass_cholesky: (n, n), L of the mass (L L^T)^-1."""
        to = np.empty((self.n_params, self.n_params))
        call("bnn_sampler_get_mass_cholesky", self, to.ctypes.data, self.n_params)
        return to

    def normals(self) -> tuple[Floats, Floats]:
        """Calls bnn_sampler_get_normals: mean and standard deviation, (n) each. Raises BNN_ERR_INVALID for a chain."""
        mean, sd = (np.empty(self.n_params, np.float32) for _ in range(2))
        call("bnn_sampler_get_normals", self, mean.ctypes.data, sd)
        return mean, sd

    def draw(self, index: int) -> Floats:
        """Calls bnn_sampler_draw: (n), draw number index of what was fitted. Raises BNN_ERR_INVALID for a chain."""
        to = np.empty(self.n_params, np.float32)
        call("bnn_sampler_draw", self, index, to)
        return to

    def batch(self, step: int) -> tuple[Tokens, Tokens]:
        """Calls bnn_sampler_batch: x and y of a step, (B, T) each."""
        b, t = ctypes.c_size_t(), ctypes.c_size_t()
        call("bnn_sampler_batch", self, step, None, None, 0, ctypes.byref(b), ctypes.byref(t))
        x, y = (np.empty((b.value, t.value), np.uint32) for _ in range(2))
        call("bnn_sampler_batch", self, step, x.ctypes.data, y, None, None)
        return x, y

    def report(self) -> Report:
        """Calls bnn_sampler_report: what the last step found. Raises BNN_ERR_STATE before the first."""
        return reported("bnn_sampler_report", self)

    def step_size(self) -> Report:
        """Calls bnn_sampler_step_size: step_size, alpha, and the learning_rate and momentum that an optimiser would call them."""
        return reported("bnn_sampler_step_size", self)

    def gradient_noise(self) -> Report:
        """Calls bnn_sampler_gradient_noise: how noisy the gradients are, and what heat of it is left."""
        return reported("bnn_sampler_gradient_noise", self)

    def forecast(self) -> Report:
        """Calls bnn_sampler_forecast: how far the chain can get with the step as it is now."""
        return reported("bnn_sampler_forecast", self)

    def free_diffusion(self, first: int, last: int) -> Report:
        """Calls bnn_sampler_free_diffusion: how far the chain would lie from its start without any force, after the steps first and last."""
        return reported("bnn_sampler_free_diffusion", self, first, last)

    def temperature(self, index: int) -> Report:
        """Calls bnn_sampler_temperature: of a tensor, or of one of watch's ranges."""
        return reported("bnn_sampler_temperature", self, index)

    def watch(self, every: int, offsets: ArrayLike, lens: ArrayLike) -> None:
        """Calls bnn_sampler_watch: takes the temperatures of k ranges of the parameters every so many sampling steps. offsets, lens: (k) each."""
        offsets, lens = sizes(offsets), sizes(lens)
        sized("lens", lens, offsets.size)
        call("bnn_sampler_watch", self, every, offsets.ctypes.data, lens)

    def llc(self) -> Report:
        """Calls bnn_sampler_llc: the local learning coefficient of the chain's start. Raises BNN_ERR_INVALID without looks, with the reason."""
        return reported("bnn_sampler_llc", self)

    def energy(self) -> Report:
        """Calls bnn_sampler_energy: potential, kinetic and total energy over T, and their drift."""
        return reported("bnn_sampler_energy", self)

    def prior_fit(self) -> Report:
        """Calls bnn_sampler_prior_fit: what the marginal likelihood says of laplace's prior."""
        return reported("bnn_sampler_prior_fit", self)

    def curvature(self, products: int = 10, batches: int = 1, on_progress: Callable[[int, int], Any] | None = None) -> Report:
        """Calls bnn_sampler_curvature: largest and smallest curvature per mass, and the largest stable step. on_progress(done, total) may return False."""
        return reported("bnn_sampler_curvature", self, products, batches, hook=progress(on_progress))

    def curvature_with_gradients(self, products: int, gradient: Callable[[Floats], ArrayLike]) -> Report:
        """Calls bnn_sampler_curvature_with_gradients. gradient(theta): the log posterior's gradient, (n); theta is gone when it returns."""

        def ask(params: Any, n: int, to: Any) -> None:
            said = floats(gradient(np.ctypeslib.as_array(params, (n,))))
            sized("gradient", said, n)
            np.ctypeslib.as_array(to, (n,))[:] = said.reshape(n)

        return reported("bnn_sampler_curvature_with_gradients", self, products, hook=Hook("bnn_gradient_callback", ask))

    def run(self, path: Path, store: Store | None = None, every: int = 0, on_progress: Callable[[int, int], Any] | None = None) -> int:
        """Calls bnn_sampler_run: makes all steps that are left; samples go to a store, the state to a file every so many steps. Returns how many fell due.

        on_progress(done, total) is asked before each step, and ends it by returning False (BNN_ERR_INTERRUPTED); the state is then in the file.
        """
        drawn = ctypes.c_size_t()
        hook = progress(on_progress)
        hook.call("bnn_sampler_run", self, store, path, every, hook, ctypes.byref(drawn))
        self.done = True
        return drawn.value

    def missing(self, store: Store) -> Report:
        """Calls bnn_sampler_missing: which samples the chain has taken by now that the store does not hold: missing, and the first one's file."""
        return reported("bnn_sampler_missing", self, store)
