/* ekf, vi, laplace, swag and ivon through the C interface: closed forms away from neutral settings, on a caller's gradients and on a GPT's posterior. */
#include "rows.h"

static bnn_context *ctx;

static bnn_status get_sd(const bnn_sampler *s, float *sd, size_t n, bnn_error *e) {
  static float mean[200000];
  return bnn_sampler_get_normals(s, mean, sd, n, e);
}

/* Two steps of ekf against the formulas of src/samplers/ekf.rs. */
static void ekf(void) {
  bnn_options *o = NULL;
  bnn_sampler *s = NULL;
  float theta[3] = {0.5f, -1.0f, 2.0f}, at[3], sd[3];
  int32_t phase = -1, due = -1;
  OK(bnn_options_new(&o, &err));
  STR(o, "sampler", "ekf");
  U64(o, "sampling_steps", 2);
  F64(o, "temperature", 0.25);
  F64(o, "init_sd", 0.5);
  F64(o, "transition_sd", 0.125);
  F64(o, "likelihood_weight", 3.0);
  IS(BNN_ERR_INVALID, bnn_sampler_new_with_gradients(ctx, o, theta, 3, &s, &err)); /* how many data? */
  F64(o, "num_data", 10.0);
  OK(bnn_sampler_new_with_gradients(ctx, o, theta, 3, &s, &err));
  double mean[3] = {0.5, -1.0, 2.0}, dev[3] = {0.5, 0.5, 0.5};
  float bad[3] = {NAN, 0, 0}, zero[3] = {0, 0, 0};
  IS(BNN_ERR_INVALID, bnn_sampler_step_gradient(s, zero, 3, 0.0, at, &phase, &due, &err)); /* squares are needed */
  IS(BNN_ERR_NOT_FINITE, bnn_sampler_step_squares(s, bad, zero, 3, -1.0, at, &phase, &due, &err));
  IS(BNN_ERR_NOT_FINITE, bnn_sampler_step_squares(s, zero, zero, 3, INFINITY, at, &phase, &due, &err));
  IS(BNN_ERR_SHAPE, bnn_sampler_step_squares(s, zero, zero, 2, -1.0, at, &phase, &due, &err));
  HOLDS(phase == -1 && due == -1);
  for (int step = 0; step < 2; ++step) {
    float grad[3], squares[3];
    for (int i = 0; i < 3; ++i) grad[i] = 0.25f * (float)(i + 1 + step), squares[i] = 0.5f * (float)(3 - i);
    OK(bnn_sampler_step_squares(s, grad, squares, 3, -1.5, at, &phase, &due, &err));
    HOLDS(due == 0 && phase == (step == 0 ? BNN_PHASE_WARMUP : BNN_PHASE_DONE));
    double rate = 3.0 * 10.0 / 2 / 0.25; /* all of the data over two steps, tempered */
    OK(bnn_sampler_get_normals(s, theta, sd, 3, &err));
    for (int i = 0; i < 3; ++i) {
      double v = dev[i] * dev[i] + 0.125 * 0.125, precision = 1 / v + rate * squares[i];
      dev[i] = sqrt(1 / precision);
      mean[i] += rate * grad[i] / precision;
      NEAR(sd[i], dev[i], 1e-6);
      HOLDS(fabs(theta[i] - mean[i]) < 1e-6); /* the largest term is 1 */
      HOLDS(theta[i] == at[i]);
    }
  }
  IS(BNN_ERR_DONE, bnn_sampler_step_squares(s, zero, zero, 3, -1.0, at, &phase, &due, &err));
  uint64_t step = 0;
  double value = 0, kinetic = 0, conf = 0, xi = 0;
  OK(last_value(s, &step, &value, &kinetic, &conf, &xi, &err));
  HOLDS(step == 1 && value == -1.5 && isnan(kinetic) && isnan(conf) && isnan(xi));
  bnn_sampler_free(s), s = NULL;
  F64(o, "step_size", 2.0); /* how often each step's mean counts */
  float one[3] = {1, 1, 1};
  OK(bnn_sampler_new_with_gradients(ctx, o, one, 3, &s, &err));
  OK(bnn_sampler_step_squares(s, zero, one, 3, -1.0, at, &phase, &due, &err));
  OK(bnn_sampler_get_normals(s, theta, sd, 3, &err));
  NEAR(sd[0], sqrt(1 / (1 / (0.25 + 0.015625) + 2.0 / 0.25)), 1e-6);
  bnn_sampler_free(s);
  bnn_options_free(o);
}

