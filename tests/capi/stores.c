/* Samples and models on disk. Arguments: a folder to work in; or a folder with the command's baseline.bnn and run/samples, of the model of
 * that baseline on the embedded play, to read them, and then to write samples of our own to run/samples. */
#include "rows.h"
#include "files.h"

static bnn_context *ctx;

/* Seven samples of chain 0 and two of chain 5, thinned twice: which are left, in memory and in the folder. */
static void thinned(const bnn_model *model, const bnn_corpus *corpus, const float *params, size_t n) {
  static float got[20000];
  bnn_store *s = NULL, *again = NULL;
  size_t k = 0, deleted = 77;
  uint32_t chain = 77;
  uint64_t step = 77;
  OK(bnn_store_new(model, corpus, NULL, PATH("thinned"), &s, &err));
  for (uint64_t i = 1; i < 8; ++i) OK(bnn_store_append(s, 0, i, params, n, &err));
  for (uint64_t i = 1; i < 3; ++i) OK(bnn_store_append(s, 5, i, params, n, &err));
  IS(BNN_ERR_INVALID, bnn_store_keep_every(s, 0, &deleted, &err));
  IS(BNN_ERR_NULL, bnn_store_keep_last(NULL, 2, &deleted, &err));
  HOLDS(deleted == 77);
  size_t used[9] = {77, 77, 77, 77}, needed = 77;
  OK(bnn_store_spread(s, 3, used, 9, &needed, &err)); /* the fourth and the last of chain 0, the last of chain 5 */
  HOLDS(needed == 3 && used[0] == 3 && used[1] == 6 && used[2] == 8 && used[3] == 77);
  IS(BNN_ERR_TOO_SMALL, bnn_store_spread(s, 0, used, 8, &needed, &err));
  HOLDS(needed == 9 && used[0] == 3);
  OK(bnn_store_spread(s, 0, used, 9, &needed, &err));
  for (size_t i = 0; i < 9; ++i) HOLDS(used[i] == i);
  IS(BNN_ERR_NULL, bnn_store_spread(NULL, 0, used, 9, &needed, &err));
  OK(bnn_store_spread(s, 0, used, 9, NULL, &err));
  OK(bnn_store_keep_every(s, 2, &deleted, &err)); /* steps 1, 3, 5, 7 and 1 are left */
  HOLDS(deleted == 4);
  OK(bnn_store_keep_last(s, 3, &deleted, &err)); /* steps 3, 5, 7 and 1 */
  HOLDS(deleted == 1);
  OK(bnn_store_open(model, corpus, PATH("thinned"), &again, &err));
  for (int j = 0; j < 2; ++j) {
    static const uint64_t LEFT[4] = {3, 5, 7, 1};
    OK(bnn_store_len(j ? again : s, &k, &err));
    HOLDS(k == 4);
    for (size_t i = 0; i < 4; ++i) {
      OK(bnn_store_get(j ? again : s, i, &chain, &step, got, n, &err));
      HOLDS(step == LEFT[i] && chain == (i < 3 ? 0u : 5u));
    }
  }
  OK(bnn_store_verify(s, &err));
  damage(in("thinned/c00_s00000005.bnn"));
  IS(BNN_ERR_BAD_CHECKSUM, bnn_store_verify(s, &err));
  HOLDS(strstr(err.message, "c00_s00000005.bnn") != NULL);
  IS(BNN_ERR_NULL, bnn_store_verify(NULL, &err));
  OK(bnn_store_keep_last(s, 0, &deleted, &err));
  HOLDS(deleted == 4);
  OK(bnn_store_verify(s, &err)); /* of none */
  bnn_store_free(s), bnn_store_free(again);
}

