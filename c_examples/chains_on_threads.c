/* Chains of a model of one's own, one on each thread, and whether they agree. The context is shared; options and samplers are each thread's own. A chain's
 * numbers depend on its seed and number alone, not on when its thread runs.
 *
 *   cc -std=c99 -I include c_examples/chains_on_threads.c -L target/release -lbnn -lpthread -lm -o chains_on_threads
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./chains_on_threads [draws]
 */
#include "bnn.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHAINS = 4, D = 2, THINNING = 10 };

/* What a thread is given, and what it gives back. */
typedef struct {
  bnn_context *context;
  uint64_t number;
  size_t draws;
  double *kept; /* (draws,), the first parameter */
  bnn_status status;
  bnn_error err;
} job;

/* A bent ridge: the second parameter is normal around half the square of the first. */
static double log_posterior(const float *theta, float *grad) {
  const double a = theta[0], b = theta[1] - a * a / 2;
  grad[0] = (float)(-a + a * b);
  grad[1] = (float)-b;
  return -(a * a + b * b) / 2;
}

/* Makes the options of one chain, and the chain; the first error ends it. */
static bnn_status begin(job *of, bnn_options *o, const float *theta, bnn_sampler **sampler) {
  bnn_error *err = &of->err;
  bnn_status s = bnn_options_set_str(o, "sampler", SIZE_MAX, "baoa", SIZE_MAX, err);
  if (!s) s = bnn_options_set_f64(o, "step_size", SIZE_MAX, 0.2, err);
  if (!s) s = bnn_options_set_f64(o, "alpha", SIZE_MAX, 1.0, err);
  if (!s) s = bnn_options_set_u64(o, "seed", SIZE_MAX, 5, err);
  if (!s) s = bnn_options_set_u64(o, "chain", SIZE_MAX, of->number, err);
  if (!s) s = bnn_options_set_u64(o, "warmup_steps", SIZE_MAX, 200, err);
  if (!s) s = bnn_options_set_u64(o, "sampling_steps", SIZE_MAX, THINNING * of->draws, err);
  if (!s) s = bnn_options_set_u64(o, "thinning", SIZE_MAX, THINNING, err);
  if (!s) s = bnn_sampler_new_with_gradients(of->context, o, theta, D, sampler, err);
  return s;
}

static void *chain(void *given) {
  job *of = given;
  bnn_options *options = NULL;
  bnn_sampler *sampler = NULL;
  float theta[D] = {of->number % 2 ? 2.0f : -2.0f, 2.0f}, grad[D]; /* from either end of the ridge */
  int32_t phase = BNN_PHASE_WARMUP, due = 0;
  size_t n = 0;

  of->status = bnn_options_new(&options, &of->err);
  if (!of->status) of->status = begin(of, options, theta, &sampler);
  while (!of->status && phase != BNN_PHASE_DONE) {
    const double log_post = log_posterior(theta, grad);
    of->status = bnn_sampler_step_gradient(sampler, grad, D, log_post, theta, &phase, &due, &of->err);
    if (!of->status && due && n < of->draws) of->kept[n++] = theta[0];
  }
  bnn_sampler_free(sampler), bnn_options_free(options);
  return NULL;
}

int main(int argc, char **argv) {
  const size_t draws = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;
  double *kept = malloc(CHAINS * draws * sizeof *kept); /* (chains, draws) */
  bnn_context *context = NULL;
  bnn_report *report = NULL;
  bnn_error err = {BNN_OK, ""};
  job jobs[CHAINS];
  pthread_t threads[CHAINS];
  size_t begun = 0, failed = 0;
  if (!kept || bnn_context_new(1, &context, &err) || bnn_report_new(&report, &err)) {
    fprintf(stderr, "%s\n", kept ? err.message : "no memory");
    return 1;
  }
  for (; begun < CHAINS; ++begun) {
    job of = {context, begun, draws, kept + begun * draws, BNN_OK, {BNN_OK, ""}};
    jobs[begun] = of;
    if (pthread_create(&threads[begun], NULL, chain, &jobs[begun])) break;
  }
  for (size_t k = 0; k < begun; ++k) {
    pthread_join(threads[k], NULL);
    if (jobs[k].status) {
      fprintf(stderr, "chain %zu: %s (%s)\n", k, jobs[k].err.message, bnn_status_name(jobs[k].status));
      ++failed;
    }
  }
  if (begun == CHAINS && !failed) {
    const char *rows[] = {"mean", "sd", "rhat", "ess_bulk", "mcse_mean"};
    double value = 0;
    bnn_status s = bnn_chain_diagnostics(kept, CHAINS, draws, report, &err);
    for (size_t i = 0; !s && i < sizeof rows / sizeof *rows; ++i) {
      s = bnn_report_get_f64(report, rows[i], SIZE_MAX, &value, &err);
      if (!s) printf("%-10s %.17g\n", rows[i], value);
    }
    if (s) fprintf(stderr, "%s\n", err.message), ++failed;
  }
  bnn_report_free(report), bnn_context_free(context);
  free(kept);
  return begun < CHAINS || failed > 0;
}
