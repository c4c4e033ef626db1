/* What is read off a sampler, against closed forms on a caller's gradients, and everything that is refused. */
#include "rows.h"

static bnn_context *ctx;
static bnn_corpus *corpus;

/* log_post = -sum lambda x^2 / 2. */
enum { N = 5 };
static const double LAMBDA[N] = {4.0, 0.5, 9.0, -0.25, 2.0};
typedef struct {
  bnn_sampler *s;
  int calls, stop_at, busy, spoil;
} state;

static int32_t gradient(void *user_data, const float *x, size_t n, float *grad) {
  state *of = user_data;
  float at[N];
  if (++of->calls == of->stop_at) return 0;
  for (size_t i = 0; i < n; ++i) grad[i] = (float)(-LAMBDA[i] * (double)x[i]);
  if (of->spoil) grad[3] = NAN;
  of->busy += bnn_sampler_get_params(of->s, at, N, NULL) == BNN_ERR_BUSY;
  return 1;
}
static int32_t frees(void *user_data, const float *x, size_t n, float *grad) {
  state *of = user_data;
  bnn_sampler_free(of->s), of->s = NULL;
  return gradient(of, x, n, grad);
}
static int32_t same(void *user_data, uint64_t step, double *h, double *t) {
  (void)user_data, (void)step, (void)h, (void)t;
  return 1;
}

static void curvature(void) {
  static const float THETA[N] = {1, -1, 2, 0.5f, 1}, MASS[N] = {1, 1, 3, 1, 0.25f};
  bnn_options *o = NULL;
  state of = {0};
  double largest = 0, residual = 0, smallest = 0, limit = 0;
  uint64_t made = 0;
  OK(bnn_options_new(&o, &err));
  F64(o, "sigma", 1.5);
  F64(o, "step_size", 0.01);
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &of.s, &err));
#define CURVATURE(want, products, f) \
  IS(want, curvature_with(of.s, products, f, &of, &largest, &residual, &smallest, &made, &limit, &err))
  CURVATURE(BNN_OK, 20, gradient);
  NEAR(largest, 9, 1e-3), NEAR(smallest, -0.25, 2e-2);
  HOLDS(made == N && of.calls == 2 * N && of.busy == 2 * N && residual < 0.05);
  NEAR(limit, 2 / sqrt(9 / 2.25), 1e-3); /* baoa: 2 / omega, omega^2 = lambda / sigma^2 */
  OK(bnn_sampler_set_mass(of.s, MASS, N, &err));
  CURVATURE(BNN_OK, 20, gradient);
  NEAR(largest, 8, 1e-3); /* 2 / 0.25 */
  /* One product finds what lies between. */
  CURVATURE(BNN_OK, 1, gradient);
  HOLDS(made == 1 && largest < 7);
  NEAR(smallest, largest, 1e-9);
  double before = largest;
  CURVATURE(BNN_ERR_INVALID, 0, gradient);
  CURVATURE(BNN_ERR_NULL, 3, NULL);
  of.calls = 0, of.stop_at = 4;
  CURVATURE(BNN_ERR_INTERRUPTED, 3, gradient);
  HOLDS(of.calls == 4);
  of.stop_at = 0, of.spoil = 1;
  CURVATURE(BNN_ERR_INVALID, 3, gradient);
  HOLDS(strstr(err.message, "gradient[3]") != NULL);
  of.spoil = 0;
  IS(BNN_ERR_NULL, curvature_with(NULL, 3, gradient, &of, &largest, &residual, &smallest, &made, &limit, &err));
  HOLDS(largest == before && made == 1);
  CURVATURE(BNN_OK, 3, frees);
  HOLDS(of.s == NULL && made == 3);
  STR(o, "sampler", "vi");
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &of.s, &err));
  CURVATURE(BNN_ERR_INVALID, 3, gradient);
  bnn_sampler_free(of.s), bnn_options_free(o);
}

