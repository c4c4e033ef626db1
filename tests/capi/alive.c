/* Is the chain alive, on real text: a step that the warm-up finds, curvature, temperatures of every tensor, energy, and the learning coefficient.
 * What is printed the test compares with the Rust library's own. The text is the embedded play's, or the file that BNN_DATA names. */
#include "rows.h"

enum { STEPS = 2000, MASS = 20, WARMUP = 120, SAMPLING = 300, LLC = 10, EVERY = 4 };

static bnn_context *ctx;
static bnn_corpus *corpus;
static bnn_model *model;
static char path[512];
static double log_post[SAMPLING], kinetic[SAMPLING];

static void show_step(bnn_sampler *s, const char *when) {
  double h = 0, alpha = 0, lr = 0, momentum = 0, error = 0;
  OK(step_size(s, &h, &alpha, &lr, &momentum, &error, &err));
  printf("%s %.17g %.17g %.17g %.17g %.17g\n", when, h, alpha, lr, momentum, error);
}

static void show_curvature(bnn_sampler *s) {
  double largest = 0, residual = 0, smallest = 0, limit = 0;
  uint64_t made = 0;
  OK(curvature_of(s, 8, 2, &largest, &residual, &smallest, &made, &limit, &err));
  HOLDS(made == 8);
  printf("curvature %.17g %.17g %.17g %.17g\n", largest, residual, smallest, limit);
}

/* All that is read off a chain, to be compared. */
static void show_looks(bnn_sampler *s, double *at) {
  size_t needed = 0, offset = 0, len = 0, i = 0;
  char name[64];
  for (; bnn_model_tensor(model, i, name, sizeof name, &needed, NULL, NULL, NULL, &offset, &len, NULL) == BNN_OK; ++i) {
    double k[3], c[3], sd = 0;
    uint64_t count = 0;
    OK(temperature(s, i, k, c, &sd, &count, &err));
    if (!at)
      printf("tensor %.*s %.17g %.17g %.17g %.17g %.17g %.17g %.17g %d\n", (int)needed, name, k[0], k[1], k[2], c[0], c[1], c[2], sd, (int)count);
    else
      *at++ = k[0], *at++ = c[2], *at++ = (double)count;
  }
  double none[7];
  IS(BNN_ERR_INVALID, temperature(s, i, none, none + 3, none + 6, &(uint64_t){0}, &err));
  double value = 0, se = 0, excess = 0, n_beta = 0;
  uint64_t looks = 0;
  OK(llc(s, &value, &se, &excess, &n_beta, &looks, &err));
  if (!at)
    printf("llc %.17g %.17g %.17g %.17g %d\n", value, se, excess, n_beta, (int)looks);
  else
    *at++ = value, *at++ = se, *at++ = (double)looks;
}

/* Makes `n` steps, filling in what each sampling step reported. */
static void steps(bnn_sampler *s, int n) {
  int32_t phase = -1, due = -1;
  for (int i = 0; i < n; ++i) {
    uint64_t step = 0;
    double lik = 0, lp = 0, k = 0, c = 0, xi = 0;
    OK(bnn_sampler_step(s, &phase, &due, &err));
    OK(last_step(s, &step, &lik, &lp, &k, &c, &xi, &err));
    if (step >= MASS + WARMUP) log_post[step - MASS - WARMUP] = lp, kinetic[step - MASS - WARMUP] = k;
  }
}

