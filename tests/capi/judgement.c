/* What samples are worth, from C: movement, agreement, temperatures, a store's scores, texts, a baseline that is trained once. What is printed the
 * test compares with the Rust library's own. */
#include "check.h"

/* Frees the report that the call is to fill. */
static bnn_report *own_report;
static int32_t hear_and_free(void *user_data, uint64_t done, uint64_t total) {
  (void)user_data, (void)done, (void)total;
  bnn_report_free(own_report), own_report = NULL;
  return 1;
}

/* What a progress callback was told, and after how many calls it ends the work. */
typedef struct { uint64_t calls, done, total, most; } heard;
static int32_t hear(void *user_data, uint64_t done, uint64_t total) {
  heard *h = user_data;
  ++h->calls, h->done = done, h->total = total;
  return h->calls <= h->most;
}

static bnn_context *ctx;
static bnn_report *r;

static const char *in(const char *folder, const char *name) {
  static char path[2][512];
  static int k = 0;
  k = !k;
  snprintf(path[k], sizeof path[k], "%s/%s", folder, name);
  return path[k];
}

static void show(const char *name) {
  char text[2048];
  size_t needed = 0;
  OK(bnn_report_get_str(r, name, strlen(name), text, sizeof text, &needed, &err));
  printf("%s: %.*s\n", name, (int)needed, text);
}

/* Every row, none of them named here: a new number of the library's is there without a change of this program. */
static void all(const char *what) {
  size_t count = 0, len = 0, needed = 0;
  OK(bnn_report_count(r, &count, &err));
  for (size_t i = 0; i < count; ++i) {
    char name[64], meaning[256];
    int32_t type = -1;
    OK(bnn_report_name(r, i, name, sizeof name, &len, &err));
    OK(bnn_report_describe(r, name, len, &type, meaning, sizeof meaning, &needed, &err));
    if (type != BNN_TYPE_F64 && type != BNN_TYPE_U64) continue;
    double value = 0;
    OK(bnn_report_get_f64(r, name, len, &value, &err));
    printf("%s %.*s %.17g (%.*s)\n", what, (int)len, name, value, (int)needed, meaning);
  }
}

static uint64_t x = 12345;
static double uniform(void) {
  x = (x * 1103515245 + 12345) % 2147483648;
  return (double)x / 2147483648;
}

static void agreement(void) {
  static double draws[3 * 40 * 2], series[60];
  for (int i = 0; i < 3 * 40 * 2; ++i) draws[i] = uniform() + 0.5 * (i / 80) * (i % 2);
  OK(bnn_agreement(ctx, draws, 3, 40, 2, 600, 4.0, r, &err));
  printf("agreement %.17g %.17g %.17g %.17g %.17g %.17g\n", ROW(r, "rhat.worst"), ROW(r, "rhat.median"), ROW(r, "ess_bulk.draws.worst"),
         ROW(r, "ess_tail.per_gradient.median"), ROW(r, "ess_bulk.per_second.worst"), ROW(r, "mcse_mean.worst"));
  show("verdict");
  OK(bnn_agreement(ctx, draws, 3, 40, 2, 600, NAN, r, &err));
  HOLDS(isnan(ROW(r, "ess_bulk.per_second.worst")) && ROW(r, "quantities") == 2);
  IS(BNN_ERR_INVALID, bnn_agreement(ctx, draws, 3, 3, 2, 600, 4.0, r, &err));
  IS(BNN_ERR_INVALID, bnn_agreement(ctx, draws, 0, 40, 2, 600, 4.0, r, &err));
  IS(BNN_ERR_INVALID, bnn_agreement(ctx, draws, 3, 40, 0, 600, 4.0, r, &err));
  IS(BNN_ERR_INVALID, bnn_agreement(ctx, draws, 3, 40, 2, 0, 4.0, r, &err));
  IS(BNN_ERR_INVALID, bnn_agreement(ctx, draws, SIZE_MAX, 40, 2, 600, 4.0, r, &err));
  IS(BNN_ERR_NULL, bnn_agreement(NULL, draws, 3, 40, 2, 600, 4.0, r, &err));
  IS(BNN_ERR_NULL, bnn_agreement(ctx, NULL, 3, 40, 2, 600, 4.0, r, &err));
  HOLDS(ROW(r, "quantities") == 2); /* an error leaves the rows */
  draws[5] = NAN;
  IS(BNN_ERR_INVALID, bnn_agreement(ctx, draws, 3, 40, 2, 600, 4.0, r, &err));
  for (int i = 0; i < 240; ++i) draws[i] = i % 2;
  OK(bnn_agreement(ctx, draws, 3, 40, 2, 600, 4.0, r, &err));
  show("verdict");
  IS(BNN_ERR_INVALID, bnn_report_get_f64(r, "rhat.worst", 10, draws, &err));

  for (int i = 0; i < 60; ++i) series[i] = 0.5 + uniform();
  OK(bnn_temperature_band(series, 60, 0.9, 50, r, &err));
  printf("band %.17g %.17g %.17g %.17g\n", ROW(r, "mean"), ROW(r, "std_error"), ROW(r, "equilibrium_sd"), ROW(r, "off"));
  IS(BNN_ERR_INVALID, bnn_temperature_band(series, 19, 0.9, 50, r, &err));
  IS(BNN_ERR_INVALID, bnn_temperature_band(series, 60, 0.9, 0, r, &err));
  IS(BNN_ERR_NULL, bnn_temperature_band(NULL, 60, 0.9, 50, r, &err));
}