/* rho = h^2 v / (4 T sigma^2) = v / 16 is 0, 0.1, 0.25, 3 and 1, and the friction alone tanh(0.9 h / 2) = 0.22. */
static void noise(void) {
  static const float THETA[N] = {1, -1, 2, 0.5f, 1}, V[N] = {0, 1.6f, 4, 48, 16}, BAD[N] = {0, 1, -1, 1, 1};
  bnn_options *o = NULL;
  bnn_sampler *s = NULL;
  double per_mass = 7, damped = 7, clamped = 7, left = 7, worst = 7;
#define NOISE(want) IS(want, gradient_noise(s, &per_mass, &damped, &clamped, &left, &worst, &err))
  OK(bnn_options_new(&o, &err));
  F64(o, "step_size", 0.5);
  F64(o, "alpha", 0.9);
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &s, &err));
  NOISE(BNN_ERR_INVALID);
  HOLDS(strstr(err.message, "noise_correction") != NULL && per_mass == 7);
  IS(BNN_ERR_INVALID, bnn_sampler_set_gradient_noise(s, BAD, N, &err));
  HOLDS(strstr(err.message, "gradient_noise[2]") != NULL);
  IS(BNN_ERR_SHAPE, bnn_sampler_set_gradient_noise(s, V, N - 1, &err));
  IS(BNN_ERR_NULL, bnn_sampler_set_gradient_noise(NULL, V, N, &err));
  IS(BNN_ERR_NULL, bnn_sampler_set_gradient_noise(s, NULL, N, &err));
  OK(bnn_sampler_set_gradient_noise(s, V, N, &err));
  NOISE(BNN_OK);
  NEAR(per_mass, 13.92, 1e-6), NEAR(damped, 0.6, 1e-12), NEAR(clamped, 0.2, 1e-12), NEAR(left, 0.4, 1e-6);
  HOLDS(worst == 0); /* there are no tensors */
  bnn_sampler_free(s), s = NULL;
  STR(o, "sampler", "sghmc");
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &s, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_set_gradient_noise(s, V, N, &err));
  HOLDS(strstr(err.message, "baoa") != NULL);
  bnn_sampler_free(s), s = NULL;
  STR(o, "noise_correction", "diagonal");
  IS(BNN_ERR_INVALID, bnn_sampler_new_with_gradients(ctx, o, THETA, N, &s, &err));
  HOLDS(strstr(err.message, "noise_correction") != NULL);
  bnn_options_free(o);
}

static void step(bnn_sampler *s, const double *lambda, float *x, float *grad, size_t n) {
  double lp = 0;
  int32_t phase = -1, due = -1;
  for (size_t i = 0; i < n; ++i) grad[i] = (float)(-lambda[i % 2] * x[i]), lp -= 0.5 * lambda[i % 2] * x[i] * x[i];
  OK(bnn_sampler_step_gradient(s, grad, n, lp, x, &phase, &due, &err));
}

/* A thermostat's friction as it is, not as it began: steps of sgnht_ding are sghmc's with gamma = xi / sigma^2, those of sgnht baoa's. */
static void friction(void) {
  static const char *METHODS[3] = {"sgnht_ding", "sgnht_euler", "sgnht"};
  for (int m = 0; m < 3; ++m) {
    float x[N] = {1, -1, 2, 0.5f, 1}, grad[N];
    bnn_options *o = NULL;
    state of = {0};
    double largest = 0, residual = 0, smallest = 0, limit = 7, xi = 0, a = 0, momentum = 0, lr = 0;
    uint64_t made = 0;
    OK(bnn_options_new(&o, &err));
    STR(o, "sampler", METHODS[m]);
    F64(o, "sigma", 1.5);
    F64(o, "step_size", 0.01);
    F64(o, "alpha", 0.3);
    F64(o, "xi", 0.5);
    F64(o, "temperature", 0.2);
    F64(o, "thermostat_mass", 0.05);
    OK(bnn_sampler_new_with_gradients(ctx, o, x, N, &of.s, &err));
    for (int i = 0; i < 40; ++i) {
      double lp = 0;
      int32_t phase = -1, due = -1;
      for (int j = 0; j < N; ++j) grad[j] = (float)(-LAMBDA[j] * (double)x[j]), lp -= 0.5 * LAMBDA[j] * (double)x[j] * (double)x[j];
      OK(bnn_sampler_step_gradient(of.s, grad, N, lp, x, &phase, &due, &err));
    }
    OK(last_value(of.s, &made, &a, &a, &a, &xi, &err));
    HOLDS(xi > 2); /* it began hot: far from 0.5 */
    CURVATURE(BNN_OK, 20, gradient);
    NEAR(largest, 9, 1e-3);
    double gamma = xi / 2.25, w2 = largest / 2.25;
    NEAR(limit, m == 0 ? 4 / (gamma + sqrt(gamma * gamma + 4 * w2)) : m == 1 ? fmin(gamma / w2, 2 / gamma) : 2 / sqrt(w2), 1e-9);
    OK(step_size(of.s, &a, &a, &lr, &momentum, &a, &err));
    NEAR(momentum, m == 2 ? exp(-0.01 * gamma) : 1 - 0.01 * gamma, 1e-12);
    NEAR(lr, 1e-4 / 2.25 * (m == 2 ? 0.5 * (1 + momentum) : 1), 1e-12);
    bnn_sampler_free(of.s), of.s = NULL;
    /* A thermostat that drives: no step is stable, and the momentum grows. */
    F64(o, "xi", -0.5);
    OK(bnn_sampler_new_with_gradients(ctx, o, x, N, &of.s, &err));
    CURVATURE(BNN_OK, 20, gradient);
    HOLDS(limit == 0);
    OK(step_size(of.s, &a, &a, &lr, &momentum, &a, &err));
    NEAR(momentum, m == 2 ? exp(0.01 * 0.5 / 2.25) : 1 + 0.01 * 0.5 / 2.25, 1e-12);
    bnn_sampler_free(of.s), bnn_options_free(o);
  }
}