/* The samples of a folder, held or read when they are used, predict and write as those that were added one by one. */
static void streamed(const bnn_model *model, const bnn_store *s, const char *path, size_t n) {
  static float params[20000];
  static uint32_t tokens[20];
  double lp[2][19], h[2][19], mi[2][19];
  char written[2][200];
  size_t len[2], added = 0, total = 0;
  bnn_ensemble *by_hand = NULL, *of_files = NULL;
  for (uint32_t i = 0; i < 20; ++i) tokens[i] = i * i % 8;
  OK(bnn_ensemble_new(model, &by_hand, &err));
  for (int twice = 0; twice < 2; ++twice)
    for (size_t i = 0; i < 3; ++i) {
      OK(bnn_store_get(s, i, NULL, NULL, params, n, &err));
      OK(bnn_ensemble_add(by_hand, params, n, &err));
    }
  for (size_t held = 0; held < 5; held += 2) { /* none, two of three, all of them and more */
    bnn_ensemble *both[2] = {by_hand, NULL};
    OK(bnn_ensemble_new(model, &of_files, &err));
    OK(bnn_ensemble_add_stored(of_files, path, strlen(path), 0, held * n * 4, &added, &err));
    OK(bnn_ensemble_add_stored(of_files, path, strlen(path), 3, held * n * 4 + 3, NULL, &err));
    OK(bnn_ensemble_len(of_files, &total, &err));
    HOLDS(added == 3 && total == 6);
    both[1] = of_files;
    for (int i = 0; i < 2; ++i) {
      bnn_generator *g = NULL;
      OK(bnn_ensemble_score(both[i], tokens, 20, lp[i], h[i], mi[i], &err));
      OK(bnn_generator_new(both[i], NULL, NULL, &g, &err));
      IS(BNN_ERR_TOO_SMALL, bnn_generator_generate_tokens(g, tokens, 3, NULL, 0, NULL, NULL, NULL, 0, &len[i], NULL, NULL, &err));
      uint32_t *all = malloc(len[i] * sizeof *all);
      OK(bnn_generator_tokens(g, 0, all, len[i], &len[i], &err));
      memset(written[i], 0, sizeof written[i]);
      for (size_t t = 0; t < len[i] && t < 199; ++t) written[i][t] = (char)('a' + all[t]);
      free(all), bnn_generator_free(g);
    }
    HOLDS(memcmp(lp[0], lp[1], sizeof lp[0]) == 0 && memcmp(h[0], h[1], sizeof h[0]) == 0 && memcmp(mi[0], mi[1], sizeof mi[0]) == 0);
    HOLDS(len[0] == len[1] && len[0] > 0 && strcmp(written[0], written[1]) == 0);
    bnn_ensemble_free(of_files), of_files = NULL;
  }
  OK(bnn_ensemble_new(model, &of_files, &err));
  OK(bnn_ensemble_add_stored(of_files, path, strlen(path), 2, 0, &added, &err));
  HOLDS(added == 2);
  IS(BNN_ERR_NULL, bnn_ensemble_add_stored(NULL, path, strlen(path), 0, 0, &added, &err));
  IS(BNN_ERR_NULL, bnn_ensemble_add_stored(of_files, NULL, 3, 0, 0, &added, &err));
  IS(BNN_ERR_IO, bnn_ensemble_add_stored(of_files, "nowhere", 7, 0, 0, &added, &err));
  bnn_ensemble_free(of_files), bnn_ensemble_free(by_hand);
}

