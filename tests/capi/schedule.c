/* A caller's own schedule: what it gives is what the options would have given; it can stop a step, and cannot call back in. */
#include "check.h"

#include <string.h>

static bnn_context *ctx;

struct schedule {
  double step_size, temperature; /* the factors to give */
  double final_fraction;         /* above 0: a straight line over sampling steps 2..9, as the options' */
  int stops, refused, calls, at_one;
  uint64_t last;
  bnn_sampler *own;
  int frees;
};

static int32_t ask(void *user_data, uint64_t step, double *step_size, double *temperature) {
  struct schedule *s = user_data;
  float p[2];
  s->at_one += *step_size == 1 && *temperature == 1;
  ++s->calls, s->last = step;
  if (s->own) {
    s->refused += bnn_sampler_get_params(s->own, p, 2, NULL) == BNN_ERR_BUSY;
    s->refused += bnn_sampler_set_schedule(s->own, NULL, NULL, NULL) == BNN_ERR_BUSY;
    s->refused += bnn_sampler_save(s->own, "x", 1, NULL) == BNN_ERR_BUSY;
  }
  if (s->frees) bnn_sampler_free(s->own), s->own = NULL, s->frees = 0;
  *step_size = s->step_size, *temperature = s->temperature;
  if (s->final_fraction > 0 && step >= 2) *step_size = 1 - (1 - s->final_fraction) * ((double)(step - 2) / 7);
  return !s->stops;
}

static bnn_options *settings(const char *method) {
  bnn_options *o = NULL;
  OK(bnn_options_new(&o, &err));
  STR(o, "sampler", method);
  U64(o, "warmup_steps", 2);
  U64(o, "sampling_steps", 8);
  U64(o, "thinning", 1);
  F64(o, "temperature", 1.0);
  F64(o, "step_size", 0.25);
  F64(o, "num_data", 10.0);
  return o;
}

static bnn_status step(bnn_sampler *s, float *at, int32_t *phase, bnn_error *e) {
  int32_t due;
  float grad[2] = {-at[0], -2 * at[1]};
  return bnn_sampler_step_gradient(s, grad, 2, -0.5 * at[0] * at[0] - at[1] * at[1], at, phase, &due, e);
}

/* Runs one chain with the schedule and one with options that say the same: the same bits. */
static void equals(const char *method, struct schedule sc, void (*change)(bnn_options *)) {
  bnn_options *o = settings(method);
  bnn_sampler *a = NULL, *b = NULL;
  float x[2] = {1, -1}, y[2] = {1, -1};
  int32_t phase = -1, phase2 = -1;
  OK(bnn_sampler_new_with_gradients(ctx, o, x, 2, &a, &err));
  change(o);
  OK(bnn_sampler_new_with_gradients(ctx, o, y, 2, &b, &err));
  OK(bnn_sampler_get_params(a, x, 2, &err));
  OK(bnn_sampler_get_params(b, y, 2, &err));
  OK(bnn_sampler_set_schedule(a, ask, &sc, &err));
  sc.own = a;
  for (int i = 0; phase != BNN_PHASE_DONE; ++i) {
    OK(step(a, x, &phase, &err));
    OK(step(b, y, &phase2, &err));
    HOLDS(phase == phase2 && memcmp(x, y, sizeof x) == 0);
    HOLDS(sc.calls == i + 1 && sc.last == (uint64_t)i);
  }
  HOLDS(sc.refused == 3 * sc.calls && sc.at_one == sc.calls);
  IS(BNN_ERR_DONE, step(a, x, &phase, &err));
  bnn_sampler_free(a), bnn_sampler_free(b), bnn_options_free(o);
}

static void halved(bnn_options *o) {
  F64(o, "step_size", 0.125);
  F64(o, "temperature", 0.25);
}
static void line(bnn_options *o) {
  STR(o, "schedule", "linear");
  F64(o, "final_fraction", 0.25);
}
static void slower(bnn_options *o) {
  STR(o, "schedule", "constant");
  F64(o, "step_size", 0.125);
}

