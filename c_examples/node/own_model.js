// What c_examples/own_model.c does and prints: chains and a fit of a Bayesian logistic regression, from Node.
//
//   npm install
//   node own_model.js path/to/libbnn.so STATE_FILE [steps]
'use strict';
const koffi = require('koffi');

const [library, path, length = '4000'] = process.argv.slice(2);
const steps = Number(length), kept = Math.min(Math.floor(steps / 4), 1000);
const N = 400, D = 2, CHAINS = 2, ABI = 6, DONE = 2;

// The functions of bnn.h that are used, with what comes out marked: _Out_ for numbers and handles, _Inout_ for arrays.
const error = koffi.struct('bnn_error', { code: 'int32_t', message: koffi.array('char', 508, 'String') });
const handles = ['bnn_context', 'bnn_options', 'bnn_sampler', 'bnn_report'];
handles.forEach((name) => koffi.opaque(name));
const schedule = koffi.proto(
  'int32_t bnn_schedule_callback(void *user_data, uint64_t step, double *step_size_factor, double *temperature_factor)');
const lib = koffi.load(library);
const own = {};
for (const declared of [
  'int32_t bnn_context_new(size_t threads, _Out_ bnn_context **context, _Out_ bnn_error *err)',
  'int32_t bnn_options_new(_Out_ bnn_options **options, _Out_ bnn_error *err)',
  'int32_t bnn_options_set_text(bnn_options *options, const char *name, size_t name_len, const char *value, size_t value_len, _Out_ bnn_error *err)',
  'int32_t bnn_sampler_new_with_gradients(bnn_context *context, bnn_options *options, const float *theta0, size_t n, _Out_ bnn_sampler **sampler, _Out_ bnn_error *err)',
  'int32_t bnn_sampler_load_with_gradients(bnn_context *context, bnn_options *options, size_t n, const char *path, size_t path_len, _Out_ bnn_sampler **sampler, _Out_ bnn_error *err)',
  'int32_t bnn_sampler_save(bnn_sampler *sampler, const char *path, size_t path_len, _Out_ bnn_error *err)',
  'int32_t bnn_sampler_set_schedule(bnn_sampler *sampler, bnn_schedule_callback *callback, void *user_data, _Out_ bnn_error *err)',
  'int32_t bnn_sampler_step_gradient(bnn_sampler *sampler, const float *grad, size_t n, double log_post, _Inout_ float *params, _Out_ int32_t *phase, _Out_ int32_t *sample_due, _Out_ bnn_error *err)',
  'int32_t bnn_sampler_get_params(bnn_sampler *sampler, _Inout_ float *params, size_t n, _Out_ bnn_error *err)',
  'int32_t bnn_sampler_get_normals(bnn_sampler *sampler, _Inout_ float *mean, _Inout_ float *sd, size_t n, _Out_ bnn_error *err)',
  'int32_t bnn_report_new(_Out_ bnn_report **report, _Out_ bnn_error *err)',
  'int32_t bnn_report_get_f64(bnn_report *report, const char *name, size_t name_len, _Out_ double *value, _Out_ bnn_error *err)',
  'int32_t bnn_chain_diagnostics(const double *draws, size_t chains, size_t n, bnn_report *report, _Out_ bnn_error *err)',
]) {
  const name = declared.match(/bnn_\w+/)[0], f = lib.func(declared);
  own[name] = (...args) => { // throws what is not BNN_OK
    const err = [null];
    if (f(...args, err) !== 0) throw new Error(`${name}: ${err[0].message}`);
  };
}
const frees = Object.fromEntries(handles.map((name) => [name, lib.func(`void ${name}_free(${name} *x)`)]));
const abi = lib.func('uint32_t bnn_abi()')();
if (abi !== ABI) throw new Error(`the library has ABI ${abi}, this program needs ${ABI}`);

// Returns what a constructor makes.
const made = (f, ...args) => { const to = [null]; f(...args, to); return to[0]; };
const bytes = (s) => [s, Buffer.byteLength(s)];
const set = (options, settings) => {
  for (const [name, value] of Object.entries(settings)) own.bnn_options_set_text(options, ...bytes(name), ...bytes(String(value)));
};

