/* The border: lengths that no memory holds, addresses that are not aligned, memory that was never written, and a process that was forked off. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

static bnn_context *context;
static bnn_corpus *corpus;
static bnn_options *options;
static bnn_model *model;
static bnn_ensemble *ensemble;
static bnn_sampler *sampler;

static void make(size_t threads) {
  OK(bnn_context_new(threads, &context, &err));
  OK(bnn_corpus_embedded(&corpus, &err));
  OK(bnn_options_new(&options, &err));
  U64(options, "n_layer", 1);
  U64(options, "n_head", 1);
  U64(options, "n_embd", 8);
  U64(options, "block_size", 8);
  U64(options, "batch_size", 2);
  STR(options, "preconditioner", "none");
  size_t vocab, train, val;
  OK(bnn_corpus_sizes(corpus, &vocab, &train, &val, &err));
  OK(bnn_model_new(context, options, vocab, &model, &err));
  OK(bnn_ensemble_new(model, &ensemble, &err));
  OK(bnn_sampler_new(model, corpus, options, &sampler, &err));
}

static void clear(void) {
  bnn_sampler_free(sampler), bnn_ensemble_free(ensemble), bnn_model_free(model), bnn_options_free(options);
  bnn_corpus_free(corpus), bnn_context_free(context);
}

/* In the forked process: everything of several threads is refused, what is the child's own works. Returns how many claims failed. */
static int in_the_child(bnn_status want) {
  int32_t phase, due;
  double loss;
  failures = 0;
  alarm(60);
  IS(want, bnn_sampler_step(sampler, &phase, &due, &err));
  IS(want, bnn_model_loss(model, corpus, BNN_SPLIT_VAL, &loss, &err));
  if (want != BNN_OK) HOLDS(strstr(err.message, "forked") != NULL);
  clear();
  make(2);
  OK(bnn_sampler_step(sampler, &phase, &due, &err));
  clear();
  return failures;
}

static void fork_with(size_t threads, bnn_status want) {
  int32_t phase, due;
  int status = -1;
  make(threads);
  OK(bnn_sampler_step(sampler, &phase, &due, &err));
  pid_t child = fork();
  if (child == 0) {
    int failed = in_the_child(want);
    fflush(stdout);
    _exit(failed != 0);
  }
  HOLDS(child > 0 && waitpid(child, &status, 0) == child);
  HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  /* The process that they belong to goes on. */
  OK(bnn_sampler_step(sampler, &phase, &due, &err));
  clear();
}

int main(void) {
  const size_t lengths[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 4 + 1};
  char text[64];
  size_t needed = 0, n, block;
  double number;
  float one[4] = {0, 0, 0, 0};
  uint32_t tokens[4] = {1, 2, 3, 4};
  double doubles[4] = {1, 2, 3, 4};
  setvbuf(stdout, NULL, _IONBF, 0);
  make(1);
  OK(bnn_model_sizes(model, &n, &block, &err));

  for (size_t i = 0; i < 4; ++i) {
    size_t huge = lengths[i];
    IS(BNN_ERR_INVALID, bnn_corpus_decode(corpus, tokens, huge, text, sizeof text, &needed, &err));
    IS(BNN_ERR_INVALID, bnn_model_set_params(model, one, huge, &err));
    IS(BNN_ERR_INVALID, bnn_ensemble_add(ensemble, one, huge, &err));
    IS(BNN_ERR_INVALID, bnn_model_get_params(model, one, huge, &err));
    IS(BNN_ERR_INVALID, bnn_sampler_get_params(sampler, one, huge, &err));
    IS(BNN_ERR_INVALID, bnn_ensemble_score(ensemble, tokens, huge, &number, NULL, NULL, &err));
    IS(BNN_ERR_INVALID, bnn_brier_score(doubles, tokens, huge, 1, &number, &err));
    IS(BNN_ERR_INVALID, bnn_calibration_error(doubles, (const int32_t *)tokens, huge, 3, &number, &err));
    HOLDS(strstr(err.message, "expected at most") != NULL);
  }
  IS(BNN_ERR_INVALID, bnn_corpus_from_text(text, SIZE_MAX - 1, &corpus, &err));
  /* Lengths that memory could hold are compared with the object's. */
  IS(BNN_ERR_SHAPE, bnn_model_set_params(model, one, 4, &err));

  /* Addresses between elements. */
  IS(BNN_ERR_INVALID, bnn_model_set_params(model, (const float *)((const char *)one + 1), n, &err));
  IS(BNN_ERR_INVALID, bnn_model_get_params(model, (float *)((char *)one + 2), n, &err));
  HOLDS(strstr(err.message, "multiple of 4") != NULL);
  IS(BNN_ERR_INVALID, bnn_corpus_decode(corpus, (const uint32_t *)((const char *)tokens + 1), 2, text, sizeof text, &needed, &err));
  IS(BNN_ERR_INVALID, bnn_model_loss(model, corpus, BNN_SPLIT_VAL, (double *)((char *)doubles + 4), &err));

  /* Memory that nobody has written (valgrind sees who reads it), and one that a failed call leaves as it is. */
  float *fresh = malloc(n * sizeof *fresh), kept = 7;
  OK(bnn_model_get_params(model, fresh, n, &err));
  OK(bnn_ensemble_add(ensemble, fresh, n, &err));
  IS(BNN_ERR_SHAPE, bnn_model_get_params(model, &kept, 1, &err));
  IS(BNN_ERR_SHAPE, bnn_sampler_get_params(sampler, &kept, 1, &err));
  HOLDS(kept == 7);
  double *scores = malloc(3 * sizeof *scores);
  OK(bnn_ensemble_score(ensemble, tokens, 4, scores, NULL, NULL, &err));
  HOLDS(scores[0] < 0 && scores[2] < 0);
  free(scores), free(fresh);
  clear();

  fork_with(2, BNN_ERR_UNSUPPORTED);
  fork_with(1, BNN_OK);
  return finish();
}