/* The precision is the data's share of the squares; draws have the moments that it says; the prior that the marginal likelihood chooses is
 * MacKay's fixed point. */
static void laplace(void) {
  enum { N = 1000, DRAWS = 100 };
  static float theta[N], squares[N], grad[N], at[N], mean[N], sd[N], draw[N];
  bnn_options *o = NULL;
  bnn_sampler *s = NULL;
  int32_t phase, due;
  for (int i = 0; i < N; ++i) theta[i] = 0.01f * (float)(i % 7 - 3), squares[i] = (float)(i % 5) * 0.5f;
  OK(bnn_options_new(&o, &err));
  STR(o, "sampler", "laplace");
  U64(o, "sampling_steps", 4);
  U64(o, "seed", 5);
  F64(o, "temperature", 0.5);
  F64(o, "num_data", 100.0);
  F64(o, "likelihood_weight", 2.0);
  F64(o, "prior_std", 0.5);
  for (int fitted = 0; fitted < 2; ++fitted) {
    U64(o, "laplace_fit_prior", (uint64_t)fitted);
    OK(bnn_sampler_new_with_gradients(ctx, o, theta, N, &s, &err));
    for (int k = 0; k < 4; ++k) OK(bnn_sampler_step_squares(s, grad, squares, N, -1.0, at, &phase, &due, &err));
    HOLDS(phase == BNN_PHASE_DONE);
    OK(bnn_sampler_get_normals(s, mean, sd, N, &err));
    HOLDS(memcmp(mean, theta, sizeof mean) == 0 && memcmp(at, theta, sizeof at) == 0);
    /* The number 0 has no precision of its own: there the deviation is the prior's. */
    double p = 0.5 / ((double)sd[0] * sd[0]), square = 0, determined = 0;
    if (!fitted) NEAR(p, 4.0, 1e-6);
    for (int i = 0; i < N; ++i) {
      double h = 2.0 * 100.0 * squares[i];
      NEAR(sd[i], sqrt(0.5 / (h + p)), 1e-6);
      square += (double)theta[i] * theta[i], determined += h / (h + p);
    }
    if (fitted) NEAR(p * square, determined, 1e-5);
    /* 100,000 standard normals: beyond 5.4 deviations once in 1e7. A deviation 1.02 times too small fails. */
    double sum = 0, sum2 = 0;
    for (uint64_t j = 0; j < DRAWS; ++j) {
      OK(bnn_sampler_draw(s, j, draw, N, &err));
      for (int i = 0; i < N; ++i) {
        double z = (draw[i] - mean[i]) / sd[i];
        sum += z, sum2 += z * z;
      }
    }
    HOLDS(fabs(sum / (N * DRAWS)) < 5.4 / sqrt(N * DRAWS));
    HOLDS(fabs(sum2 / (N * DRAWS) - 1) < 5.4 * sqrt(2.0 / (N * DRAWS)));
    OK(bnn_sampler_draw(s, 3, draw, N, &err));
    OK(bnn_sampler_draw(s, 3, at, N, &err));
    HOLDS(memcmp(draw, at, sizeof at) == 0);
    OK(bnn_sampler_draw(s, 4, at, N, &err));
    HOLDS(memcmp(draw, at, sizeof at) != 0);
    IS(BNN_ERR_SHAPE, bnn_sampler_draw(s, 4, at, N - 1, &err));
    IS(BNN_ERR_INVALID, bnn_sampler_set_mass(s, theta, N, &err));
    bnn_sampler_free(s), s = NULL;
  }
  bnn_options_free(o);
}