/* The search doubles a step that is far too small; ranges have their own temperatures; both go on from a file. */
static void found(const char *folder) {
  enum { D = 4000 };
  static float x[D], y[D], grad[D];
  static const double STIFF[2] = {2.0, 2.0};
  char path[512];
  bnn_options *o = NULL;
  bnn_sampler *s = NULL, *again = NULL, *none = NULL;
  double h = 0, alpha = 0, lr = 0, momentum = 0, error = 0;
  OK(bnn_options_new(&o, &err));
  F64(o, "temperature", 0.7);
  F64(o, "step_size", 0.01);
  F64(o, "momentum", 0.8);
  U64(o, "auto_step", 1);
  F64(o, "num_data", 50.0);
  F64(o, "likelihood_weight", 2.0);
  U64(o, "warmup_steps", 49);
  IS(BNN_ERR_INVALID, bnn_sampler_new_with_gradients(ctx, o, x, D, &s, &err));
  HOLDS(strstr(err.message, "warmup_steps") != NULL);
  U64(o, "warmup_steps", 400);
  U64(o, "sampling_steps", 600);
  F64(o, "temperature", 0.0);
  IS(BNN_ERR_INVALID, bnn_sampler_new_with_gradients(ctx, o, x, D, &s, &err));
  F64(o, "temperature", 0.7);
  STR(o, "sampler", "sglrw");
  UNSET(o, "momentum");
  IS(BNN_ERR_INVALID, bnn_sampler_new_with_gradients(ctx, o, x, D, &s, &err));
  STR(o, "sampler", "baoa");
  F64(o, "momentum", 0.8);
  HOLDS(s == NULL);
  OK(bnn_sampler_new_with_gradients(ctx, o, x, D, &s, &err));
#define STEP(of) OK(step_size(of, &h, &alpha, &lr, &momentum, &error, &err))
  STEP(s);
  HOLDS(h == 0.01 && isnan(error));
  NEAR(momentum, 0.8, 1e-12);
  NEAR(lr, h * h * 100 * 0.9, 1e-12); /* baoa: h^2 num_data (1 + c) / 2 */
  /* A schedule of the caller's would hide what the search does. */
  IS(BNN_ERR_STATE, bnn_sampler_set_schedule(s, same, NULL, &err));
  OK(bnn_sampler_set_schedule(s, NULL, NULL, &err));
  size_t from[2] = {0, 1000}, len[2] = {1000, 3000};
  OK(bnn_sampler_watch(s, 3, from, len, 2, &err));
  for (int i = 0; i < 200; ++i) step(s, STIFF, x, grad, D);
  snprintf(path, sizeof path, "%s/vector.bnn", folder);
  OK(bnn_sampler_save(s, path, strlen(path), &err));
  OK(bnn_sampler_load_with_gradients(ctx, o, D, path, strlen(path), &again, &err));
  F64(o, "alpha", 5.0);
  UNSET(o, "momentum"); /* the search would keep alpha */
  IS(BNN_ERR_MISMATCH, bnn_sampler_load_with_gradients(ctx, o, D, path, strlen(path), &none, &err));
  UNSET(o, "alpha");
  F64(o, "momentum", 0.8);
  UNSET(o, "auto_step");
  IS(BNN_ERR_MISMATCH, bnn_sampler_load_with_gradients(ctx, o, D, path, strlen(path), &none, &err));
  HOLDS(none == NULL);
  memcpy(y, x, sizeof y);
  for (int i = 200; i < 1000; ++i) {
    step(s, STIFF, x, grad, D), step(again, STIFF, y, grad, D);
    if (i == 399) OK(bnn_sampler_set_schedule(s, same, NULL, &err)); /* from here on it may */
  }
  HOLDS(memcmp(x, y, sizeof y) == 0);
  /* The error that is left: h^2 omega^2 / 4 = 0.1 has h = 0.447, but for what 20 steps tell of 4000 gradients: one step has a relative
   * deviation of sqrt(2 / 4000) = 2.2 %, and so has their mean at most. h is 0.447 / sqrt(1 + that): 0.40 and 0.50 are 11 and 9 deviations
   * away, 0.05 and 0.2 for the error at the step before more. False alarms: below 1e-15. */
  STEP(s);
  HOLDS(h > 0.40 && h < 0.50 && error > 0.05 && error < 0.2);
  NEAR(momentum, 0.8, 1e-9);
  double h2 = h;
  STEP(again);
  HOLDS(h == h2);
  /* Equipartition, in each range by itself: 200 looks at 1000 and 3000 momenta; baoa has T on a Gaussian at any step. The standard error is
   * from 25 batches of 24 steps each, five times the autocorrelation of squares: Student's t with 24 degrees passes 8 once in 3e7, one of the
   * four here less than twice in 1e7. Eight errors are some 3 % of 0.7. */
  double k[3], c[3], sd = 0;
  uint64_t count = 0;
  for (size_t i = 0; i < 2; ++i) {
    OK(temperature(s, i, k, c, &sd, &count, &err));
    HOLDS(count == 200 && fabs(k[0] - 0.7) < 8 * k[2] && fabs(c[0] - 0.7) < 8 * c[2]);
    NEAR(sd, 0.7 * sqrt(2.0 / (double)len[i]), 1e-12);
    HOLDS(k[1] > 0.5 * sd && k[1] < 2 * sd && k[2] < k[1] && c[2] > 0);
  }
  IS(BNN_ERR_INVALID, temperature(s, 2, k, c, &sd, &count, &err));
  HOLDS(strstr(err.message, "index") != NULL);
  IS(BNN_ERR_INVALID, temperature(again, 0, k, c, &sd, &count, &err)); /* none taken: the ranges are no part of the file */
  IS(BNN_ERR_NULL, temperature(NULL, 0, k, c, &sd, &count, &err));
  len[1] = 3001;
  IS(BNN_ERR_INVALID, bnn_sampler_watch(s, 3, from, len, 2, &err));
  HOLDS(strstr(err.message, "range 1") != NULL);
  from[1] = SIZE_MAX;
  IS(BNN_ERR_INVALID, bnn_sampler_watch(s, 3, from, len, 2, &err));
  len[0] = 0;
  IS(BNN_ERR_INVALID, bnn_sampler_watch(s, 3, from, len, 1, &err));
  IS(BNN_ERR_NULL, bnn_sampler_watch(s, 3, NULL, len, 1, &err));
  IS(BNN_ERR_NULL, bnn_sampler_watch(NULL, 3, from, len, 1, &err));
  OK(temperature(s, 1, k, c, &sd, &count, &err)); /* what was refused has changed nothing */
  OK(bnn_sampler_watch(s, 0, NULL, NULL, 0, &err));
  IS(BNN_ERR_INVALID, temperature(s, 0, k, c, &sd, &count, &err));
  bnn_sampler_free(s), bnn_sampler_free(again);
  STR(o, "sampler", "ekf");
  OK(bnn_sampler_new_with_gradients(ctx, o, x, D, &s, &err));
  IS(BNN_ERR_INVALID, step_size(s, &h, &alpha, &lr, &momentum, &error, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_watch(s, 1, from, len, 0, &err));
  bnn_sampler_free(s), bnn_options_free(o);
}

/* The precision that the marginal likelihood chooses: p |theta|^2 = gamma = sum h / (h + p), and what it is worth. */
static void prior(void) {
  enum { D = 4 };
  static const float THETA[D] = {0.5f, -1.5f, 1.0f, 0.25f}, SQUARES[D] = {3, 1, 0.5f, 0.001f}, ZERO[D] = {0};
  bnn_options *o = NULL;
  bnn_sampler *s = NULL;
  float at[D];
  int32_t phase, due;
  double p = 7, gamma = 7, evidence = 7;
  OK(bnn_options_new(&o, &err));
  STR(o, "sampler", "laplace");
  F64(o, "num_data", 40.0);
  U64(o, "sampling_steps", 1);
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, D, &s, &err));
  IS(BNN_ERR_INVALID, prior_fit(s, &p, &gamma, &evidence, &err));
  HOLDS(strstr(err.message, "laplace_fit_prior") != NULL && p == 7);
  bnn_sampler_free(s);
  U64(o, "laplace_fit_prior", 1);
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, D, &s, &err));
  OK(bnn_sampler_step_squares(s, ZERO, SQUARES, D, -1.0, at, &phase, &due, &err));
  OK(prior_fit(s, &p, &gamma, &evidence, &err));
  double want = 0, norm = 0, log_evidence = 0;
  for (int i = 0; i < D; ++i) {
    double h = 40.0 * SQUARES[i], w = THETA[i];
    want += h / (h + p), norm += w * w, log_evidence -= 0.5 * log(h + p);
  }
  log_evidence += 0.5 * D * log(p) - 0.5 * p * norm;
  NEAR(gamma, want, 1e-6), NEAR(p * norm, gamma, 1e-6), NEAR(evidence, log_evidence, 1e-6);
  HOLDS(gamma > 2 && gamma < 4);
  IS(BNN_ERR_NULL, prior_fit(NULL, &p, &gamma, &evidence, &err));
  bnn_sampler_free(s);
  STR(o, "sampler", "sgld");
  UNSET(o, "sampling_steps");
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, D, &s, &err));
  IS(BNN_ERR_INVALID, prior_fit(s, &p, &gamma, &evidence, &err));
  bnn_sampler_free(s), bnn_options_free(o);
}

