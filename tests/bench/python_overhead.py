"""What Python adds to a step: BNN_LIBRARY=target/dist/libbnn.so PYTHONPATH=c_examples/python python3 tests/bench/python_overhead.py (a minute; needs numpy)

A call's cost is measured with a function of C's that does nothing in place of the library's; a step's is the median of real ones.
"""
import ctypes
import statistics
import time

import numpy as np

import libbnn as bnn
from libbnn._library import raw


def best(call, n=20000, times=7):
    """Returns the nanoseconds of one call, the fastest of several rounds: what other processes take is not Python's."""
    rounds = []
    for _ in range(times):
        began = time.perf_counter_ns()
        for _ in range(n):
            call()
        rounds.append((time.perf_counter_ns() - began) / n)
    return min(rounds)


def nothing(name):
    """Returns toupper, which gives BNN_OK for a NULL handle, with the arguments of a function of the library's."""
    function = ctypes.CDLL(None).toupper
    function.argtypes, function.restype = getattr(raw, name).argtypes, ctypes.c_int32
    return function


def without_the_library(name, chain, call):
    """Returns the nanoseconds of a call that reaches C and does nothing there."""
    real, at = getattr(raw, name), chain.at
    setattr(raw, name, nothing(name))
    chain.at = None
    took = best(call)
    setattr(raw, name, real)
    chain.at = at
    return took


def main():
    corpus = bnn.Corpus.embedded()
    for threads in (1, 0):
        context = bnn.Context(threads)
        for shape, steps in (("tiny", 300), ("cpu", 12)):
            options = bnn.Options(shape=shape, sampler="baoa", warmup_steps=0, sampling_steps=100000, preconditioner="none", step_size=1e-5)
            chain = bnn.Sampler(bnn.Model(corpus.vocab_size, options, context), corpus, options)
            took = []
            for _ in range(steps):
                began = time.perf_counter_ns()
                chain.step()
                took.append(time.perf_counter_ns() - began)
            step = statistics.median(took)
            call = without_the_library("bnn_sampler_step", chain, chain.step)
            report = best(chain.report, 200)
            print(f"{shape}, {context.threads} threads: step {step / 1e6:.3f} ms; Sampler.step adds {call:.0f} ns, {100 * call / step:.4f} %; Sampler.report {report / 1e3:.0f} us, {100 * report / step:.2f} %")
    for d in (2, 1000):
        theta, grad = np.zeros(d), np.zeros(d)
        chain = bnn.Sampler.with_gradients(theta, {"sampler": "baoa", "step_size": 0.1, "sampling_steps": 10**9})
        step = best(lambda: chain.step_gradient(grad, 0.0, theta))
        other = np.zeros((2, d))
        turn = [0]

        def fresh():
            turn[0] ^= 1
            chain.step_gradient(other[turn[0]], 0.0, theta)

        new = best(fresh)
        chain._step_gradient, at = nothing("bnn_sampler_step_gradient_f64"), chain.at
        chain.at = None
        call = best(lambda: chain.step_gradient(grad, 0.0, theta))
        chain.at = at
        print(f"step_gradient, d = {d}: {step:.0f} ns, of these Python {call:.0f}; {new:.0f} ns with another gradient array each time")
    draws = bnn.sample(lambda theta: (0.0, -theta), np.zeros(2), draws=20000, thinning=1, chains=1, adapt="none", step_size=0.1, warmup_steps=0)
    print(f"bnn.sample, a function that does next to nothing, d = 2: {1e9 * draws.seconds / draws.gradients:.0f} ns per step")


if __name__ == "__main__":
    main()