static void samples(void) {
  static float params[20000], out[20000];
  bnn_options *o = NULL;
  bnn_corpus *corpus = letters("abcdefgh"), *other = letters("abcdefgx"), *reordered = letters("hgfedcba");
  bnn_model *model = NULL, *wider = NULL, *untied = NULL;
  bnn_store *s = NULL, *again = NULL, *none = NULL;
  size_t n = 0, t = 0, k = 77, m = 0;
  uint32_t chain = 77;
  uint64_t step = 77;
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "n_embd", 8);
  U64(o, "block_size", 8);
  U64(o, "seed", 5);
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_model_get_params(model, params, n, &err));
  IS(BNN_ERR_IO, bnn_store_open(model, corpus, PATH("samples"), &none, &err));
  OK(bnn_store_new(model, corpus, o, PATH("samples"), &s, &err));
  OK(bnn_store_len(s, &k, &err));
  HOLDS(k == 0);
  IS(BNN_ERR_DATA, bnn_store_open(model, corpus, PATH("samples"), &none, &err));
  IS(BNN_ERR_INVALID, bnn_store_get(s, 0, &chain, &step, out, n, &err));
  /* In the order of chains and steps, whatever the order in which they came. */
  params[0] = 2;
  OK(bnn_store_append(s, 1, 20, params, n, &err));
  params[0] = 0.5f;
  OK(bnn_store_append(s, 0, 300, params, n, &err));
  params[0] = 1;
  OK(bnn_store_append(s, 0, 20, params, n, &err));
  OK(bnn_store_append(s, 0, 20, params, n, &err)); /* it is there */
  params[0] = 3;
  IS(BNN_ERR_MISMATCH, bnn_store_append(s, 0, 20, params, n, &err));
  IS(BNN_ERR_SHAPE, bnn_store_append(s, 2, 20, params, n - 1, &err));
  params[0] = NAN;
  IS(BNN_ERR_NOT_FINITE, bnn_store_append(s, 2, 20, params, n, &err));
  IS(BNN_ERR_NULL, bnn_store_append(s, 2, 20, NULL, n, &err));
  IS(BNN_ERR_NULL, bnn_store_append(NULL, 2, 20, params, n, &err));
  OK(bnn_store_len(s, &k, &err));
  HOLDS(k == 3);
  OK(bnn_store_len(s, NULL, &err));
  bnn_store_free(s), bnn_store_free(NULL), s = NULL;
  OK(bnn_store_open(model, corpus, PATH("samples"), &s, &err));
  static const float FIRST[3] = {1, 0.5f, 2};
  static const uint32_t CHAIN[3] = {0, 0, 1};
  static const uint64_t STEP[3] = {20, 300, 20};
  for (size_t i = 0; i < 3; ++i) {
    OK(bnn_store_get(s, i, &chain, &step, out, n, &err));
    params[0] = FIRST[i];
    HOLDS(chain == CHAIN[i] && step == STEP[i] && memcmp(out, params, n * sizeof *out) == 0);
  }
  IS(BNN_ERR_INVALID, bnn_store_get(s, 3, &chain, &step, out, n, &err));
  IS(BNN_ERR_SHAPE, bnn_store_get(s, 0, &chain, &step, out, n + 1, &err));
  OK(bnn_store_get(s, 0, NULL, &step, out, n, &err));
  IS(BNN_ERR_NULL, bnn_store_get(s, 0, &chain, &step, NULL, n, &err));
  IS(BNN_ERR_NULL, bnn_store_get(NULL, 0, &chain, &step, out, n, &err));
  IS(BNN_ERR_NULL, bnn_store_open(model, corpus, PATH("samples"), NULL, &err));
  IS(BNN_ERR_MISMATCH, bnn_store_new(model, NULL, o, PATH("samples"), &none, &err)); /* those are of a text */
  IS(BNN_ERR_NULL, bnn_store_new(NULL, corpus, o, PATH("samples"), &none, &err));
  IS(BNN_ERR_INVALID, bnn_store_open(model, corpus, "\xff", 1, &none, &err));
  streamed(model, s, in("samples"), n);

  /* Of something else: another text, characters, shape, seed, type, baseline. */
  IS(BNN_ERR_INVALID, bnn_store_open(model, other, PATH("samples"), &none, &err));
  IS(BNN_ERR_MISMATCH, bnn_store_open(model, reordered, PATH("samples"), &none, &err));
  U64(o, "n_embd", 16);
  OK(bnn_model_new(ctx, o, 8, &wider, &err));
  IS(BNN_ERR_MISMATCH, bnn_store_open(wider, corpus, PATH("samples"), &none, &err));
  HOLDS(strstr(err.message, "model") != NULL);
