/* A training loop of the caller's own, on tokens of the caller's own: the library gives gradients, this file steps by Nesterov's momentum.
 *
 *   cc -std=c99 -I include c_examples/own_training.c -L target/release -lbnn -o own_training
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./own_training [steps]
 */
#include "bnn.h"

#include <stdio.h>
#include <stdlib.h>

enum { V = 16, T = 16, B = 8, N = B * T };

static bnn_error err;

static void check(bnn_status status, const char *what) {
  if (status != BNN_OK) {
    fprintf(stderr, "%s: %s (%s)\n", what, err.message, bnn_status_name(status));
    exit(1);
  }
}

/* A language of 16 words in which each word has two that may follow. */
static uint32_t next_word(uint32_t word, uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (word * 5 + (*state >> 31) * 3 + 1) % V;
}

static void batch(uint32_t *x, uint32_t *y, uint32_t *state) {
  for (size_t b = 0; b < B; ++b) {
    uint32_t word = *state >> 28;
    for (size_t t = 0; t < T; ++t) {
      x[b * T + t] = word;
      word = y[b * T + t] = next_word(word, state);
    }
  }
}

int main(int argc, char **argv) {
  const int steps = argc > 1 ? atoi(argv[1]) : 300;
  bnn_context *context = NULL;
  bnn_options *options = NULL;
  bnn_model *model = NULL;
  bnn_evaluator *evaluator = NULL;
  uint32_t x[N], y[N], state = 7;
  size_t n = 0, done = 0;
  double mean = 0;

  /* Lengths of SIZE_MAX: a NUL ends the text. */
  check(bnn_context_new(0, &context, &err), "context");
  check(bnn_options_new(&options, &err), "options");
  check(bnn_options_set_text(options, "shape", SIZE_MAX, "tiny", SIZE_MAX, &err), "shape");
  check(bnn_options_set_text(options, "seed", SIZE_MAX, "3", SIZE_MAX, &err), "seed");
  check(bnn_model_new(context, options, V, &model, &err), "model");
  check(bnn_model_sizes(model, &n, NULL, &err), "sizes");
  check(bnn_evaluator_new(model, &evaluator, &err), "evaluator");

  float *theta = malloc(n * sizeof *theta), *grad = malloc(n * sizeof *grad), *velocity = calloc(n, sizeof *velocity);
  if (!theta || !grad || !velocity) return 1;
  check(bnn_model_get_params(model, theta, n, &err), "parameters");
  for (int step = 0; step < steps; ++step) {
    batch(x, y, &state);
    check(bnn_evaluator_gradient(evaluator, theta, n, x, y, B, T, 0, &mean, NULL, grad, &err), "gradient");
    for (size_t i = 0; i < n; ++i) {
      velocity[i] = 0.9f * velocity[i] - 0.1f * grad[i];
      theta[i] += 0.9f * velocity[i] - 0.1f * grad[i];
    }
    if (step == 0) printf("first loss %.4f\n", mean);
  }
  /* What the model knows of the language: the best there is to know is ln 2. */
  batch(x, y, &state);
  check(bnn_evaluator_loss(evaluator, theta, n, x, y, B, T, 0, &mean, NULL, &err), "loss");
  printf("last loss  %.4f\n", mean);

  /* From here on it is a model like any other: it is kept, sampled, and writes. */
  check(bnn_model_set_params(model, theta, n, &err), "parameters");
  bnn_ensemble *ensemble = NULL;
  bnn_generator *generator = NULL;
  uint32_t text[12];
  check(bnn_options_set_text(options, "max_new_tokens", SIZE_MAX, "12", SIZE_MAX, &err), "max_new_tokens");
  check(bnn_ensemble_new(model, &ensemble, &err), "ensemble");
  check(bnn_ensemble_add(ensemble, theta, n, &err), "sample");
  check(bnn_generator_new(ensemble, NULL, options, &generator, &err), "generator");
  check(bnn_generator_generate_tokens(generator, x, 4, options, 0, NULL, NULL, text, 12, &done, NULL, NULL, &err), "text");
  printf("words");
  for (size_t i = 0; i < done; ++i) printf(" %u", (unsigned)text[i]);
  printf("\n");

  free(theta), free(grad), free(velocity);
  bnn_generator_free(generator), bnn_ensemble_free(ensemble), bnn_evaluator_free(evaluator);
  bnn_model_free(model), bnn_options_free(options), bnn_context_free(context);
  return 0;
}