/* What a summary begins with: from facts by name. */
static void verdict(void) {
  const char *names[] = {"temperature", "chains", "samples", "rhat", "ess", "over_free", "kinetic", "kinetic_off", "configurational",
                         "configurational_off", "mutual_information", "single.loss", "single.difference", "single.std_error", "control.loss",
                         "control.models", "control.difference", "control.std_error", "sampling_steps"};
  const double values[] = {0.1, 1, 25, 2.03, 1.5, 1.01, 1.08, 1, 0.1, 1, 0.08, 1.64, -0.06, 0.007, 1.55, 25, 0.03, 0.006, 1000};
  enum { FACTS = sizeof values / sizeof *values };
  size_t lens[FACTS];
  for (int i = 0; i < FACTS; ++i) lens[i] = strlen(names[i]);
  OK(bnn_verdict(names, lens, values, FACTS, "baoa", 4, NULL, 0, "snapshots", 9, r, &err));
  show("text");
  show("next");
  HOLDS(ROW(r, "passes") == 0 && ROW(r, "check.rhat") == 0 && ROW(r, "check.disagreement") == 1);
  IS(BNN_ERR_INVALID, bnn_verdict(names, lens, values, 12, "baoa", 4, NULL, 0, NULL, 0, r, &err)); /* a loss without its difference */
  OK(bnn_verdict(NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0, r, &err));
  show("text");
  names[3] = "r-hat", lens[3] = 5;
  IS(BNN_ERR_INVALID, bnn_verdict(names, lens, values, FACTS, "baoa", 4, NULL, 0, NULL, 0, r, &err));
  IS(BNN_ERR_NULL, bnn_verdict(names, lens, NULL, FACTS, "baoa", 4, NULL, 0, NULL, 0, r, &err));
}

static int32_t counts(void *user_data, uint64_t step, double loss) {
  HOLDS(isfinite(loss));
  *(uint64_t *)user_data = step;
  return 1;
}

static int32_t refuses(void *user_data, uint64_t step, double loss) {
  (void)user_data, (void)loss;
  return step < 3;
}

