"""What c_examples/own_model.c does and prints, to the last digit: own_model.py STATE_FILE [steps]"""
import math
import sys

import numpy as np

import libbnn as bnn

N, D, CHAINS, KEPT = 400, 2, 2, 1000
state = 1


def uniform():
    """Uniform numbers for the data."""
    global state
    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    return (state >> 11) / 9007199254740992.0


x, y = [], []
for _ in range(N):
    x.append(6 * uniform() - 3)
    y.append(float(uniform() < 1 / (1 + math.exp(2 - x[-1]))))  # the truth: slope 1, intercept -2


def log_posterior(theta, grad):
    """log_lik + log_prior of the whole data, summed in C's order; the prior is N(0, 3^2)."""
    slope, intercept = map(float, theta)
    log_post, g = 0.0, [0.0, 0.0]
    for xn, yn in zip(x, y):
        p = 1 / (1 + math.exp(-(slope * xn + intercept)))
        log_post += math.log(p) if yn > 0 else math.log1p(-p)
        g[0] += (yn - p) * xn
        g[1] += yn - p
    for i, t in enumerate((slope, intercept)):
        log_post -= t * t / 18
        grad[i] = g[i] - t / 9
    return log_post


def falling(step):
    """The step falls from its full size to a half: (1 + 1 / (1 + step / 100)) / 2."""
    return 0.5 + 0.5 / (1 + step / 100), 1.0


def step(sampler, theta, grad):
    log_post = log_posterior(theta, grad)
    return sampler.step_gradient(grad, log_post, theta)


path, steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4000
kept = min(steps // 4, KEPT)
options = bnn.Options(sampler="baoa", step_size=0.1, temperature=1.0, sampling_steps=steps, thinning=4)
context, grad = bnn.Context(1), np.empty(D, np.float32)
draws = np.zeros((CHAINS, kept, D))
for chain in range(CHAINS):
    theta = np.full(D, 2.0 if chain else -2.0, np.float32)  # from afar
    options.set(chain=chain)
    sampler = bnn.Sampler.with_gradients(theta, options, context)
    sampler.set_schedule(falling)
    n = made = 0
    while not sampler.done:
        made += 1
        if made == steps // 2:  # as if the program had ended here
            sampler.save(path)
            sampler = bnn.Sampler.load_with_gradients(path, D, options, context)
            sampler.set_schedule(falling)
            sampler.params(theta)
        if step(sampler, theta, grad).sample_due and n < kept:
            draws[chain, n] = theta
            n += 1
worst = 0.0
for i in range(D):
    r = bnn.chain_diagnostics(draws[:, :, i])
    mean = 0.0
    for value in draws[:, :, i].ravel():
        mean += value / (CHAINS * kept)
    print(f"theta {i} {mean:.4f} +- {r['mcse_mean']:.4f} (R-hat {r['rhat']:.4f}, effective draws: bulk {r['ess_bulk']:.0f}, tail {r['ess_tail']:.0f})")
    worst = max(worst, r["rhat"])
print(f"largest R-hat {worst:.4f}")

theta = np.zeros(D, np.float32)
fit = bnn.Sampler.with_gradients(theta, options.set(sampler="vi", step_size=0.02), context)
fit.params(theta)  # where the first gradient is taken
while not fit.done:
    step(fit, theta, grad)
for i, (mean, sd) in enumerate(zip(*fit.normals())):
    print(f"vi    {i} {mean:.4f} (deviation {sd:.4f})")