#define AGAIN(want) IS(want, bnn_store_new(model, corpus, o, PATH("samples"), &none, &err))
  U64(o, "seed", 6);
  AGAIN(BNN_ERR_MISMATCH);
  U64(o, "seed", 5);
  STR(o, "sample_dtype", "bf16");
  AGAIN(BNN_ERR_MISMATCH);
  UNSET(o, "sample_dtype");
  OK(bnn_model_get_params(model, out, n, &err));
  float kept = out[1];
  out[1] += 1;
  OK(bnn_model_set_params(model, out, n, &err));
  AGAIN(BNN_ERR_MISMATCH);
  HOLDS(strstr(err.message, "baseline") != NULL && none == NULL);
  out[1] = kept;
  OK(bnn_model_set_params(model, out, n, &err));
  OK(bnn_store_new(model, corpus, o, PATH("samples"), &again, &err));
  OK(bnn_store_len(again, &k, &err));
  HOLDS(k == 3);
  bnn_store_free(again), again = NULL;

  params[0] = 1;
  thinned(model, corpus, params, n);

  /* bf16: rounded. An untied head that is the embedding's still has the tied model's baseline. */
  STR(o, "sample_dtype", "bf16");
  OK(bnn_model_untie(model, &untied, &err));
  OK(bnn_model_sizes(untied, &m, &t, &err));
  OK(bnn_model_get_params(untied, params, m, &err));
  params[0] = 1.00390625f; /* 1 + 2^-8: between two bf16s */
  OK(bnn_store_new(untied, corpus, o, PATH("rounded"), &again, &err));
  OK(bnn_store_append(again, 0, 1, params, m, &err));
  OK(bnn_store_get(again, 0, &chain, &step, out, m, &err));
  HOLDS(out[0] == 1.0f && step == 1);
  params[0] = 3.4e38f; /* rounds to infinity */
  IS(BNN_ERR_INVALID, bnn_store_append(again, 0, 2, params, m, &err));
  OK(bnn_store_len(again, &k, &err));
  HOLDS(k == 1);
  /* What is damaged is found when it is read. */
  damage(in("samples/c00_s00000300.bnn"));
  OK(bnn_store_get(s, 0, &chain, &step, out, n, &err));
  params[0] = 1;
  IS(BNN_ERR_BAD_CHECKSUM, bnn_store_get(s, 1, &chain, &step, out, n, &err));
  HOLDS(memcmp(out, params, n * sizeof *out) == 0); /* untouched on failure */
  damage(in("samples/c00_s00000300.bnn"));
  OK(bnn_store_get(s, 1, &chain, &step, out, n, &err));
  HOLDS(chain == 0 && step == 300 && out[0] == 0.5f);

  /* The model in a file: its shape, parameters and characters. */
  bnn_model *read = NULL;
  double loss = 0, same = 1;
  OK(bnn_model_save(model, corpus, 9, PATH("model.bnn"), &err));
  OK(bnn_model_load(ctx, NULL, PATH("model.bnn"), &read, &err));
  OK(bnn_model_loss(model, corpus, BNN_SPLIT_VAL, &loss, &err));
  OK(bnn_model_loss(read, corpus, BNN_SPLIT_VAL, &same, &err));
  HOLDS(loss == same);
  bnn_model_free(read), read = NULL;
  OK(bnn_model_load(ctx, o, PATH("model.bnn"), &read, &err));
  IS(BNN_ERR_INVALID, bnn_model_loss(read, other, BNN_SPLIT_VAL, &same, &err)); /* the file says which characters */
  bnn_model_free(read), read = NULL;
  IS(BNN_ERR_INVALID, bnn_model_save(model, other, 9, PATH("model.bnn"), &err));
  IS(BNN_ERR_IO, bnn_model_save(model, corpus, 9, "/no/such/folder/model.bnn", 25, &err));
  IS(BNN_ERR_NULL, bnn_model_save(NULL, corpus, 9, PATH("model.bnn"), &err));
  IS(BNN_ERR_IO, bnn_model_load(ctx, NULL, PATH("none.bnn"), &read, &err));
  IS(BNN_ERR_NULL, bnn_model_load(NULL, NULL, PATH("model.bnn"), &read, &err));
  IS(BNN_ERR_NULL, bnn_model_load(ctx, NULL, PATH("model.bnn"), NULL, &err));
  IS(BNN_ERR_MISMATCH, bnn_model_load(ctx, NULL, PATH("samples/c00_s00000020.bnn"), &read, &err));
  damage(in("model.bnn"));
  IS(BNN_ERR_BAD_CHECKSUM, bnn_model_load(ctx, NULL, PATH("model.bnn"), &read, &err));
  HOLDS(read == NULL);
  damage(in("model.bnn"));

  /* Parents first. */
  bnn_model_free(model), bnn_model_free(wider), bnn_model_free(untied);
  bnn_corpus_free(corpus), bnn_corpus_free(other), bnn_corpus_free(reordered), bnn_options_free(o);
  OK(bnn_store_append(s, 3, 7, params, n, &err));
  bnn_store_free(s), bnn_store_free(again);
}