int main(int argc, char **argv) {
  static char text[2400];
  static float start[20000], first[20000], last[20000];
  bnn_options *o = NULL;
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL, *other = NULL;
  bnn_store *store = NULL;
  bnn_ensemble *e = NULL;
  bnn_generator *g = NULL;
  size_t n = 0, t = 0, vocab = 0, n_train = 0, n_val = 0;
  uint64_t steps = 0;
  if (argc < 2) return 2;
  const char *folder = argv[1], *kept = in(folder, "kept");
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_report_new(&r, &err));
  agreement();
  verdict();

  for (int i = 0; i < 2400; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_corpus_from_text(text, 2400, &corpus, &err));
  OK(bnn_corpus_sizes(corpus, &vocab, &n_train, &n_val, &err));
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "n_embd", 16);
  U64(o, "block_size", 8);
  U64(o, "baseline_iters", 30);
  U64(o, "batch_size", 4);
  U64(o, "seed", 3);
  OK(bnn_model_new(ctx, o, vocab, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));

  /* Trained once: the second call finds the file. */
  OK(bnn_model_train_once(model, corpus, o, kept, strlen(kept), counts, &steps, r, &err));
  HOLDS(steps == 30 && ROW(r, "kept") == 0 && ROW(r, "steps") == 30);
  double val_loss = 0, was = ROW(r, "val_loss");
  OK(bnn_model_loss(model, corpus, BNN_SPLIT_VAL, &val_loss, &err));
  HOLDS(val_loss == was);
  OK(bnn_model_get_params(model, start, n, &err));
  steps = 0;
  OK(bnn_model_new(ctx, o, vocab, &other, &err));
  OK(bnn_model_train_once(other, corpus, o, kept, strlen(kept), counts, &steps, r, &err));
  OK(bnn_model_get_params(other, first, n, &err));
  HOLDS(steps == 0 && ROW(r, "kept") == 1 && ROW(r, "val_loss") == was && memcmp(start, first, n * sizeof *start) == 0);
  U64(o, "baseline_iters", 31);
  IS(BNN_ERR_INTERRUPTED, bnn_model_train_once(other, corpus, o, kept, strlen(kept), refuses, NULL, r, &err));
  OK(bnn_model_get_params(other, first, n, &err));
  HOLDS(memcmp(start, first, n * sizeof *start) == 0);
  IS(BNN_ERR_NULL, bnn_model_train_once(other, corpus, o, NULL, 3, NULL, NULL, r, &err));
  IS(BNN_ERR_NULL, bnn_model_train_once(other, corpus, o, kept, strlen(kept), NULL, NULL, NULL, &err));

  /* A chain of three samples about it, and another. */
  const char *samples = in(folder, "samples");
  OK(bnn_store_new(model, corpus, o, samples, strlen(samples), &store, &err));
  OK(bnn_ensemble_new(model, &e, &err));
  for (uint64_t k = 0; k < 4; ++k) {
    for (size_t i = 0; i < n; ++i) last[i] = start[i] + (float)(0.1 * (uniform() - 0.5));
    OK(bnn_store_append(store, k == 3, k, last, n, &err));
    OK(bnn_ensemble_add(e, last, n, &err));
    if (k == 0) memcpy(first, last, n * sizeof *last);
    if (k == 2) OK(bnn_movement(3, start, first, last, n, r, &err));
  }
  double rms = ROW(r, "rms_move"), cosine = ROW(r, "cosine_first_last");
  OK(bnn_store_movement(store, 0, start, n, r, &err));
  HOLDS(ROW(r, "rms_move") == rms && ROW(r, "cosine_first_last") == cosine && ROW(r, "samples") == 3 && ROW(r, "worth_about_one") == 0);
  printf("movement %.17g %.17g %.17g\n", rms, ROW(r, "relative_move"), cosine);
  show("verdict");
  OK(bnn_store_movement(store, 1, start, n, r, &err));
  HOLDS(ROW(r, "worth_about_one") == 1 && isnan(ROW(r, "cosine_first_last")));
  IS(BNN_ERR_SHAPE, bnn_store_movement(store, 0, start, n - 1, r, &err));
  IS(BNN_ERR_SHAPE, bnn_movement(3, start, first, last, 0, r, &err));
  IS(BNN_ERR_NULL, bnn_movement(3, NULL, first, last, n, r, &err));

  /* The last three of four, read one after the other. */
  OK(bnn_store_score(store, model, corpus, BNN_SPLIT_VAL, 3, 5, NULL, NULL, r, &err));
  HOLDS(ROW(r, "samples") == 3);
  OK(bnn_store_score(store, model, corpus, BNN_SPLIT_VAL, 0, 5, NULL, NULL, r, &err));
  printf("score %.17g %.17g %.17g %.17g %.17g %.17g %.17g\n", ROW(r, "loss"), ROW(r, "baseline.loss"), ROW(r, "against_baseline.difference"),
         ROW(r, "against_baseline.std_error"), ROW(r, "against_baseline.z"), ROW(r, "against_baseline.low"), ROW(r, "against_baseline.high"));
  all("row");
  NEAR(ROW(r, "baseline.loss"), was, 1e-6);
  double loss = ROW(r, "loss"), brier = ROW(r, "brier");
  OK(bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, NULL, NULL, r, &err));
  HOLDS(ROW(r, "loss") == loss && ROW(r, "brier") == brier);
  IS(BNN_ERR_INVALID, bnn_store_score(store, model, corpus, 7, 0, 5, NULL, NULL, r, &err));
  IS(BNN_ERR_NULL, bnn_store_score(store, NULL, corpus, BNN_SPLIT_VAL, 0, 5, NULL, NULL, r, &err));
  IS(BNN_ERR_NULL, bnn_store_score(store, model, corpus, BNN_SPLIT_VAL, 0, 5, NULL, NULL, NULL, &err));
  const char *none = in(folder, "none");
  bnn_store *empty = NULL;
  OK(bnn_store_new(model, corpus, o, none, strlen(none), &empty, &err));
  IS(BNN_ERR_INVALID, bnn_store_score(empty, model, corpus, BNN_SPLIT_VAL, 0, 5, NULL, NULL, r, &err));
  bnn_store_free(empty);

  F64(o, "generation_temperature", 0.8);
  OK(bnn_generator_new(e, corpus, NULL, &g, &err));
  OK(bnn_generator_score_texts(g, BNN_SPLIT_TRAIN, 3, 4, 12, o, NULL, NULL, r, &err));
  /* Long calls say how far they are, and end when they are told to. */
  heard h = {0, 0, 0, UINT64_MAX};
  OK(bnn_generator_score_texts(g, BNN_SPLIT_TRAIN, 3, 4, 12, o, hear, &h, r, &err));
  HOLDS(h.calls == 36 && h.done == 36 && h.total == 36);
  memset(&h, 0, sizeof h), h.most = UINT64_MAX;
  OK(bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, hear, &h, r, &err));
  HOLDS(h.calls > 0 && h.done == h.total && h.total > 0);
  uint64_t alone = h.total;
  memset(&h, 0, sizeof h), h.most = UINT64_MAX;
  OK(bnn_store_score(store, model, corpus, BNN_SPLIT_VAL, 0, 5, hear, &h, r, &err));
  HOLDS(h.done == h.total && h.total > 0 && h.total % alone != 1);
  for (uint64_t most = 0; most < 3; ++most) {
    memset(&h, 0, sizeof h), h.most = most;
    IS(BNN_ERR_INTERRUPTED, bnn_generator_score_texts(g, BNN_SPLIT_TRAIN, 3, 4, 12, o, hear, &h, r, &err));
    HOLDS(h.calls == most + 1);
  }
  for (int which = 0; which < 3; ++which) {
    OK(bnn_report_new(&own_report, &err));
    bnn_report *given = own_report;
    if (which == 0) OK(bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, hear_and_free, NULL, given, &err));
    if (which == 1) OK(bnn_store_score(store, model, corpus, BNN_SPLIT_VAL, 0, 5, hear_and_free, NULL, given, &err));
    if (which == 2) OK(bnn_generator_score_texts(g, BNN_SPLIT_TRAIN, 3, 4, 12, o, hear_and_free, NULL, given, &err));
    HOLDS(own_report == NULL);
  }
  memset(&h, 0, sizeof h);
  IS(BNN_ERR_INTERRUPTED, bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, hear, &h, r, &err));
  IS(BNN_ERR_INTERRUPTED, bnn_store_score(store, model, corpus, BNN_SPLIT_VAL, 0, 5, hear, &h, r, &err));
  OK(bnn_generator_score_texts(g, BNN_SPLIT_TRAIN, 3, 4, 12, o, NULL, NULL, r, &err));
  printf("texts %.17g %.17g %.17g %.17g %.17g\n", ROW(r, "texts"), ROW(r, "bleu"), ROW(r, "rouge1"), ROW(r, "rouge2"), ROW(r, "rouge_l"));
  IS(BNN_ERR_DATA, bnn_generator_score_texts(g, BNN_SPLIT_VAL, 3, 100, 100, o, NULL, NULL, r, &err));
  IS(BNN_ERR_NULL, bnn_generator_score_texts(NULL, BNN_SPLIT_VAL, 3, 4, 12, o, NULL, NULL, r, &err));

  bnn_generator_free(g), bnn_ensemble_free(e), bnn_store_free(store), bnn_model_free(model), bnn_model_free(other), bnn_options_free(o);
  bnn_corpus_free(corpus), bnn_report_free(r), bnn_context_free(ctx);
  return finish();
}