// Uniform numbers for the data.
let state = 1n;
function uniform() {
  state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
  return Number(state >> 11n) / 9007199254740992;
}
const x = [], y = [];
for (let n = 0; n < N; ++n) {
  x.push(6 * uniform() - 3);
  y.push(uniform() < 1 / (1 + Math.exp(2 - x[n])) ? 1 : 0); // the truth: slope 1, intercept -2
}

// log_lik + log_prior of the whole data, and its gradient; the prior is N(0, 3^2).
function logPosterior(theta, grad) {
  const g = [0, 0];
  let logPost = 0;
  for (let n = 0; n < N; ++n) {
    const p = 1 / (1 + Math.exp(-(theta[0] * x[n] + theta[1])));
    logPost += y[n] > 0 ? Math.log(p) : Math.log1p(-p);
    g[0] += (y[n] - p) * x[n];
    g[1] += y[n] - p;
  }
  for (let i = 0; i < D; ++i) {
    logPost -= theta[i] * theta[i] / 18;
    grad[i] = g[i] - theta[i] / 9;
  }
  return logPost;
}

// The step falls from its full size to a half.
const falling = koffi.register((_, step, stepSize) => {
  koffi.encode(stepSize, 'double', 0.5 + 0.5 / (1 + Number(step) / 100));
  return 1;
}, koffi.pointer(schedule));

const grad = new Float32Array(D), theta = new Float32Array(D), phase = [0], due = [0];
function step(sampler) {
  own.bnn_sampler_step_gradient(sampler, grad, D, logPosterior(theta, grad), theta, phase, due);
  return phase[0] !== DONE;
}
const context = made(own.bnn_context_new, 1), options = made(own.bnn_options_new), report = made(own.bnn_report_new);
set(options, { sampler: 'baoa', step_size: 0.1, temperature: 1, sampling_steps: steps, thinning: 4 });
const draws = Array.from({ length: D }, () => new Float64Array(CHAINS * kept));
let sampler;
for (let chain = 0; chain < CHAINS; ++chain) {
  theta.fill(chain ? 2 : -2); // from afar
  set(options, { chain });
  sampler = made(own.bnn_sampler_new_with_gradients, context, options, theta, D);
  own.bnn_sampler_set_schedule(sampler, falling, null);
  let n = 0, steppings = 0, going;
  do {
    if (++steppings === Math.floor(steps / 2)) { // as if the program had ended here
      own.bnn_sampler_save(sampler, ...bytes(path));
      frees.bnn_sampler(sampler);
      sampler = made(own.bnn_sampler_load_with_gradients, context, options, D, ...bytes(path));
      own.bnn_sampler_set_schedule(sampler, falling, null);
      own.bnn_sampler_get_params(sampler, theta, D);
    }
    going = step(sampler);
    if (due[0] && n < kept) draws.forEach((of, i) => { of[chain * kept + n] = theta[i]; }), ++n;
  } while (going);
  frees.bnn_sampler(sampler);
}
const row = (name) => made(own.bnn_report_get_f64, report, ...bytes(name));
let worst = 0;
draws.forEach((of, i) => {
  own.bnn_chain_diagnostics(of, CHAINS, kept, report);
  const mean = of.reduce((sum, value) => sum + value / (CHAINS * kept), 0);
  const [mcse, rhat, bulk, tail] = ['mcse_mean', 'rhat', 'ess_bulk', 'ess_tail'].map(row);
  console.log(`theta ${i} ${mean.toFixed(4)} +- ${mcse.toFixed(4)} (R-hat ${rhat.toFixed(4)}, effective draws: bulk ${bulk.toFixed(0)}, tail ${tail.toFixed(0)})`);
  worst = Math.max(worst, rhat);
});
console.log(`largest R-hat ${worst.toFixed(4)}`);

set(options, { sampler: 'vi', step_size: 0.02 });
theta.fill(0);
sampler = made(own.bnn_sampler_new_with_gradients, context, options, theta, D);
own.bnn_sampler_get_params(sampler, theta, D); // where the first gradient is taken
while (step(sampler));
const sd = new Float32Array(D);
own.bnn_sampler_get_normals(sampler, theta, sd, D);
for (let i = 0; i < D; ++i) console.log(`vi    ${i} ${theta[i].toFixed(4)} (deviation ${sd[i].toFixed(4)})`);
frees.bnn_sampler(sampler), frees.bnn_report(report), frees.bnn_options(options), frees.bnn_context(context);
koffi.unregister(falling);