int main(void) {
  OK(bnn_context_new(1, &ctx, &err));
  equals("sgld", (struct schedule){.step_size = 0.5, .temperature = 0.25}, halved);
  equals("baoa", (struct schedule){.step_size = 1, .temperature = 1, .final_fraction = 0.25}, line);
  equals("vi", (struct schedule){.step_size = 0.5, .temperature = 1}, slower);

  /* It stops a step, gives nonsense, is taken away: the chain is as if nothing had been. */
  bnn_options *o = settings("baoa");
  bnn_sampler *a = NULL, *b = NULL;
  struct schedule sc = {.step_size = 1, .temperature = 1};
  float x[2] = {1, -1}, y[2] = {1, -1};
  int32_t phase = -1;
  OK(bnn_sampler_new_with_gradients(ctx, o, x, 2, &a, &err));
  OK(bnn_sampler_new_with_gradients(ctx, o, y, 2, &b, &err));
  OK(bnn_sampler_set_schedule(a, ask, &sc, &err));
  sc.stops = 1;
  IS(BNN_ERR_INTERRUPTED, step(a, x, &phase, &err));
  sc.stops = 0, sc.step_size = -1;
  IS(BNN_ERR_INVALID, step(a, x, &phase, &err));
  sc.step_size = 1, sc.temperature = NAN;
  IS(BNN_ERR_INVALID, step(a, x, &phase, &err));
  HOLDS(sc.last == 0 && phase == -1);
  sc.temperature = 1;
  OK(step(a, x, &phase, &err));
  OK(bnn_sampler_set_schedule(a, NULL, NULL, &err));
  OK(step(a, x, &phase, &err));
  HOLDS(sc.calls == 4);
  for (int i = 0; i < 2; ++i) OK(step(b, y, &phase, &err));
  HOLDS(memcmp(x, y, sizeof x) == 0);

  /* Freed by its own callback, the step is finished all the same. */
  OK(bnn_sampler_set_schedule(a, ask, &sc, &err));
  sc.own = a, sc.frees = 1;
  OK(step(a, x, &phase, &err));
  OK(step(b, y, &phase, &err));
  HOLDS(memcmp(x, y, sizeof x) == 0 && sc.own == NULL);
  bnn_sampler_free(b);

  /* Fits: vi's temperature is held, ekf and laplace have no schedule. */
  STR(o, "sampler", "ekf");
  OK(bnn_sampler_new_with_gradients(ctx, o, x, 2, &a, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_set_schedule(a, ask, &sc, &err));
  OK(bnn_sampler_set_schedule(a, NULL, NULL, &err));
  bnn_sampler_free(a);
  STR(o, "sampler", "vi");
  OK(bnn_sampler_new_with_gradients(ctx, o, x, 2, &a, &err));
  OK(bnn_sampler_set_schedule(a, ask, &sc, &err));
  sc.temperature = 0.5;
  IS(BNN_ERR_INVALID, step(a, x, &phase, &err));
  bnn_sampler_free(a);

  /* On a GPT's posterior: step numbers count the steps that estimate the mass. */
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_sampler *s[2] = {NULL, NULL};
  static float p[2][100000];
  size_t vocab = 0, n = 0, m = 0, t = 0;
  int32_t due;
  OK(bnn_corpus_embedded(&corpus, &err));
  OK(bnn_corpus_sizes(corpus, &vocab, &n, &m, &err));
  STR(o, "shape", "tiny");
  STR(o, "sampler", "sgld");
  U64(o, "n_layer", 1);
  U64(o, "batch_size", 2);
  U64(o, "preconditioner_steps", 2);
  F64(o, "step_size", 1e-4);
  OK(bnn_model_new(ctx, o, vocab, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_sampler_new(model, corpus, o, &s[0], &err));
  F64(o, "step_size", 0.5e-4);
  OK(bnn_sampler_new(model, corpus, o, &s[1], &err));
  sc = (struct schedule){.step_size = 0.5, .temperature = 1};
  OK(bnn_sampler_set_schedule(s[0], ask, &sc, &err));
  for (int i = 0; i < 12; ++i) {
    OK(bnn_sampler_step(s[0], &phase, &due, &err));
    OK(bnn_sampler_step(s[1], &phase, &due, &err));
    HOLDS(sc.last == (uint64_t)i && sc.calls == i + 1);
  }
  HOLDS(phase == BNN_PHASE_DONE);
  for (int i = 0; i < 2; ++i) OK(bnn_sampler_get_params(s[i], p[i], n, &err));
  HOLDS(memcmp(p[0], p[1], n * sizeof(float)) == 0);
  for (int i = 0; i < 2; ++i) bnn_sampler_free(s[i]);
  bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o), bnn_context_free(ctx);
  return finish();
}
