/* Several texts in one call: each the same bytes as alone; what is wrong with one prompt is said of that one. */
#include "check.h"

enum { B = 5, ROOM = 4096 };
/* Two characters of two bytes each are in the text, so bytes and characters differ. */
static const char *PROMPTS[B] = {"a", "bcd\xc3\xa9", "abcdefghabcdefgh", "\xc3\xbc", "hgf"};
static size_t lens[B];

static bnn_generator *generator = NULL;

typedef struct { size_t prompt; uint32_t token; double h, mi, lp; } seen;
typedef struct { seen all[2000]; size_t n, ends_after[B], made[B]; int refused; } watcher;

static int32_t watch(void *user_data, size_t prompt, uint32_t token, double h, double mi, double lp) {
  watcher *w = user_data;
  seen s = {prompt, token, h, mi, lp};
  if (w->n < 2000) w->all[w->n++] = s;
  return ++w->made[prompt] != w->ends_after[prompt];
}

static int32_t watch_one(void *user_data, uint32_t token, double h, double mi, double lp) {
  return watch(user_data, 0, token, h, mi, lp);
}

static int32_t inside(void *user_data, size_t prompt, uint32_t token, double h, double mi, double lp) {
  static char c[64];
  size_t needed, offsets[2];
  double a, b;
  (void)prompt, (void)token, (void)h, (void)mi, (void)lp;
  const char *p[1] = {"a"};
  size_t len[1] = {1};
  *(int *)user_data += bnn_generator_generate_batch(generator, p, len, 1, NULL, 0, NULL, NULL, c, sizeof c, &needed, offsets, &a, &b, NULL) == BNN_ERR_BUSY;
  return 0;
}

static int32_t frees(void *user_data, size_t prompt, uint32_t token, double h, double mi, double lp) {
  (void)prompt, (void)token, (void)h, (void)mi, (void)lp;
  bnn_generator **g = user_data;
  bnn_generator_free(*g);
  *g = NULL;
  return 1;
}

/* Every text of the batch against the same call for it alone, tokens and their numbers included. */
static void same_as_alone(const bnn_options *o, uint64_t first, const size_t *ends_after) {
  static char together[ROOM], alone[ROOM];
  static watcher all, one;
  size_t needed = 0, len = 0, offsets[B + 1], total = 0;
  double h[B], mi[B], a, b;
  memset(&all, 0, sizeof all);
  memcpy(all.ends_after, ends_after, sizeof all.ends_after);
  OK(bnn_generator_generate_batch(generator, PROMPTS, lens, B, o, first, watch, &all, together, ROOM, &needed, offsets, h, mi, &err));
  HOLDS(offsets[0] == 0 && offsets[B] == needed);
  for (size_t i = 0; i < B; ++i) {
    memset(&one, 0, sizeof one);
    one.ends_after[0] = ends_after[i];
    OK(bnn_generator_generate(generator, PROMPTS[i], lens[i], o, first + i, watch_one, &one, alone, ROOM, &len, &a, &b, &err));
    HOLDS(offsets[i + 1] - offsets[i] == len && memcmp(together + offsets[i], alone, len) == 0);
    HOLDS(h[i] == a && mi[i] == b);
    HOLDS(ends_after[i] == 0 || one.n == ends_after[i]);
    size_t k = 0;
    for (size_t j = 0; j < all.n; ++j) {
      if (all.all[j].prompt != i) continue;
      HOLDS(k < one.n && all.all[j].token == one.all[k].token && all.all[j].h == one.all[k].h);
      HOLDS(k < one.n && all.all[j].mi == one.all[k].mi && all.all[j].lp == one.all[k].lp);
      ++k;
    }
    HOLDS(k == one.n);
    total += k;
  }
  HOLDS(total == all.n);
  /* First tokens first, by prompt. */
  for (size_t j = 0; j < B; ++j) HOLDS(all.all[j].prompt == j);
}