/* vi on a Gaussian finds its mean and its deviation times sqrt(T). */
static void vi(int landing) {
  enum { N = 4 };
  double mu[N] = {0.5, -1.0, 2.0, 0.0}, s2[N] = {0.04, 1.0, 0.25, 0.5};
  float theta[N] = {0, 0, 0, 0}, at[N], grad[N], mean[N], sd[N];
  bnn_options *o = NULL;
  bnn_sampler *s = NULL;
  int32_t phase = -1, due = -1;
  uint64_t calls = 0;
  OK(bnn_options_new(&o, &err));
  STR(o, "sampler", "vi");
  U64(o, "sampling_steps", 3000);
  U64(o, "vi_n_samples", 2);
  U64(o, "stick_the_landing", (uint64_t)landing);
  F64(o, "init_log_scale", -2.0);
  F64(o, "temperature", 0.25);
  F64(o, "step_size", 0.02);
  OK(bnn_sampler_new_with_gradients(ctx, o, theta, N, &s, &err));
  OK(bnn_sampler_get_params(s, at, N, &err));
  HOLDS(memcmp(at, theta, sizeof at) != 0); /* a draw, not the mean */
  IS(BNN_ERR_INVALID, bnn_sampler_step_squares(s, theta, theta, N, 0.0, at, &phase, &due, &err));
  do {
    double log_post = 0;
    for (int i = 0; i < N; ++i) {
      double d = at[i] - mu[i];
      grad[i] = (float)(-d / s2[i]), log_post -= 0.5 * d * d / s2[i];
    }
    OK(bnn_sampler_step_gradient(s, grad, N, log_post, at, &phase, &due, &err));
    HOLDS(due == 0);
    if (++calls == 1) IS(BNN_ERR_INVALID, bnn_sampler_save(s, "never", 5, &err)); /* a draw of the step is left */
  } while (phase != BNN_PHASE_DONE);
  HOLDS(calls == 6000);
  OK(bnn_sampler_get_normals(s, mean, sd, N, &err));
  for (int i = 0; i < N; ++i) {
    double want = sqrt(0.25 * s2[i]);
    /* Sticking the landing, the gradient's noise vanishes at the optimum; else it leaves some percents. */
    HOLDS(fabs(mean[i] - mu[i]) < (landing ? 2e-3 : 0.1) * want);
    NEAR(sd[i], want, landing ? 2e-3 : 0.1);
  }
  bnn_sampler_free(s);
  bnn_options_free(o);
}

/* A text of eight letters, and options for a model of one layer that reads eight of them: a window a batch. */
static void small(bnn_corpus **corpus, bnn_options **o, size_t *vocab, size_t *n_train) {
  static char text[601];
  size_t n_val = 0;
  for (int i = 0; i < 600; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_corpus_from_text(text, 600, corpus, &err));
  OK(bnn_corpus_sizes(*corpus, vocab, n_train, &n_val, &err));
  OK(bnn_options_new(o, &err));
  STR(*o, "shape", "tiny");
  U64(*o, "n_layer", 1);
  U64(*o, "block_size", 8);
  U64(*o, "batch_size", 1);
}