int main(int argc, char **argv) {
  bnn_options *o = NULL;
  bnn_trainer *t = NULL;
  bnn_sampler *s = NULL, *again = NULL;
  size_t vocab = 0, n_train = 0, n_val = 0, n = 0, block = 0;
  const char *data = getenv("BNN_DATA");
  double loss = 0;
  HOLDS(argc > 1);
  OK(bnn_context_new(2, &ctx, &err));
  if (data && *data)
    OK(bnn_corpus_from_file(data, strlen(data), &corpus, &err));
  else
    OK(bnn_corpus_embedded(&corpus, &err));
  OK(bnn_corpus_sizes(corpus, &vocab, &n_train, &n_val, &err));
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "seed", 7);
  U64(o, "baseline_iters", STEPS);
  U64(o, "baseline_warmup_iters", 10);
  OK(bnn_model_new(ctx, o, vocab, &model, &err));
  OK(bnn_model_sizes(model, &n, &block, &err));
  OK(bnn_trainer_new(model, corpus, o, BNN_START_FRESH, &t, &err));
  for (int i = 0; i < STEPS; ++i) OK(bnn_trainer_step(t, &loss, &err));
  OK(bnn_trainer_finish(t, &err));
  bnn_trainer_free(t);
  snprintf(path, sizeof path, "%s/model.bnn", argv[1]);
  OK(bnn_model_save(model, corpus, STEPS, path, strlen(path), &err));

  STR(o, "prior_center", "pretrained");
  F64(o, "prior_std", 0.05);
  F64(o, "temperature", 0.5);
  F64(o, "step_size", 2e-2);
  F64(o, "momentum", 0.95);
  F64(o, "likelihood_weight", 0.75);
  U64(o, "batch_size", 6);
  U64(o, "preconditioner_steps", MASS);
  U64(o, "warmup_steps", WARMUP);
  U64(o, "sampling_steps", SAMPLING);
  U64(o, "auto_step", 1);
  F64(o, "step_tolerance", 0.05);
  F64(o, "step_growth", 1.5);
  U64(o, "temperature_every", EVERY);
  U64(o, "llc_every", LLC);
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  show_step(s, "given");
  steps(s, MASS);
  show_curvature(s);
  steps(s, WARMUP / 2);

  /* The search goes on where it was, and so does all that is read off. */
  snprintf(path, sizeof path, "%s/search.bnn", argv[1]);
  OK(bnn_sampler_save(s, path, strlen(path), &err));
  OK(bnn_sampler_load(model, corpus, o, path, strlen(path), &again, &err));
  steps(s, WARMUP / 2);
  show_step(s, "found");
  steps(s, SAMPLING / 3);
  steps(again, WARMUP / 2 + SAMPLING / 3);
  OK(bnn_sampler_save(again, path, strlen(path), &err));
  bnn_sampler_free(again), again = NULL;
  OK(bnn_sampler_load(model, corpus, o, path, strlen(path), &again, &err));
  steps(again, SAMPLING - SAMPLING / 3);
  steps(s, SAMPLING - SAMPLING / 3);
  static double one[400], other[400];
  show_looks(s, one), show_looks(again, other);
  HOLDS(memcmp(one, other, sizeof one) == 0);
  double a[5], b[5];
  OK(step_size(s, a, a + 1, a + 2, a + 3, a + 4, &err));
  OK(step_size(again, b, b + 1, b + 2, b + 3, b + 4, &err));
  HOLDS(memcmp(a, b, sizeof a) == 0);
  show_looks(s, NULL);
  double mean[4], se[4];
  OK(energy_of(log_post, kinetic, SAMPLING, n, 0.5, mean, se, &err));
  printf("energy %.17g %.17g %.17g %.17g %.17g %.17g %.17g %.17g\n", mean[0], mean[1], mean[2], mean[3], se[0], se[1], se[2], se[3]);

  /* How often it is looked at may change: what was seen before stays, or is no longer asked for. */
  bnn_sampler *none = NULL;
  double other_value = 0;
  uint64_t looks = 0;
  U64(o, "temperature_every", 0);
  U64(o, "llc_every", 7);
  OK(bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  IS(BNN_ERR_INVALID, temperature(none, 0, mean, se, a, &looks, &err));
  OK(llc(none, &other_value, a, a, a, &looks, &err));
  HOLDS(looks == SAMPLING / 3 / LLC);
  bnn_sampler_free(none), none = NULL;
  U64(o, "temperature_every", EVERY);

  /* A state of a run without the search is none of one with it. */
  UNSET(o, "auto_step");
  IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  HOLDS(strstr(err.message, "auto_step") != NULL);
  U64(o, "auto_step", 1);
  F64(o, "step_tolerance", 0.06);
  IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  HOLDS(strstr(err.message, "step_tolerance") != NULL && none == NULL);
  bnn_sampler_free(s), bnn_sampler_free(again), bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o);
  bnn_context_free(ctx);
  return finish();
}