static void refused(const bnn_options *o) {
  static char c[ROOM];
  size_t needed = 77, offsets[3] = {7, 7, 7}, two[2] = {2, 2};
  double h[2] = {7, 7}, mi[2] = {7, 7};
  const char *p[2] = {"ab", "cd"};
#define BATCH(want, g, p, l, n, needed, offsets, h, mi) \
  IS(want, bnn_generator_generate_batch(g, p, l, n, o, 0, NULL, NULL, c, ROOM, needed, offsets, h, mi, &err))
#define NAMES(text) HOLDS(strstr(err.message, text) != NULL)
  BATCH(BNN_ERR_NULL, NULL, p, two, 2, &needed, offsets, h, mi);
  BATCH(BNN_ERR_NULL, generator, NULL, two, 2, &needed, offsets, h, mi);
  NAMES("prompts");
  BATCH(BNN_ERR_INVALID, generator, p, two, SIZE_MAX, &needed, offsets, h, mi);
  p[1] = NULL;
  BATCH(BNN_ERR_NULL, generator, p, two, 2, &needed, offsets, h, mi);
  NAMES("prompt 1");
  p[1] = "cd", two[1] = 0;
  BATCH(BNN_ERR_INVALID, generator, p, two, 2, &needed, offsets, h, mi);
  NAMES("prompt 1");
  p[1] = "c!", two[1] = 2;
  BATCH(BNN_ERR_DATA, generator, p, two, 2, &needed, offsets, h, mi);
  NAMES("prompt 1: character 1");
  p[1] = "\xff\xfe";
  BATCH(BNN_ERR_INVALID, generator, p, two, 2, &needed, offsets, h, mi);
  NAMES("prompt 1");
  p[1] = "cd";
  HOLDS(needed == 77 && offsets[0] == 7 && offsets[2] == 7 && h[1] == 7 && mi[1] == 7);
  /* Too small says how much it takes, and leaves the rest. */
  IS(BNN_ERR_TOO_SMALL, bnn_generator_generate_batch(generator, p, two, 2, o, 0, NULL, NULL, c, 3, &needed, offsets, h, mi, &err));
  HOLDS(needed > 3 && offsets[0] == 7 && h[0] == 7 && mi[0] == 7);
  size_t then = needed;
  IS(BNN_ERR_TOO_SMALL, bnn_generator_generate_batch(generator, p, two, 2, o, 0, NULL, NULL, NULL, 0, &needed, offsets, h, mi, &err));
  OK(bnn_generator_generate_batch(generator, p, two, 2, o, 0, NULL, NULL, c, then, &needed, offsets, h, mi, &err));
  HOLDS(needed == then && offsets[0] == 0 && offsets[2] == then && h[0] != 7);
  /* Nothing asked for, nothing written; the buffers of no texts may be NULL. */
  OK(bnn_generator_generate_batch(generator, NULL, NULL, 0, o, 0, NULL, NULL, NULL, 0, &needed, offsets, NULL, NULL, &err));
  HOLDS(needed == 0 && offsets[0] == 0 && offsets[2] == then);
  OK(bnn_generator_generate_batch(generator, p, two, 2, o, 0, NULL, NULL, c, then, &needed, offsets, h, mi, &err));
  HOLDS(needed == then);
  int busy = 0;
  OK(bnn_generator_generate_batch(generator, p, two, 2, o, 0, inside, &busy, c, ROOM, &needed, offsets, h, mi, &err));
  HOLDS(busy == 2);
}