/* A GPT's posterior: the first step of ekf and laplace from an evaluator's gradient of a batch of one window. */
static void gpt(void) {
  bnn_options *o = NULL;
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_sampler *s = NULL;
  bnn_ensemble *e = NULL;
  size_t vocab = 0, n_train = 0, n = 0, t = 0, k = 0;
  int32_t phase = -1, due = -1;
  static float theta[100000], grad[100000], mean[100000], sd[100000], draw[100000], other[100000];
  small(&corpus, &o, &vocab, &n_train);
  U64(o, "seed", 3);
  F64(o, "temperature", 0.5);
  F64(o, "likelihood_weight", 2.0);
  F64(o, "num_data", 400.0);
  F64(o, "prior_std", 0.25);
  F64(o, "init_sd", 0.05);
  U64(o, "num_epochs", 2);
  STR(o, "ekf_labels", "data");
  U64(o, "swag_every", 2);
  U64(o, "swag_rank", 3);
  OK(bnn_model_new(ctx, o, vocab, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_model_get_params(model, theta, n, &err));
  uint32_t x[8], y[8];
  for (int i = 0; i < 8; ++i) x[i] = (uint32_t)(i % 5), y[i] = (uint32_t)((i + 1) % 5);
  double loss = 0, log_lik = 0, log_post = 0, kinetic = 0, conf = 0, xi = 0;
  bnn_evaluator *evaluator = NULL;
  OK(bnn_evaluator_new(model, &evaluator, &err));
  OK(bnn_evaluator_gradient(evaluator, NULL, 0, x, y, 1, t, 0, &loss, NULL, grad, &err));
  bnn_evaluator_free(evaluator);
  const double windows = 2.0 * 400.0 / 8, steps = 2.0 * (double)((n_train - t) / t);
  const char *methods[5] = {"ekf", "laplace", "vi", "swag", "ivon"};
  for (int m = 0; m < 5; ++m) {
    STR(o, "sampler", methods[m]);
    OK(bnn_sampler_new(model, corpus, o, &s, &err));
    OK(bnn_sampler_step_tokens(s, x, y, 8, &phase, &due, &err));
    uint64_t step = 9, made = 1;
    OK(last_step(s, &step, &log_lik, &log_post, &kinetic, &conf, &xi, &err));
    HOLDS(step == 0 && isnan(kinetic) && isnan(conf) && isnan(xi));
    OK(bnn_sampler_get_params(s, mean, n, &err));
    OK(get_sd(s, sd, n, &err));
    if (m < 2) NEAR(log_lik, -loss, 1e-6);
    for (size_t i = 0; m < 2 && i < n; ++i) {
      double g = -8.0 * grad[i], rate = windows / steps; /* the gradient of the window's log likelihood */
      if (m == 0) {
        double precision = 1 / (0.05 * 0.05) + rate / 0.5 * g * g;
        NEAR(sd[i], sqrt(1 / precision), 1e-4);
        HOLDS(fabs(mean[i] - (theta[i] + rate / 0.5 * g / precision)) < 1e-4 * fabs(rate * g / precision) + 1e-6);
      } else {
        NEAR(sd[i], sqrt(0.5 / (rate * g * g + 16.0)), 1e-4);
      }
    }
    while (phase == BNN_PHASE_WARMUP) {
      HOLDS(due == 0);
      OK(bnn_sampler_step(s, &phase, &due, &err));
      ++made;
    }
    HOLDS(phase == BNN_PHASE_DONE && due == 0);
    NEAR((double)made, steps, 0.0);
    IS(BNN_ERR_DONE, bnn_sampler_step(s, &phase, &due, &err));
    OK(bnn_sampler_get_params(s, mean, n, &err));
    HOLDS((memcmp(mean, theta, n * sizeof *mean) == 0) == (m == 1)); /* only laplace stays at the mode */
    OK(bnn_ensemble_new(model, &e, &err));
    for (uint64_t i = 0; i < 3; ++i) {
      OK(bnn_sampler_draw(s, i, draw, n, &err));
      OK(bnn_ensemble_add(e, draw, n, &err));
      HOLDS(i == 0 || memcmp(draw, other, n * sizeof *draw) != 0);
      memcpy(other, draw, sizeof draw);
    }
    bnn_report *scored = NULL;
    OK(bnn_report_new(&scored, &err));
    OK(bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, NULL, NULL, scored, &err));
    HOLDS(isfinite(ROW(scored, "loss")) && ROW(scored, "loss") <= ROW(scored, "loss_mean"));
    bnn_report_free(scored);
    OK(bnn_ensemble_len(e, &k, &err));
    HOLDS(k == 3);
    bnn_ensemble_free(e), e = NULL;
    bnn_sampler_free(s), s = NULL;
  }
  /* Without labels ekf has other squares, and its mean follows the data's gradient all the same. */
  STR(o, "sampler", "ekf");
  UNSET(o, "ekf_labels");
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  OK(bnn_sampler_step_tokens(s, x, y, 8, &phase, &due, &err));
  OK(bnn_sampler_get_params(s, mean, n, &err));
  OK(get_sd(s, sd, n, &err));
  int others = 0;
  for (size_t i = 0; i < n; ++i) {
    double g = -8.0 * grad[i], rate = windows / steps, variance = (double)sd[i] * sd[i];
    others += fabs(variance - 1 / (1 / (0.05 * 0.05) + rate / 0.5 * g * g)) > 1e-3 * variance;
    HOLDS(fabs(mean[i] - (theta[i] + rate / 0.5 * g * variance)) < 1e-4 * fabs(rate * g * variance) + 1e-6);
  }
  HOLDS(others > 0);
  bnn_sampler_free(s), s = NULL;
  /* Labels drawn from the model's prediction give other squares; a prior of another form is refused. */
  STR(o, "sampler", "laplace");
  STR(o, "laplace_labels", "model");
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  OK(bnn_sampler_step_tokens(s, x, y, 8, &phase, &due, &err));
  OK(get_sd(s, draw, n, &err));
  int differ = 0;
  for (size_t i = 0; i < n; ++i) differ += fabs(draw[i] - sqrt(0.5 / (windows / steps * 64.0 * grad[i] * grad[i] + 16.0))) > 1e-3 * draw[i];
  HOLDS(differ > 0);
  bnn_sampler_free(s), s = NULL;
  STR(o, "prior_family", "student_t");
  IS(BNN_ERR_INVALID, bnn_sampler_new(model, corpus, o, &s, &err));
  UNSET(o, "prior_family");
  STR(o, "prior_scale", "relative");
  IS(BNN_ERR_INVALID, bnn_sampler_new(model, corpus, o, &s, &err));
  /* A chain has none of this. */
  STR(o, "sampler", "sgld");
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_draw(s, 0, draw, n, &err));
  IS(BNN_ERR_INVALID, get_sd(s, draw, n, &err));
  bnn_sampler_free(s), s = NULL;
  /* The prior's family, degrees, centre and scale are in the log posterior: at the model's own parameters a prior centred there is at its top. */
  double at_center = 0, elsewhere = 0;
  UNSET(o, "prior_scale");
  STR(o, "preconditioner", "none");
  const char *families[3] = {"normal", "laplace", "student_t"};
  for (int f = 0; f < 3; ++f) {
    STR(o, "prior_family", families[f]);
    F64(o, "prior_dof", 5.0);
    double want = 0;
    for (size_t i = 0; i < n; ++i) {
      double z = theta[i] / 0.25;
      want -= f == 0 ? 0.5 * z * z : f == 1 ? fabs(z) : 3.0 * log1p(z * z / 5.0);
    }
    for (int c = 0; c < 2; ++c) {
      uint64_t step;
      STR(o, "prior_center", c ? "pretrained" : "zero");
      OK(bnn_sampler_new(model, corpus, o, &s, &err));
      OK(bnn_sampler_step_tokens(s, x, y, 8, &phase, &due, &err));
      OK(last_step(s, &step, &log_lik, c ? &at_center : &elsewhere, &kinetic, &conf, &xi, &err));
      bnn_sampler_free(s), s = NULL;
    }
    NEAR(at_center, 2.0 * 400.0 * log_lik, 1e-6);
    NEAR(elsewhere - at_center, want, 1e-4);
  }
  bnn_model_free(model);
  bnn_corpus_free(corpus);
  bnn_options_free(o);
}

