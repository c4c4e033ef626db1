"""The C interface from Python by ctypes: a schedule as a Python function, and what the chains are worth."""
import ctypes as c
import sys

bnn = c.CDLL(sys.argv[1])


class Error(c.Structure):
    _fields_ = [("code", c.c_int32), ("message", c.c_char * 508)]


SCHEDULE = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_uint64, c.POINTER(c.c_double), c.POINTER(c.c_double))
err = Error()


def ok(status):
    assert status == 0, (status, err.message)


def set_option(options, name, value):
    text = name.encode()
    if isinstance(value, str):
        ok(bnn.bnn_options_set_str(options, text, c.c_size_t(len(text)), value.encode(), c.c_size_t(len(value)), c.byref(err)))
    elif isinstance(value, int):
        ok(bnn.bnn_options_set_u64(options, text, c.c_size_t(len(text)), c.c_uint64(value), c.byref(err)))
    else:
        ok(bnn.bnn_options_set_f64(options, text, c.c_size_t(len(text)), c.c_double(value), c.byref(err)))


def chain(context, options, seed, seen):
    """Draws of a standard normal's parameter at T = 4 * 0.25, by a schedule that quarters the temperature."""

    def schedule(user_data, step, step_size, temperature):
        seen.append(step)
        step_size[0], temperature[0] = 0.5, 0.25
        return 1

    keep = SCHEDULE(schedule)  # as long as the sampler may call it
    set_option(options, "seed", seed)
    theta, grad, sampler = (c.c_float * 1)(0.0), (c.c_float * 1)(), c.c_void_p()
    phase, due, draws = c.c_int32(), c.c_int32(), []
    n = c.c_size_t(1)
    ok(bnn.bnn_sampler_new_with_gradients(context, options, theta, n, c.byref(sampler), c.byref(err)))
    ok(bnn.bnn_sampler_set_schedule(sampler, keep, None, c.byref(err)))
    while phase.value != 2:
        grad[0] = -theta[0]
        lp = c.c_double(-0.5 * theta[0] ** 2)
        ok(bnn.bnn_sampler_step_gradient(sampler, grad, n, lp, theta, c.byref(phase), c.byref(due), c.byref(err)))
        if due.value:
            draws.append(theta[0])
    bnn.bnn_sampler_free(sampler)
    return draws


def diagnostics(chains):
    flat = [x for one in chains for x in one]
    report, values = c.c_void_p(), []
    ok(bnn.bnn_report_new(c.byref(report), c.byref(err)))
    array = (c.c_double * len(flat))(*flat)
    sizes = (c.c_size_t(len(chains)), c.c_size_t(len(chains[0])))
    ok(bnn.bnn_chain_diagnostics(array, *sizes, report, c.byref(err)))
    for name in [b"rhat", b"ess_bulk", b"ess_tail", b"ess_mean", b"mcse_mean"]:
        value = c.c_double()
        ok(bnn.bnn_report_get_f64(report, name, c.c_size_t(len(name)), c.byref(value), c.byref(err)))
        values.append(value.value)
    bnn.bnn_report_free(report)
    return values


context, options = c.c_void_p(), c.c_void_p()
ok(bnn.bnn_context_new(c.c_size_t(1), c.byref(context), c.byref(err)))
ok(bnn.bnn_options_new(c.byref(options), c.byref(err)))
for name, value in {
    "sampler": "baoa",
    "step_size": 1.0,
    "temperature": 4.0,
    "warmup_steps": 50,
    "sampling_steps": 2000,
    "thinning": 1,
}.items():
    set_option(options, name, value)
seen = []
chains = [chain(context, options, seed, seen) for seed in range(1, 5)]
assert seen == list(range(2050)) * 4
rhat, bulk, tail, ess, mcse = diagnostics(chains)
flat = [x for one in chains for x in one]
mean = sum(flat) / len(flat)
variance = sum((x - mean) ** 2 for x in flat) / len(flat)
# The variance is T times what T = 4 was cut to, 1; effective sizes say how far it and the mean may stray: 5.4 deviations, once in 1e7.
# A temperature factor of 0.4 or 0.15 fails.
assert 0.99 < rhat < 1.02 and ess > 100, (rhat, ess)
assert abs(mean) < 5.4 * mcse, (mean, mcse)
assert abs(variance - 1) < 5.4 * (2 / min(ess, bulk, tail)) ** 0.5, (variance, ess, bulk, tail)
# A chain that is elsewhere is told.
assert diagnostics(chains[:3] + [[x + 3 for x in chains[3]]])[0] > 1.3
bnn.bnn_options_free(options)
bnn.bnn_context_free(context)

x, draws = 12345, []
for i in range(600):
    x = (x * 1103515245 + 12345) % 2147483648
    draws.append(x / 2147483648 + 0.25 * (i // 200))
print("diagnostics", *(repr(d) for d in diagnostics([draws[:200], draws[200:400], draws[400:]])))
print("all as documented")