/* Token by token: the text that is written whole; what is predicted is that of the token that comes; tokens of the caller's; ends. */
static void pulled(const bnn_options *o) {
  static char whole[ROOM], text[ROOM];
  static uint32_t prompt[2] = {0, 1}, tokens[64];
  const uint32_t *prompts[2] = {prompt, prompt + 1};
  size_t two[2] = {2, 1}, needed = 0, len = 0, n_tokens = 0;
  double h[2], mi[2], lp[2], predicted[10], h0 = 0, mi0 = 0;
  uint32_t came[2];
  const char *chars[2] = {"ab", "b"};
  IS(BNN_ERR_STATE, bnn_generator_advance(generator, came, h, mi, lp, 2, &err));
  IS(BNN_ERR_STATE, bnn_generator_predict(generator, 0, predicted, 10, &h0, &mi0, &err));
  IS(BNN_ERR_STATE, bnn_generator_put(generator, 0, 1, &err));
  IS(BNN_ERR_STATE, bnn_generator_stop(generator, 0, &err));
  IS(BNN_ERR_STATE, bnn_generator_text(generator, 0, text, ROOM, &needed, &err));
  IS(BNN_ERR_TOO_SMALL, bnn_generator_generate(generator, "ab", 2, o, 7, NULL, NULL, whole, 3, &len, &h0, &mi0, &err));
  /* What did not fit is not thrown away. */
  OK(bnn_generator_text(generator, 0, whole, ROOM, &needed, &err));
  HOLDS(needed == len);
  OK(bnn_generator_generate(generator, "ab", 2, o, 7, NULL, NULL, text, ROOM, &needed, &h0, &mi0, &err));
  HOLDS(needed == len && memcmp(text, whole, len) == 0);
  for (int by_text = 0; by_text < 2; ++by_text) {
    if (by_text) OK(bnn_generator_begin_texts(generator, chars, two, 2, o, 7, &err));
    else OK(bnn_generator_begin(generator, prompts, two, 2, o, 7, &err));
    double sum_h = 0;
    for (int i = 0; i < 20; ++i) {
      if (i % 3 == 0) {
        OK(bnn_generator_predict(generator, 0, predicted, 10, &h0, &mi0, &err));
        IS(i > 4 ? BNN_ERR_STATE : BNN_OK, bnn_generator_predict(generator, 1, NULL, 0, NULL, NULL, &err));
      }
      OK(bnn_generator_advance(generator, came, h, mi, lp, 2, &err));
      /* Each model's sum of exponentials rounds in its own way. */
      if (i % 3 == 0) HOLDS(h[0] == h0 && mi[0] == mi0 && fabs(lp[0] - predicted[came[0]]) < 1e-6);
      sum_h += h[0];
      if (i == 4) OK(bnn_generator_stop(generator, 1, &err));
      HOLDS((came[1] == BNN_NO_TOKEN) == (i > 4) && isnan(h[1]) == (i > 4));
    }
    IS(BNN_ERR_DONE, bnn_generator_advance(generator, came, h, mi, lp, 2, &err));
    IS(BNN_ERR_STATE, bnn_generator_predict(generator, 1, predicted, 10, &h0, &mi0, &err));
    OK(bnn_generator_text(generator, 0, text, ROOM, &needed, &err));
    HOLDS(needed == len && memcmp(text, whole, len) == 0 && sum_h > 0);
    OK(bnn_generator_tokens(generator, 1, tokens, 64, &n_tokens, &err));
    HOLDS(n_tokens == 5);
    IS(BNN_ERR_TOO_SMALL, bnn_generator_tokens(generator, 1, tokens, 4, &n_tokens, &err));
  }
  /* Tokens of the caller's. */
  OK(bnn_generator_begin(generator, prompts, two, 1, o, 0, &err));
  OK(bnn_generator_predict(generator, 0, predicted, 10, &h0, &mi0, &err));
  OK(bnn_generator_put(generator, 0, 9, &err));
  OK(bnn_generator_put(generator, 0, 3, &err));
  OK(bnn_generator_advance(generator, came, NULL, NULL, lp, 1, &err));
  HOLDS(came[0] == 3 && lp[0] == predicted[3]);
  IS(BNN_ERR_INVALID, bnn_generator_put(generator, 0, 10, &err));
  IS(BNN_ERR_INVALID, bnn_generator_put(generator, 1, 0, &err));
  IS(BNN_ERR_SHAPE, bnn_generator_predict(generator, 0, predicted, 9, &h0, &mi0, &err));
  IS(BNN_ERR_SHAPE, bnn_generator_advance(generator, came, h, mi, lp, 2, &err));
  prompt[1] = 10;
  IS(BNN_ERR_INVALID, bnn_generator_begin(generator, prompts, two, 1, o, 0, &err));
  NAMES("prompt 0");
  prompt[1] = 1, two[0] = 0;
  IS(BNN_ERR_INVALID, bnn_generator_begin(generator, prompts, two, 2, o, 0, &err));
  IS(BNN_ERR_NULL, bnn_generator_begin(generator, NULL, two, 2, o, 0, &err));
  IS(BNN_ERR_STATE, bnn_generator_advance(generator, came, h, mi, lp, 1, &err));
}