/* On a GPT: what it takes, and what there is without. */
static void gpt(void) {
  bnn_options *o = NULL;
  bnn_model *model = NULL;
  bnn_sampler *s = NULL;
  int32_t phase = -1, due = -1;
  double a[3] = {7, 7, 7}, b[3] = {7, 7, 7}, c = 7, d = 7, e = 7;
  uint64_t count = 77;
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "n_embd", 8);
  U64(o, "block_size", 8);
  U64(o, "batch_size", 3);
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  U64(o, "warmup_steps", 3);
  U64(o, "sampling_steps", 4);
  U64(o, "thinning", 4);
  U64(o, "preconditioner_steps", 2);
  U64(o, "llc_every", 2);
  U64(o, "temperature_every", 0);
#define NEW() OK((bnn_sampler_free(s), s = NULL, bnn_sampler_new(model, corpus, o, &s, &err)))
#define LLC(want) IS(want, llc(s, a, b, &c, &d, &count, &err))
#define ALL() for (phase = -1; phase != BNN_PHASE_DONE;) OK(bnn_sampler_step(s, &phase, &due, &err))
  NEW();
  ALL();
  LLC(BNN_ERR_INVALID);
  HOLDS(strstr(err.message, "set prior_center to pretrained") != NULL);
  IS(BNN_ERR_INVALID, temperature(s, 0, a, b, &c, &count, &err));
  HOLDS(strstr(err.message, "temperature_every") != NULL);
  IS(BNN_ERR_INVALID, prior_fit(s, a, b, &c, &err));
  STR(o, "prior_center", "pretrained");
  F64(o, "temperature", 0.0);
  NEW();
  LLC(BNN_ERR_INVALID);
  HOLDS(strstr(err.message, "this chain has 0") != NULL);
  UNSET(o, "temperature");
  U64(o, "llc_every", 0);
  NEW();
  LLC(BNN_ERR_INVALID);
  HOLDS(strstr(err.message, "set llc_every above 0") != NULL);
  U64(o, "llc_every", 2);
  U64(o, "temperature_every", 2);
  NEW();
  LLC(BNN_ERR_INVALID);
  HOLDS(strstr(err.message, "one look takes 2 (llc_every)") != NULL && a[0] == 7 && count == 77);
  OK(temperature(s, 0, a, b, &c, &count, &err)); /* none yet */
  HOLDS(count == 0 && isnan(a[0]) && isnan(b[2]));
  NEAR(c, 0.15 * sqrt(2.0 / 64), 1e-12);
  /* The caller's own batches count as the corpus's. */
  uint32_t x[24], y[24];
  for (int i = 0; i < 24; ++i) x[i] = (uint32_t)(i % 8), y[i] = (uint32_t)((i + 1) % 8);
  for (phase = -1; phase != BNN_PHASE_DONE;) OK(bnn_sampler_step_tokens(s, x, y, 24, &phase, &due, &err));
  LLC(BNN_OK);
  HOLDS(count == 2 && isfinite(a[0]) && isnan(b[0]) && isfinite(c));
  OK(temperature(s, 0, a, b, &c, &count, &err));
  HOLDS(count == 2 && a[0] > 0 && a[1] >= 0 && isnan(a[2]));
  double g = 0;
  IS(BNN_ERR_NULL, llc(NULL, a, b, &c, &d, &count, &err));
  IS(BNN_ERR_NULL, prior_fit(NULL, a, b, &c, &err));
