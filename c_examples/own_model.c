/* A model of one's own: Bayesian logistic regression. Two chains with a schedule of the program's, broken off, saved and gone on with;
 * whether they agree; and the normals that variational inference fits to the same posterior.
 *
 *   cc -std=c99 -I include c_examples/own_model.c -L target/release -lbnn -lm -o own_model
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./own_model STATE_FILE [steps]
 */
#include "bnn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 400 /* observations */
#define D 2   /* parameters: a slope and an intercept */
#define CHAINS 2
#define KEPT 1000 /* the most draws of a chain */

static bnn_error err;
static bnn_report *report;
static double x[N], y[N];

static void check(bnn_status status, const char *what) {
  if (status != BNN_OK) {
    fprintf(stderr, "%s: %s (status %d)\n", what, err.message, (int)status);
    exit(1);
  }
}

static void set_u64(bnn_options *o, const char *name, uint64_t value) {
  check(bnn_options_set_u64(o, name, strlen(name), value, &err), name);
}
static void set_f64(bnn_options *o, const char *name, double value) {
  check(bnn_options_set_f64(o, name, strlen(name), value, &err), name);
}
static void set_str(bnn_options *o, const char *name, const char *value) {
  check(bnn_options_set_str(o, name, strlen(name), value, strlen(value), &err), name);
}

static double row(const char *name) {
  double value = 0;
  check(bnn_report_get_f64(report, name, strlen(name), &value, &err), name);
  return value;
}

/* Uniform numbers for the data. */
static double uniform(void) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) / 9007199254740992.0;
}

/* log_lik + log_prior of the whole data, and its gradient; the prior is N(0, 3^2). */
static double log_posterior(const float *theta, float *grad) {
  double log_post = 0, g[D] = {0};
  for (int n = 0; n < N; ++n) {
    double z = theta[0] * x[n] + theta[1], p = 1 / (1 + exp(-z));
    log_post += y[n] > 0 ? log(p) : log1p(-p);
    g[0] += (y[n] - p) * x[n], g[1] += y[n] - p;
  }
  for (int i = 0; i < D; ++i) {
    log_post -= theta[i] * theta[i] / 18;
    grad[i] = (float)(g[i] - theta[i] / 9);
  }
  return log_post;
}

/* The step falls from its full size to a half: (1 + 1 / (1 + step / 100)) / 2. */
static int32_t falling(void *user_data, uint64_t step, double *step_size, double *temperature) {
  (void)user_data, (void)temperature;
  *step_size = 0.5 + 0.5 / (1 + (double)step / 100);
  return 1;
}

static int32_t step(bnn_sampler *sampler, float *theta, int32_t *due) {
  float grad[D];
  int32_t phase = BNN_PHASE_WARMUP;
  double log_post = log_posterior(theta, grad);
  check(bnn_sampler_step_gradient(sampler, grad, D, log_post, theta, &phase, due, &err), "step");
  return phase;
}

int main(int argc, char **argv) {
  static double draws[D][CHAINS * KEPT];
  const char *path = argc > 1 ? argv[1] : "own_model.bnn";
  uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 4000;
  uint64_t kept = steps / 4 < KEPT ? steps / 4 : KEPT;
  bnn_context *context = NULL;
  bnn_options *options = NULL;
  bnn_sampler *sampler = NULL;
  float theta[D], sd[D];
  int32_t phase, due = 0;
  for (int n = 0; n < N; ++n) {
    x[n] = 6 * uniform() - 3;
    y[n] = uniform() < 1 / (1 + exp(2 - x[n])); /* the truth: slope 1, intercept -2 */
  }
  check(bnn_context_new(1, &context, &err), "context");
  check(bnn_options_new(&options, &err), "options");
  check(bnn_report_new(&report, &err), "report");
  set_str(options, "sampler", "baoa");
  set_f64(options, "step_size", 0.1);
  set_f64(options, "temperature", 1.0);
  set_u64(options, "sampling_steps", steps);
  set_u64(options, "thinning", 4);
  for (uint64_t chain = 0; chain < CHAINS; ++chain) {
    uint64_t n = 0, made = 0;
    for (int i = 0; i < D; ++i) theta[i] = chain ? 2.0f : -2.0f; /* from afar */
    set_u64(options, "chain", chain);
    check(bnn_sampler_new_with_gradients(context, options, theta, D, &sampler, &err), "sampler");
    check(bnn_sampler_set_schedule(sampler, falling, NULL, &err), "schedule");
    do {
      if (++made == steps / 2) { /* as if the program had ended here */
        check(bnn_sampler_save(sampler, path, strlen(path), &err), "save");
        bnn_sampler_free(sampler);
        check(bnn_sampler_load_with_gradients(context, options, D, path, strlen(path), &sampler, &err), "load");
        check(bnn_sampler_set_schedule(sampler, falling, NULL, &err), "schedule");
        check(bnn_sampler_get_params(sampler, theta, D, &err), "params");
      }
      phase = step(sampler, theta, &due);
      for (int i = 0; due && n < kept && i < D; ++i) draws[i][chain * kept + n] = theta[i];
      if (due && n < kept) ++n;
    } while (phase != BNN_PHASE_DONE);
    bnn_sampler_free(sampler);
  }
  double worst = 0;
  for (int i = 0; i < D; ++i) {
    double mean = 0;
    check(bnn_chain_diagnostics(draws[i], CHAINS, kept, report, &err), "diagnostics");
    for (uint64_t k = 0; k < CHAINS * kept; ++k) mean += draws[i][k] / (double)(CHAINS * kept);
    printf("theta %d %.4f +- %.4f (R-hat %.4f, effective draws: bulk %.0f, tail %.0f)\n", i, mean, row("mcse_mean"), row("rhat"), row("ess_bulk"), row("ess_tail"));
    worst = fmax(worst, row("rhat"));
  }
  printf("largest R-hat %.4f\n", worst);

  set_str(options, "sampler", "vi");
  set_f64(options, "step_size", 0.02);
  theta[0] = theta[1] = 0;
  check(bnn_sampler_new_with_gradients(context, options, theta, D, &sampler, &err), "vi");
  check(bnn_sampler_get_params(sampler, theta, D, &err), "where the first gradient is taken");
  do phase = step(sampler, theta, &due); while (phase != BNN_PHASE_DONE);
  check(bnn_sampler_get_normals(sampler, theta, sd, D, &err), "normals");
  for (int i = 0; i < D; ++i) printf("vi    %d %.4f (deviation %.4f)\n", i, theta[i], sd[i]);
  bnn_sampler_free(sampler);
  bnn_report_free(report);
  bnn_options_free(options);
  bnn_context_free(context);
  return 0;
}