int main(void) {
  static float params[100000];
  static char text[ROOM];
  static const char *LETTERS[10] = {"a", "b", "c", "d", "e", "f", "g", "h", "\xc3\xa9", "\xc3\xbc"};
  bnn_context *ctx = NULL;
  bnn_options *o = NULL;
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_ensemble *e = NULL;
  bnn_generator *kept = NULL, *freed = NULL;
  size_t n = 0, block = 0, len = 0, needed = 0, offsets[B + 1];
  double h[B], mi[B];
  for (int i = 0; i < B; ++i) lens[i] = strlen(PROMPTS[i]);
  OK(bnn_context_new(2, &ctx, &err));
  for (int i = 0; i < 1000; ++i) len += (size_t)sprintf(text + len, "%s", LETTERS[(3 * i + i / 10) % 10]);
  OK(bnn_corpus_from_text(text, len, &corpus, &err));
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "block_size", 8);
  OK(bnn_model_new(ctx, o, 10, &model, &err));
  OK(bnn_model_sizes(model, &n, &block, &err));
  OK(bnn_model_get_params(model, params, n, &err));
  OK(bnn_ensemble_new(model, &e, &err));
  for (int k = 0; k < 3; ++k) {
    for (size_t i = 0; i < n; ++i) params[i] *= -1.5f;
    OK(bnn_ensemble_add(e, params, n, &err));
  }
  OK(bnn_generator_new(e, corpus, o, &generator, &err));
  U64(o, "max_new_tokens", 20);
  pulled(o);

  /* Beyond the block, with both contexts; ended at different lengths, by the callback, or all at the end. */
  static const size_t WHOLE[B] = {0}, BY_CALLBACK[B] = {3, 0, 1, 20, 7};
  U64(o, "max_new_tokens", 20);
  U64(o, "seed", 5);
  F64(o, "generation_temperature", 1.2);
  same_as_alone(o, 0, WHOLE);
  same_as_alone(o, 1000, BY_CALLBACK);
  STR(o, "context", "hop");
  U64(o, "top_k", 4);
  same_as_alone(o, UINT64_MAX - 1, BY_CALLBACK);
  U64(o, "max_new_tokens", 0);
  OK(bnn_generator_generate_batch(generator, PROMPTS, lens, B, o, 0, NULL, NULL, text, ROOM, &needed, offsets, h, mi, &err));
  HOLDS(needed == 0 && offsets[B] == 0 && h[0] == 0 && mi[B - 1] == 0);
  U64(o, "max_new_tokens", 20);
  refused(o);

  /* Freed from inside: the texts are finished all the same. */
  OK(bnn_generator_new(e, corpus, o, &freed, &err));
  kept = freed;
  OK(bnn_generator_generate_batch(kept, PROMPTS, lens, B, o, 0, frees, &freed, text, ROOM, &needed, offsets, h, mi, &err));
  HOLDS(freed == NULL && needed >= 20 * B);

  bnn_generator_free(generator), bnn_ensemble_free(e), bnn_model_free(model), bnn_options_free(o), bnn_corpus_free(corpus);
  bnn_context_free(ctx);
  return finish();
}