#define CURVE(want, products, batches) IS(want, curvature_of(s, products, batches, a, b, &c, &count, &d, &err))
  CURVE(BNN_OK, 4, 3);
  HOLDS(a[0] > 0 && d > 0 && count == 4);
  CURVE(BNN_ERR_INVALID, 4, 0);
  CURVE(BNN_ERR_INVALID, 4, 1025);
  CURVE(BNN_ERR_INVALID, 4, SIZE_MAX);
  CURVE(BNN_ERR_INVALID, 0, 1);
  IS(BNN_ERR_NULL, curvature_of(NULL, 1, 1, a, b, &c, &count, &d, &err));
  /* Without momenta there is no kinetic temperature. */
  STR(o, "sampler", "sgld");
  NEW();
  ALL();
  OK(temperature(s, 1, a, b, &c, &count, &err));
  HOLDS(isnan(a[0]) && isfinite(b[0]) && count == 2);
  OK(step_size(s, a, b, &c, &d, &e, &err));
  HOLDS(a[0] == 2e-4 && b[0] == 0 && d == 0 && isnan(e));
  /* A fit: printed for the test to compare. */
  STR(o, "sampler", "laplace");
  UNSET(o, "prior_center");
  NEW();
  IS(BNN_ERR_INVALID, prior_fit(s, a, b, &c, &err));
  HOLDS(strstr(err.message, "laplace_fit_prior") != NULL);
  U64(o, "laplace_fit_prior", 1);
  NEW();
  ALL();
  OK(prior_fit(s, a, b, &c, &err));
  printf("prior_fit %.17g %.17g %.17g\n", a[0], b[0], c);
  CURVE(BNN_ERR_INVALID, 2, 1);
  LLC(BNN_ERR_INVALID);
  IS(BNN_ERR_INVALID, temperature(s, 0, a, b, &c, &count, &err));
  IS(BNN_ERR_INVALID, step_size(s, a, b, &c, &d, &g, &err));
  /* Of a head: MacKay's fixed point over its weights alone, p |w|^2 = gamma; the rest the test compares. */
  static const char *STRUCTURES[2] = {"last_layer_full", "last_layer_kfac"};
  static float params[4000];
  bnn_model *untied = NULL;
  size_t n = 0, t = 0;
  OK(bnn_model_untie(model, &untied, &err));
  OK(bnn_model_sizes(untied, &n, &t, &err));
  OK(bnn_model_get_params(untied, params, n < 4000 ? n : 0, &err));
  double norm = 0;
  for (size_t i = n - 64; i < n; ++i) norm += (double)params[i] * (double)params[i];
  for (int k = 0; k < 2; ++k) {
    STR(o, "laplace_structure", STRUCTURES[k]);
    OK((bnn_sampler_free(s), s = NULL, bnn_sampler_new(untied, corpus, o, &s, &err)));
    ALL();
    OK(prior_fit(s, a, b, &c, &err));
    NEAR(a[0] * norm, b[0], 1e-6);
    HOLDS(b[0] > 0 && b[0] < 64);
    printf("prior_fit_%s %.17g %.17g %.17g\n", STRUCTURES[k], a[0], b[0], c);
  }
  bnn_model_free(untied);
  bnn_sampler_free(s), bnn_model_free(model), bnn_options_free(o);
}

