/* What calls made from the header share: live objects of each type, arrays, outputs that are looked at, and what must hold after a call. */
#include "check.h"

#include <unistd.h>

enum { ROOM = 8192, OUTS = 16 };
enum { PLAIN, NOTHING, OTHER, BAD_TEXT, SAME_PLACE, ZERO, ONE, HUGE_SIZE, LARGEST, ODD, NAN_NUMBER, INFINITE, NEGATIVE, CALLED };

static bnn_context *contexts;
static bnn_corpus *corpora;
static bnn_options *options_;
static bnn_model *models;
static bnn_report *reports;
static bnn_sampler *samplers, *on_gpt, *on_gradients;
static bnn_ensemble *ensembles;
static bnn_generator *generators;
static bnn_probe *probes;
static bnn_evaluator *evaluators;
static bnn_trainer *trainers;
static bnn_store *stores;

static size_t size = 4;
static float floats[ROOM];
static double doubles[ROOM];
static uint32_t tokens[ROOM];
static int32_t flags[ROOM];
static size_t lens[ROOM];
static const char *words[ROOM];
static const uint32_t *rows[ROOM];
static uint64_t outs[OUTS][ROOM];
static int n_outs;

/* Room for an output, filled with what no call writes. */
static void *place(int same) {
  uint64_t *at = outs[same ? 0 : n_outs];
  memset(at, 0xa5, sizeof outs[0]);
  return n_outs = same ? 1 : n_outs + 1, at;
}

static int untouched(const uint64_t *at) {
  for (size_t i = 0; i < ROOM; ++i)
    if (at[i] != UINT64_C(0xa5a5a5a5a5a5a5a5)) return 0;
  return 1;
}

/* How much does not hold after a call, whatever it was given. */
static int wrong(int how, int is_handle, int may_write, bnn_status status) {
  int n = 0;
  n += status < 0 || status > BNN_ERR_STATE || status == BNN_ERR_PANIC;
  n += status != BNN_OK && (err.code != status || err.message[0] == 0);
  /* The handle of another object is told from a right one. */
  n += how == OTHER && is_handle && status != BNN_ERR_INVALID;
  if (status != BNN_OK && status != BNN_ERR_TOO_SMALL && !may_write)
    for (int i = 0; i < n_outs; ++i) n += !untouched(outs[i]);
  return n;
}

static void judge(const char *name, int at, int how, int is_handle, int may_write, bnn_status status) {
  const int n = wrong(how, is_handle, may_write, status);
  if (n > 0) printf("%s, argument %d, way %d: status %d (%s)\n", name, at, how, (int)status, err.message);
  failures += n;
}

/* What is looked for is seen. */
static void sees(void) {
  place(0), place(0);
  memset(&err, 0, sizeof err);
  HOLDS(wrong(PLAIN, 0, 0, BNN_OK) == 0 && wrong(PLAIN, 0, 0, BNN_ERR_NULL) == 1 && wrong(PLAIN, 0, 0, 99) == 2);
  err.code = BNN_ERR_NULL, err.message[0] = 'x';
  HOLDS(wrong(PLAIN, 0, 0, BNN_ERR_NULL) == 0 && wrong(OTHER, 1, 0, BNN_ERR_NULL) == 1);
  outs[1][ROOM - 1] = 0;
  HOLDS(wrong(PLAIN, 0, 0, BNN_ERR_NULL) == 1 && wrong(PLAIN, 0, 1, BNN_ERR_NULL) == 0 && wrong(PLAIN, 0, 0, BNN_OK) == 0);
  n_outs = 0;
}

static int32_t goes_on(void) { return 1; }

static void begin(const char *folder) {
  bnn_options *o = NULL;
  if (chdir(folder) != 0) exit(2);
  sees();
  for (size_t i = 0; i < ROOM; ++i) {
    floats[i] = (float)(i % 7) / 64 - 0.03f, doubles[i] = (double)(i % 11) / 10, tokens[i] = (uint32_t)(i * i % 8), flags[i] = (int32_t)(i % 2), lens[i] = 1;
    words[i] = i % 2 ? "ab" : "b", rows[i] = tokens + i % 5;
  }
  static char text[2000];
  for (int i = 0; i < 2000; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_context_new(1, &contexts, &err));
  OK(bnn_corpus_from_text(text, sizeof text, &corpora, &err));
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1); U64(o, "n_embd", 4); U64(o, "n_head", 2); U64(o, "block_size", 4); U64(o, "batch_size", 2); U64(o, "baseline_iters", 5);
  U64(o, "warmup_steps", 3); U64(o, "sampling_steps", 400); U64(o, "thinning", 100); U64(o, "preconditioner_steps", 2); U64(o, "max_new_tokens", 5);
  options_ = o;
  size_t block = 0;
  OK(bnn_model_new(contexts, o, 8, &models, &err));
  OK(bnn_model_sizes(models, &size, &block, &err));
  OK(bnn_report_new(&reports, &err));
  OK(bnn_sampler_new(models, corpora, o, &on_gpt, &err));
  OK(bnn_sampler_new_with_gradients(contexts, o, floats, 5, &on_gradients, &err));
  OK(bnn_ensemble_new(models, &ensembles, &err));
  OK(bnn_ensemble_add(ensembles, floats, size, &err));
  OK(bnn_generator_new(ensembles, corpora, o, &generators, &err));
  OK(bnn_probe_new(models, corpora, BNN_SPLIT_VAL, 8, &probes, &err));
  OK(bnn_evaluator_new(models, &evaluators, &err));
  OK(bnn_trainer_new(models, corpora, o, BNN_START_FRESH, &trainers, &err));
  OK(bnn_store_new(models, corpora, o, "samples", 7, &stores, &err));
  OK(bnn_store_append(stores, 0, 1, floats, size, &err));
  HOLDS(size <= ROOM);
}

static void end(void) {
  /* What frees another type leaves an object alone. */
  bnn_model_free((void *)reports), bnn_report_free((void *)models), bnn_sampler_free((void *)stores);
  size_t n = 0;
  OK(bnn_report_count(reports, &n, &err));
  OK(bnn_store_len(stores, &n, &err));
  bnn_generator_free(generators), bnn_probe_free(probes), bnn_evaluator_free(evaluators), bnn_trainer_free(trainers), bnn_store_free(stores);
  bnn_ensemble_free(ensembles), bnn_sampler_free(on_gpt), bnn_sampler_free(on_gradients), bnn_report_free(reports), bnn_model_free(models);
  bnn_options_free(options_), bnn_corpus_free(corpora), bnn_context_free(contexts);
}
