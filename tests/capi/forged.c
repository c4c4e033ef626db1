/* Files whose checksums are right and whose content is not. Arguments: a folder; "make" writes the files that the test then forges, "read" reads
 * the forged ones. */
#include "check.h"
#include "files.h"

enum { N = 6 };
static bnn_context *ctx;
static bnn_corpus *corpus;
static bnn_options *o;
static bnn_model *model;
/* The message has the path. */
#define SAYS(name, words) HOLDS(strstr(err.message, in(name)) != NULL && strstr(err.message, words) != NULL)

static void vector_steps(bnn_sampler *s, int n) {
  float x[N], grad[N];
  int32_t phase = -1, due = -1;
  OK(bnn_sampler_get_params(s, x, N, &err));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < N; ++j) grad[j] = -x[j];
    OK(bnn_sampler_step_gradient(s, grad, N, -1.0, x, &phase, &due, &err));
  }
}

static void make(void) {
  static const float ZERO[N] = {0}, ONES[N] = {1, 1, 1, 1, 1, 1};
  static float params[20000];
  float at[N];
  bnn_sampler *s = NULL;
  bnn_sampler *v = NULL;
  bnn_store *store = NULL;
  size_t n = 0, t = 0;
  int32_t phase = -1, due = -1;
  OK(bnn_model_save(model, corpus, 3, PATH("model.bnn"), &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_model_get_params(model, params, n < 20000 ? n : 0, &err));
  OK(bnn_store_new(model, corpus, o, PATH("samples"), &store, &err));
  for (uint64_t i = 1; i < 4; ++i) {
    params[0] = (float)i;
    OK(bnn_store_append(store, 0, i, params, n, &err));
  }
  bnn_store_free(store);
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  for (int i = 0; i < 60; ++i) OK(bnn_sampler_step(s, &phase, &due, &err));
  OK(bnn_sampler_save(s, PATH("chain.bnn"), &err));
  bnn_sampler_free(s);
  OK(bnn_sampler_new_with_gradients(ctx, o, ONES, N, &v, &err));
  vector_steps(v, 60);
  OK(bnn_sampler_save(v, PATH("vector.bnn"), &err));
  bnn_sampler_free(v), v = NULL;
  UNSET(o, "auto_step");
  STR(o, "sampler", "laplace");
  OK(bnn_sampler_new_with_gradients(ctx, o, ONES, N, &v, &err));
  OK(bnn_sampler_step_squares(v, ZERO, ONES, N, -1.0, at, &phase, &due, &err));
  OK(bnn_sampler_save(v, PATH("laplace.bnn"), &err));
  bnn_sampler_free(v);
}

static void forged_models(void) {
  bnn_model *none = NULL;
#define LOAD(want, name, words) IS(want, bnn_model_load(ctx, NULL, PATH(name), &none, &err)); SAYS(name, words)
  LOAD(BNN_ERR_BAD_HEADER, "length.bnn", "parameters, expected");
  LOAD(BNN_ERR_BAD_HEADER, "vocabulary.bnn", "7 characters, expected 8");
  LOAD(BNN_ERR_BAD_HEADER, "json.bnn", "model: ");
  LOAD(BNN_ERR_BAD_HEADER, "heads.bnn", "n_head");
  LOAD(BNN_ERR_MISMATCH, "name.bnn", "params");
  LOAD(BNN_ERR_BAD_HEADER, "type.bnn", "8 parameters");
  LOAD(BNN_ERR_DATA, "nan_model.bnn", "finite");
  HOLDS(none == NULL);
}

static void forged_states(void) {
  bnn_sampler *s = NULL;
  bnn_sampler *v = NULL;
#define CHAIN(want, name, words) IS(want, bnn_sampler_load(model, corpus, o, PATH(name), &s, &err)); SAYS(name, words)
#define VECTOR(want, n, name, words) IS(want, bnn_sampler_load_with_gradients(ctx, o, n, PATH(name), &v, &err)); SAYS(name, words)
  CHAIN(BNN_ERR_DATA, "nan_chain.bnn", "finite");
  CHAIN(BNN_ERR_MISMATCH, "no_search_chain.bnn", "search");
  CHAIN(BNN_ERR_BAD_HEADER, "means.bnn", "running means");
  CHAIN(BNN_ERR_BAD_HEADER, "counter.bnn", "steps in all");
  VECTOR(BNN_ERR_DATA, N, "nan_vector.bnn", "finite");
  VECTOR(BNN_ERR_MISMATCH, N, "no_search_vector.bnn", "search");
  HOLDS(s == NULL);
  OK(bnn_sampler_load(model, corpus, o, PATH("chain.bnn"), &s, &err));
  OK(bnn_sampler_load_with_gradients(ctx, o, N, PATH("vector.bnn"), &v, &err));
  bnn_sampler_free(s), bnn_sampler_free(v), v = NULL;
  /* Another number of parameters, also one that no memory holds. */
  static const size_t OTHER[5] = {0, N - 1, N + 1, (size_t)1 << 50, SIZE_MAX};
  for (int i = 0; i < 5; ++i) { VECTOR(BNN_ERR_SHAPE, OTHER[i], "vector.bnn", "params"); }
  UNSET(o, "auto_step");
  STR(o, "sampler", "laplace");
  for (int i = 0; i < 5; ++i) { VECTOR(BNN_ERR_SHAPE, OTHER[i], "laplace.bnn", "params"); }
  HOLDS(v == NULL);
  OK(bnn_sampler_load_with_gradients(ctx, o, N, PATH("laplace.bnn"), &v, &err));
  bnn_sampler_free(v);
}

static void forged_samples(void) {
  static float params[20000];
  bnn_store *store = NULL;
  size_t n = 0, t = 0;
  uint32_t chain = 77;
  uint64_t step = 77;
  char other[1024];
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_store_open(model, corpus, PATH("samples"), &store, &err));
  IS(BNN_ERR_DATA, bnn_store_get(store, 0, &chain, &step, params, n, &err));
  SAYS("samples/c00_s00000001.bnn", "finite");
  OK(bnn_store_get(store, 1, &chain, &step, params, n, &err));
  HOLDS(chain == 0 && step == 2 && params[0] == 2);
  /* Another sample's file in its place since the store was opened. */
  snprintf(other, sizeof other, "%s", in("samples/c00_s00000003.bnn"));
  HOLDS(rename(other, in("samples/c00_s00000002.bnn")) == 0);
  IS(BNN_ERR_MISMATCH, bnn_store_get(store, 1, &chain, &step, params, n, &err));
  SAYS("samples/c00_s00000002.bnn", "c00_s00000003");
  HOLDS(step == 2 && params[0] == 2);
  bnn_store_free(store);
}