/* How far a chain can get is known before its first step. */
static void forecast(void) {
  static const float THETA[N] = {1, -1, 2, 0.5f, 1};
  static const double ALPHA[2] = {0.3, 30.0};
  bnn_options *o = NULL;
  bnn_sampler *s = NULL;
  bnn_report *r = fresh();
  OK(bnn_options_new(&o, &err));
  F64(o, "sigma", 1.5);
  F64(o, "step_size", 0.01);
  F64(o, "num_data", 50.0);
  F64(o, "likelihood_weight", 2.0);
  U64(o, "warmup_steps", 10);
  U64(o, "sampling_steps", 90);
  for (int i = 0; i < 2; ++i) {
    F64(o, "alpha", ALPHA[i]);
    OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &s, &err));
    OK(bnn_sampler_forecast(s, r, &err));
    const double gamma = ALPHA[i] / 2.25, momentum = exp(-0.01 * gamma);
    NEAR(ROW(r, "physical_time"), 1.0, 1e-12);
    IS(BNN_ERR_INVALID, bnn_sampler_extend(s, 0, &err));
    NEAR(ROW(r, "friction_times"), gamma, 1e-12);
    NEAR(ROW(r, "optimizer_momentum"), momentum, 1e-12);
    NEAR(ROW(r, "optimizer_learning_rate"), 1e-4 * 100 / 2.25 * 0.5 * (1 + momentum), 1e-12);
    uint64_t line = 2;
    OK(bnn_report_get_u64(r, "one_line", 8, &line, &err));
    HOLDS(line == (i == 0));
    bnn_sampler_free(s), s = NULL;
  }
  /* A schedule is summed: a cosine to half is worth three quarters of its steps, however many they are. */
  F64(o, "alpha", 30.0);
  STR(o, "schedule", "cosine");
  F64(o, "final_fraction", 0.5);
  U64(o, "warmup_steps", 0);
  U64(o, "sampling_steps", 4000000000);
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &s, &err));
  OK(bnn_sampler_forecast(s, r, &err));
  NEAR(ROW(r, "physical_time"), 3e7, 1e-6);
  bnn_sampler_free(s), s = NULL;
  STR(o, "schedule", "constant");
  const float bad[2] = {NAN, 0};
  IS(BNN_ERR_INVALID, bnn_movement(3, bad, THETA, THETA + 2, 2, r, &err));
  UNSET(o, "alpha");
  UNSET(o, "sigma");
  STR(o, "sampler", "sgld");
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &s, &err));
  OK(bnn_sampler_forecast(s, r, &err));
  HOLDS(isnan(ROW(r, "friction_times")));
  IS(BNN_ERR_NULL, bnn_sampler_forecast(s, NULL, &err));
  /* SGLD with h = STEP moves by 2 T h per step; a later step is at most the last. */
  double at_once = 0;
  OK(bnn_sampler_free_diffusion(s, 0, 1, r, &err));
  at_once = ROW(r, "rms");
  HOLDS(at_once > 0 && isnan(ROW(r, "cosine")));
  OK(bnn_sampler_free_diffusion(s, 4, 16, r, &err));
  NEAR(ROW(r, "rms"), 4 * at_once, 1e-9);
  NEAR(ROW(r, "cosine"), 0.5, 1e-9);
  OK(bnn_sampler_free_diffusion(s, 1000000000, 4000000000, r, &err));
  NEAR(ROW(r, "cosine"), 0.5, 1e-6);
  IS(BNN_ERR_INVALID, bnn_sampler_free_diffusion(s, 5, 4, r, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_free_diffusion(s, 5, 4000000001, r, &err));
  IS(BNN_ERR_NULL, bnn_sampler_free_diffusion(NULL, 4, 16, r, &err));
  IS(BNN_ERR_NULL, bnn_sampler_forecast(NULL, r, &err));
  bnn_sampler_free(s), s = NULL;
  STR(o, "sampler", "ekf");
  OK(bnn_sampler_new_with_gradients(ctx, o, THETA, N, &s, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_forecast(s, r, &err));
  bnn_sampler_free(s), bnn_options_free(o), bnn_report_free(r);
}

/* Every report wants a report. */
static void nowhere(void) {
  static const float THETA[N] = {1, -1, 2, 0.5f, 1};
  bnn_sampler *s = NULL;
  double lp[40] = {0};
  OK(bnn_sampler_new_with_gradients(ctx, NULL, THETA, N, &s, &err));
  IS(BNN_ERR_NULL, bnn_sampler_report(s, NULL, &err));
  IS(BNN_ERR_NULL, bnn_sampler_step_size(s, NULL, &err));
  IS(BNN_ERR_NULL, bnn_sampler_temperature(s, 0, NULL, &err));
  IS(BNN_ERR_NULL, bnn_sampler_llc(s, NULL, &err));
  IS(BNN_ERR_NULL, bnn_sampler_energy(s, NULL, &err));
  IS(BNN_ERR_NULL, bnn_sampler_prior_fit(s, NULL, &err));
  IS(BNN_ERR_NULL, bnn_sampler_curvature(s, 1, 1, NULL, NULL, NULL, &err));
  IS(BNN_ERR_NULL, bnn_sampler_curvature_with_gradients(s, 1, gradient, NULL, NULL, &err));
  IS(BNN_ERR_NULL, bnn_energy(lp, NULL, 40, 1, 1.0, NULL, &err));
  /* What a sampler on gradients of the caller's has not. */
  bnn_report *r = fresh();
  IS(BNN_ERR_STATE, bnn_sampler_report(s, r, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_llc(s, r, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_energy(s, r, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_curvature(s, 1, 1, NULL, NULL, r, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_step(s, &(int32_t){0}, &(int32_t){0}, &err));
  OK(bnn_sampler_extend(s, 120, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_extend(s, 99, &err)); /* below the thinning */
  bnn_report_free(r), bnn_sampler_free(s);
}

static void energy(void) {
  enum { S = 47 };
  double lp[S], k[S], mean[4] = {7, 7, 7, 7}, se[4] = {7, 7, 7, 7};
  for (int i = 0; i < S; ++i) lp[i] = -100 - i % 5, k[i] = 1.5 + 0.25 * (i % 3);
#define ENERGY(want, lp, k, n, d, t) IS(want, energy_of(lp, k, n, d, t, mean, se, &err))
  ENERGY(BNN_ERR_INVALID, lp, k, 39, 10, 2.0);
  ENERGY(BNN_ERR_INVALID, lp, k, S, 0, 2.0);
  ENERGY(BNN_ERR_INVALID, lp, k, S, 10, 0.0);
  ENERGY(BNN_ERR_INVALID, lp, k, S, 10, NAN);
  ENERGY(BNN_ERR_NULL, NULL, k, S, 10, 2.0);
  k[5] = INFINITY;
  ENERGY(BNN_ERR_INVALID, lp, k, S, 10, 2.0);
  HOLDS(strstr(err.message, "kinetic[5]") != NULL && mean[0] == 7);
  ENERGY(BNN_OK, lp, NULL, S, 10, 2.0);
  HOLDS(isnan(mean[1]) && isnan(se[1]) && mean[2] == mean[0]);
  k[5] = 2;
  ENERGY(BNN_OK, lp, k, S, 10, 2.0);
  double p = 0, q = 0;
  for (int i = 7; i < S; ++i) p -= lp[i] / 2 / 40, q += 0.5 * 10 * k[i] / 2 / 40; /* 20 batches of 2: the last 40 */
  NEAR(mean[0], p, 1e-12), NEAR(mean[1], q, 1e-12), NEAR(mean[2], p + q, 1e-12);
  HOLDS(se[0] > 0 && se[1] > 0 && se[2] > 0 && se[3] > 0);
}

int main(int argc, char **argv) {
  static char text[1201];
  HOLDS(argc > 1);
  for (int i = 0; i < 1200; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_corpus_from_text(text, 1200, &corpus, &err));
  curvature();
  noise();
  friction();
  found(argv[1]);
  prior();
  gpt();
  forecast();
  nowhere();
  energy();
  bnn_corpus_free(corpus), bnn_context_free(ctx);
  return finish();
}