/* The head of an untied model: nothing else moves, and with one window the whole covariance is what KFAC has at one position. */
static void head(void) {
  bnn_options *o = NULL;
  bnn_corpus *corpus = NULL;
  bnn_model *tied = NULL, *model = NULL, *twice = NULL;
  bnn_sampler *s = NULL;
  bnn_ensemble *e = NULL;
  size_t vocab = 0, n_train = 0, before = 0, n = 0, t = 0;
  static float theta[100000], mean[100000], draw[100000], sd[100000], first[100000];
  small(&corpus, &o, &vocab, &n_train);
  STR(o, "sampler", "laplace");
  STR(o, "objective", "last");
  F64(o, "prior_std", 0.25);
  OK(bnn_model_new(ctx, o, vocab, &tied, &err));
  OK(bnn_model_sizes(tied, &before, &t, &err));
  OK(bnn_model_untie(tied, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  size_t head = vocab * 32;
  HOLDS(n == before + head);
  OK(bnn_model_get_params(model, theta, n, &err));
  HOLDS(memcmp(theta, theta + before, head * sizeof *theta) == 0); /* the embedding comes first */
  IS(BNN_ERR_INVALID, bnn_model_untie(model, &twice, &err));
  HOLDS(twice == NULL);
  double a = 0, b = 0;
  bnn_report *scored = NULL;
  OK(bnn_report_new(&scored, &err));
  OK(bnn_model_loss(tied, corpus, BNN_SPLIT_VAL, &a, &err));
  OK(bnn_model_loss(model, corpus, BNN_SPLIT_VAL, &b, &err));
  HOLDS(a == b);
  uint32_t x[8] = {0, 1, 2, 3, 4, 5, 6, 7}, y[8] = {1, 2, 3, 4, 5, 6, 7, 0};
  const char *structures[2] = {"last_layer_full", "last_layer_kfac"};
  for (int k = 0; k < 2; ++k) {
    STR(o, "laplace_structure", structures[k]);
    IS(BNN_ERR_INVALID, bnn_sampler_new(tied, corpus, o, &s, &err));
    STR(o, "laplace_labels", "ggn"); /* a head's curvature has no labels in it */
    IS(BNN_ERR_INVALID, bnn_sampler_new(model, corpus, o, &s, &err));
    HOLDS(strstr(err.message, "laplace_labels") != NULL);
    UNSET(o, "laplace_labels");
    OK(bnn_sampler_new(model, corpus, o, &s, &err));
    int32_t phase = -1, due = -1;
    uint32_t wrong[8] = {1, 2, 3, (uint32_t)vocab, 5, 6, 7, 0}; /* refused though only the last position counts, and nothing is taken in */
    IS(BNN_ERR_INVALID, bnn_sampler_step_tokens(s, x, wrong, 8, &phase, &due, &err));
    HOLDS(strstr(err.message, "y[0, 3]") != NULL && phase == -1 && due == -1);
    OK(bnn_sampler_step_tokens(s, x, y, 8, &phase, &due, &err));
    OK(bnn_sampler_get_params(s, mean, n, &err));
    HOLDS(memcmp(mean, theta, n * sizeof *theta) == 0);
    OK(get_sd(s, k == 0 ? first : sd, n, &err));
    for (size_t i = 0; k == 1 && i < n; ++i) {
      HOLDS((i < before) == (sd[i] == 0.0f));
      HOLDS(fabs(sd[i] - first[i]) <= 1e-4 * first[i]);
      HOLDS(sd[i] <= 1.0001 * 0.25 * sqrt(0.1)); /* below the prior's, at the temperature that unset is */
    }
    OK(bnn_sampler_draw(s, 2, draw, n, &err));
    HOLDS(memcmp(draw, theta, before * sizeof *theta) == 0 && memcmp(draw + before, theta + before, head * sizeof *theta) != 0);
    OK(bnn_ensemble_new(model, &e, &err));
    OK(bnn_ensemble_add(e, draw, n, &err));
    OK(bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, NULL, NULL, scored, &err));
    HOLDS(isfinite(ROW(scored, "loss")));
    bnn_ensemble_free(e), e = NULL;
    bnn_sampler_free(s), s = NULL;
  }
  bnn_report_free(scored);
  /* A caller's own gradients have no head. */
  bnn_sampler *v = NULL;
  IS(BNN_ERR_INVALID, bnn_sampler_new_with_gradients(ctx, o, theta, 3, &v, &err));
  /* Labels have no part in the Gauss-Newton matrix; a model that is untied from the start. */
  STR(o, "laplace_structure", "diagonal");
  STR(o, "laplace_labels", "ggn");
  U64(o, "tie_weights", 0);
  OK(bnn_model_new(ctx, o, vocab, &twice, &err));
  OK(bnn_model_sizes(twice, &before, &t, &err));
  HOLDS(before == n);
  for (int k = 0; k < 2; ++k) {
    int32_t phase = -1, due = -1;
    OK(bnn_sampler_new(twice, corpus, o, &s, &err));
    OK(bnn_sampler_step_tokens(s, x, k == 0 ? y : x, 8, &phase, &due, &err));
    OK(get_sd(s, k == 0 ? first : sd, n, &err));
    bnn_sampler_free(s), s = NULL;
  }
  HOLDS(memcmp(first, sd, n * sizeof *sd) == 0);
  bnn_model_free(twice);
  bnn_model_free(model);
  bnn_model_free(tied);
  bnn_corpus_free(corpus);
  bnn_options_free(o);
}

int main(void) {
  OK(bnn_context_new(1, &ctx, &err));
  ekf();
  laplace();
  vi(1);
  vi(0);
  gpt();
  head();
  bnn_context_free(ctx);
  return finish();
}