/* The command's samples read and scored; then as many of our own in their place. */
static void run(void) {
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_store *s = NULL;
  bnn_ensemble *e = NULL;
  bnn_options *o = NULL;
  bnn_sampler *chain = NULL;
  size_t n = 0, t = 0, k = 0;
  uint32_t of = 0;
  uint64_t step = 0;
  bnn_report *r = NULL;
  OK(bnn_report_new(&r, &err));
  OK(bnn_corpus_embedded(&corpus, &err));
  OK(bnn_model_load(ctx, NULL, PATH("baseline.bnn"), &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  float *params = malloc(n * sizeof *params);
  HOLDS(params != NULL);
  if (!params) return;
  OK(bnn_store_open(model, corpus, PATH("run/samples"), &s, &err));
  OK(bnn_store_len(s, &k, &err));
  OK(bnn_ensemble_new(model, &e, &err));
  for (size_t i = 0; i < k; ++i) {
    OK(bnn_store_get(s, i, &of, &step, params, n, &err));
    OK(bnn_ensemble_add(e, params, n, &err));
  }
#define SHOW(what) \
  OK(bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, NULL, NULL, r, &err)); \
  printf(what " %.17g %.17g %.17g %.17g %.17g %.17g %.17g\n", ROW(r, "loss"), ROW(r, "loss_mean"), ROW(r, "entropy.mean"), ROW(r, "mutual_information.mean"), \
         ROW(r, "ece"), ROW(r, "brier"), ROW(r, "accuracy"))
  SHOW("theirs");
  bnn_store_free(s), bnn_ensemble_free(e);
  for (; k > 0; --k) { /* the last sample's name is that of the chain and its step */
    OK(bnn_store_open(model, corpus, PATH("run/samples"), &s, &err));
    OK(bnn_store_get(s, k - 1, &of, &step, params, n, &err));
    char name[64];
    snprintf(name, sizeof name, "run/samples/c%02u_s%08u.bnn", (unsigned)of, (unsigned)step);
    HOLDS(remove(in(name)) == 0);
    bnn_store_free(s);
  }
  OK(bnn_options_new(&o, &err));
  U64(o, "seed", 1);
  U64(o, "warmup_steps", 5);
  U64(o, "sampling_steps", 9);
  U64(o, "thinning", 3);
  U64(o, "preconditioner_steps", 4);
  U64(o, "batch_size", 4);
  OK(bnn_store_new(model, corpus, o, PATH("run/samples"), &s, &err));
  OK(bnn_ensemble_new(model, &e, &err));
  for (uint64_t c = 0; c < 2; ++c) {
    int32_t phase = -1, due = 0;
    U64(o, "chain", c);
    OK(bnn_sampler_new(model, corpus, o, &chain, &err));
    while (phase != BNN_PHASE_DONE) {
      double a;
      OK(bnn_sampler_step(chain, &phase, &due, &err));
      if (!due) continue;
      OK(last_step(chain, &step, &a, &a, &a, &a, &a, &err));
      OK(bnn_sampler_get_params(chain, params, n, &err));
      OK(bnn_store_append(s, (uint32_t)c, step + 1, params, n, &err));
      OK(bnn_ensemble_add(e, params, n, &err));
    }
    bnn_sampler_free(chain);
  }
  SHOW("ours");
  OK(bnn_model_save(model, corpus, 40, PATH("saved.bnn"), &err));
  free(params);
  bnn_store_free(s), bnn_ensemble_free(e), bnn_options_free(o), bnn_model_free(model), bnn_corpus_free(corpus);
}

int main(int argc, char **argv) {
  HOLDS(argc > 1);
  OK(bnn_context_new(1, &ctx, &err));
  folder = argv[argc > 2 ? 2 : 1];
  if (argc > 2)
    run();
  else
    samples();
  bnn_context_free(ctx);
  return finish();
}