/* A chain that has left all numbers is not saved, and what was saved before stays. */
static void diverged(void) {
  float x[N] = {1e30f, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f}, grad[N];
  bnn_options *far = NULL;
  bnn_sampler *s = NULL, *again = NULL;
  int32_t phase = -1, due = -1;
  bnn_status made = BNN_OK;
  OK(bnn_options_new(&far, &err));
  STR(far, "sampler", "sgld");
  F64(far, "step_size", 1e30);
  OK(bnn_sampler_new_with_gradients(ctx, far, x, N, &s, &err));
  OK(bnn_sampler_save(s, PATH("far.bnn"), &err));
  for (int i = 0; i < 3 && made == BNN_OK; ++i) {
    for (int j = 0; j < N; ++j) grad[j] = -1e30f;
    made = bnn_sampler_step_gradient(s, grad, N, -1.0, x, &phase, &due, &err);
  }
  HOLDS(made == BNN_ERR_NOT_FINITE);
  IS(BNN_ERR_NOT_FINITE, bnn_sampler_save(s, PATH("far.bnn"), &err));
  OK(bnn_sampler_load_with_gradients(ctx, far, N, PATH("far.bnn"), &again, &err));
  bnn_sampler_free(s), bnn_sampler_free(again), bnn_options_free(far);
}

int main(int argc, char **argv) {
  static char text[1201];
  HOLDS(argc > 2);
  folder = argv[1];
  for (int i = 0; i < 1200; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_corpus_from_text(text, 1200, &corpus, &err));
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "n_head", 4);
  U64(o, "n_embd", 8);
  U64(o, "block_size", 8);
  U64(o, "batch_size", 3);
  U64(o, "preconditioner_steps", 2);
  U64(o, "warmup_steps", 50);
  U64(o, "sampling_steps", 40);
  U64(o, "temperature_every", 1);
  U64(o, "auto_step", 1);
  F64(o, "step_size", 1e-3);
  F64(o, "num_data", 100.0);
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  if (!strcmp(argv[2], "make"))
    make();
  else
    forged_models(), forged_states(), forged_samples(), diverged();
  bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o), bnn_context_free(ctx);
  return finish();
}
