/* Options checked when they are set; chain diagnostics; probes; precision; a generator's weights; a corpus's characters. */
#include "check.h"

static char path[512];

/* One thing about option i, as text with a NUL. */
static const char *said(size_t i, const char *field) {
  static char text[4][4096];
  static int next = 0;
  char *to = text[next++ % 4];
  size_t needed = 0;
  OK(bnn_options_describe(i, field, strlen(field), to, 4095, &needed, &err));
  to[needed] = 0;
  return to;
}

/* Every default is in its range and is what is read back; both bounds that are in a range are taken, what lies beyond is not. */
static void every_option(bnn_options *o) {
  for (size_t i = 0; i < bnn_options_count(); ++i) {
    char name[64], value[64], word[64], type[8], high[64];
    size_t needed = 0;
    double number = 0;
    uint64_t count = 0;
    strcpy(name, said(i, "name")), strcpy(value, said(i, "default"));
    const size_t len = strlen(name);
    strcpy(type, said(i, "type")), strcpy(high, said(i, "max"));
    HOLDS(said(i, "help")[0] && said(i, "group")[0] && said(i, "readers")[0] && said(i, "range")[0] && said(i, "defaults")[0]);
    if (!strcmp(type, "u64") && *high) IS(BNN_ERR_INVALID, bnn_options_set_u64(o, name, len, strtoull(high, NULL, 10) + 1, &err));
    if (!strcmp(type, "f64") && *high) IS(BNN_ERR_INVALID, bnn_options_set_f64(o, name, len, strtod(high, NULL) + 1e-9, &err));
    if (!strcmp(type, "f64")) IS(BNN_ERR_INVALID, bnn_options_get_u64(o, name, len, &count, &err));
    if (!*value) continue;
    if (!strcmp(type, "f64")) {
      OK(bnn_options_get_f64(o, name, len, &number, &err));
      HOLDS(number == strtod(value, NULL));
      OK(bnn_options_set_f64(o, name, len, number, &err));
    } else if (!strcmp(type, "u64")) {
      OK(bnn_options_get_u64(o, name, len, &count, &err));
      HOLDS(count == strtoull(value, NULL, 10));
      OK(bnn_options_set_u64(o, name, len, count, &err));
    } else {
      OK(bnn_options_get_str(o, name, len, word, sizeof word - 1, &needed, &err));
      word[needed] = 0;
      HOLDS(!strcmp(word, value) && strstr(said(i, "words"), word));
      OK(bnn_options_set_str(o, name, len, word, needed, &err));
    }
  }
  double h = 0;
  uint64_t n = 0;
  bnn_options *fresh = NULL;
  OK(bnn_options_new(&fresh, &err));
  STR(fresh, "sampler", "sgld"); /* whose step is another */
  OK(bnn_options_get_f64(fresh, "step_size", 9, &h, &err));
  HOLDS(h == 2e-4);
  F64(fresh, "learning_rate", 0.5); /* two names of one option */
  OK(bnn_options_get_f64(fresh, "step_size", 9, &h, &err));
  HOLDS(h == 0.5);
  IS(BNN_ERR_INVALID, bnn_options_get_f64(fresh, "num_data", 8, &h, &err));
  HOLDS(strstr(err.message, "has no value") != NULL);
  IS(BNN_ERR_INVALID, bnn_options_set_u64(fresh, "step_size", 9, 1, &err));
  HOLDS(strstr(err.message, "step_size is a real number: bnn_options_set_f64 sets it") != NULL);
  IS(BNN_ERR_INVALID, bnn_options_set_f64(fresh, "bias", 4, 1.0, &err));
  HOLDS(strstr(err.message, "bnn_options_set_u64") != NULL);
  U64(fresh, "bias", 1);
  OK(bnn_options_get_u64(fresh, "bias", 4, &n, &err));
  HOLDS(n == 1);
  IS(BNN_ERR_INVALID, bnn_options_set_u64(fresh, "thining", 7, 3, &err));
  HOLDS(strstr(err.message, "did you mean `thinning`?") != NULL);
  IS(BNN_ERR_INVALID, bnn_options_set_str(fresh, "sampler", 7, "sgldd", 5, &err));
  HOLDS(strstr(err.message, "did you mean `sgld`?") != NULL);
  IS(BNN_ERR_INVALID, bnn_options_set_u64(fresh, "eval", 4, 1, &err)); /* the command's alone */
  bnn_options_free(fresh);
}

static void options(void) {
  bnn_options *o = NULL;
  bnn_sampler *s = NULL;
  bnn_context *ctx = NULL;
  float theta[1] = {1};
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_options_new(&o, &err));
#define BAD_F64(name, v) IS(BNN_ERR_INVALID, bnn_options_set_f64(o, name, strlen(name), (v), &err)); HOLDS(strstr(err.message, name) != NULL)
#define BAD_U64(name, v) IS(BNN_ERR_INVALID, bnn_options_set_u64(o, name, strlen(name), (v), &err)); HOLDS(strstr(err.message, name) != NULL)
#define BAD_STR(name, v) IS(BNN_ERR_INVALID, bnn_options_set_str(o, name, strlen(name), (v), strlen(v), &err)); HOLDS(strstr(err.message, name) != NULL)
  BAD_F64("step_size", -1e-9);
  BAD_F64("step_size", NAN);
  BAD_F64("step_size", INFINITY);
  BAD_F64("sigma", 0.0);
  BAD_F64("momentum", 1.0);
  BAD_F64("final_fraction", 1.5);
  BAD_F64("exploration", 1.0);
  BAD_F64("num_data", 0.5);
  BAD_U64("thinning", 0);
  BAD_U64("bias", 2);
  BAD_U64("n_layer", 1025);
  BAD_U64("chain", (uint64_t)1 << 32);
  BAD_STR("sampler", "hmc");
  BAD_STR("sampler", "");
  BAD_STR("temperature_schedule", "cyclical");
  BAD_STR("weights", "f16");
  BAD_STR("precision", "lowest");
  BAD_STR("step_size", "1");
  BAD_U64("step_size", 1);
  IS(BNN_ERR_INVALID, bnn_options_unset(o, "no_such", 7, &err));
  /* What was refused has changed nothing: step_size is still the method's own. */
  OK(bnn_sampler_new_with_gradients(ctx, o, theta, 1, &s, &err));
  bnn_sampler_free(s), s = NULL;
  F64(o, "momentum", 0.8);
  F64(o, "alpha", 2.0);
  IS(BNN_ERR_INVALID, bnn_sampler_new_with_gradients(ctx, o, theta, 1, &s, &err));
  HOLDS(strstr(err.message, "alpha and momentum") != NULL);
  UNSET(o, "momentum");
  OK(bnn_sampler_new_with_gradients(ctx, o, theta, 1, &s, &err));
  bnn_sampler_free(s), s = NULL;
  /* What a constructor does not use is no matter. */
  UNSET(o, "alpha");
  F64(o, "momentum", 0.8);
  STR(o, "sampler", "sgld");
  F64(o, "init_sd", 3.0);
  OK(bnn_sampler_new_with_gradients(ctx, o, theta, 1, &s, &err));
  bnn_sampler_free(s);
  bnn_options_free(o), o = NULL;
  OK(bnn_options_new(&o, &err));
  every_option(o);
  bnn_options_free(o), bnn_context_free(ctx);
}

/* Numbers that any language makes exactly; the test compares what is printed with the Rust library's own answer. */
static void diagnostics(void) {
  double draws[3 * 200];
  bnn_report *r = NULL;
  OK(bnn_report_new(&r, &err));
  uint64_t x = 12345;
  for (int i = 0; i < 600; ++i) x = (x * 1103515245 + 12345) % 2147483648, draws[i] = (double)x / 2147483648 + 0.25 * (i / 200);
  OK(bnn_chain_diagnostics(draws, 3, 200, r, &err));
  printf("diagnostics %.17g %.17g %.17g %.17g %.17g\n", ROW(r, "rhat"), ROW(r, "ess_bulk"), ROW(r, "ess_tail"), ROW(r, "ess_mean"), ROW(r, "mcse_mean"));
  IS(BNN_ERR_INVALID, bnn_chain_diagnostics(draws, 0, 200, r, &err));
  IS(BNN_ERR_INVALID, bnn_chain_diagnostics(draws, 200, 3, r, &err));
  IS(BNN_ERR_INVALID, bnn_chain_diagnostics(draws, 3, 0, r, &err));
  IS(BNN_ERR_NULL, bnn_chain_diagnostics(NULL, 3, 200, r, &err));
  IS(BNN_ERR_INVALID, bnn_chain_diagnostics(draws, SIZE_MAX, 2, r, &err));
  draws[7] = NAN;
  IS(BNN_ERR_INVALID, bnn_chain_diagnostics(draws, 3, 200, r, &err));
  bnn_report_free(r);
}

static void models(void) {
  static float params[100000];
  static double log_probs[20000];
  static char text[4000];
  bnn_context *ctx = NULL;
  bnn_options *o = NULL;
  bnn_corpus *corpus = NULL, *other = NULL;
  bnn_model *model = NULL, *rounded = NULL;
  bnn_probe *probe = NULL, *none = NULL;
  bnn_ensemble *e = NULL;
  bnn_generator *g = NULL;
  size_t vocab = 0, n = 0, t = 0, n_train = 0, n_val = 0, needed = 0, k = 0;
  double loss = 0, again = 0;
  OK(bnn_context_new(1, &ctx, &err));
  for (int i = 0; i < 2400; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_corpus_from_text(text, 2400, &corpus, &err));
  for (int i = 0; i < 2400; ++i) text[i] = (char)(text[i] + 1);
  OK(bnn_corpus_from_text(text, 2400, &other, &err));
  OK(bnn_corpus_sizes(corpus, &vocab, &n_train, &n_val, &err));
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  OK(bnn_model_new(ctx, o, vocab, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_model_get_params(model, params, n, &err));
  OK(bnn_model_loss(model, corpus, BNN_SPLIT_VAL, &loss, &err));
  IS(BNN_ERR_INVALID, bnn_model_loss(model, other, BNN_SPLIT_VAL, &again, &err));

  /* All of a split probed is the split's loss. */
  IS(BNN_ERR_INVALID, bnn_probe_new(model, other, BNN_SPLIT_VAL, 5, &none, &err));
  IS(BNN_ERR_INVALID, bnn_probe_new(model, corpus, BNN_SPLIT_VAL, 0, &none, &err));
  HOLDS(none == NULL);
  OK(bnn_probe_new(model, corpus, BNN_SPLIT_VAL, SIZE_MAX, &probe, &err));
  OK(bnn_probe_len(probe, &k, &err));
  HOLDS(k > 200 && k <= n_val);
  IS(BNN_ERR_TOO_SMALL, bnn_probe_log_probs(probe, params, n, log_probs, 1, &needed, &err));
  HOLDS(needed == k);
  IS(BNN_ERR_SHAPE, bnn_probe_log_probs(probe, params, n - 1, log_probs, 20000, &needed, &err));
  OK(bnn_probe_log_probs(probe, params, n, log_probs, 20000, &needed, &err));
  double sum = 0;
  for (size_t i = 0; i < k; ++i) sum -= log_probs[i];
  NEAR(sum / (double)k, loss, 1e-5);
  bnn_probe_free(probe), bnn_probe_free(NULL);
  OK(bnn_probe_new(model, corpus, BNN_SPLIT_TRAIN, 5, &probe, &err));
  OK(bnn_probe_log_probs(probe, params, n, log_probs, 5, &needed, &err));
  HOLDS(needed == 5);

  /* high keeps at least 15 bits of a product, medium at least 7. */
  STR(o, "precision", "high");
  OK(bnn_model_new(ctx, o, vocab, &rounded, &err));
  OK(bnn_model_loss(rounded, corpus, BNN_SPLIT_VAL, &again, &err));
  NEAR(again, loss, 1e-5);
  bnn_model_free(rounded);
  STR(o, "precision", "medium");
  OK(bnn_model_new(ctx, o, vocab, &rounded, &err));
  OK(bnn_model_loss(rounded, corpus, BNN_SPLIT_VAL, &again, &err));
  NEAR(again, loss, 1e-2);
  /* The same for a model from a file: its own precision is not in it. */
  double read = 0;
  bnn_model_free(rounded);
  OK(bnn_model_save(model, corpus, 0, path, strlen(path), &err));
  OK(bnn_model_load(ctx, o, path, strlen(path), &rounded, &err));
  OK(bnn_model_loss(rounded, corpus, BNN_SPLIT_VAL, &read, &err));
  HOLDS(read == again);
  bnn_model_free(rounded);
  OK(bnn_model_load(ctx, NULL, path, strlen(path), &rounded, &err));
  OK(bnn_model_loss(rounded, corpus, BNN_SPLIT_VAL, &read, &err));
  HOLDS(read == loss);
  printf("rounding %s\n", again == loss ? "none" : "some");

  /* bf16 weights: another number, not far. */
  double h[2], mi;
  for (size_t i = 0; i < n; ++i) params[i] *= 3;
  OK(bnn_ensemble_new(model, &e, &err));
  OK(bnn_ensemble_add(e, params, n, &err));
  U64(o, "max_new_tokens", 1);
  for (int i = 0; i < 2; ++i) {
    STR(o, "weights", i ? "bf16" : "f32");
    OK(bnn_generator_new(e, corpus, o, &g, &err));
    OK(bnn_generator_generate(g, "abc", 3, o, 0, NULL, NULL, text, sizeof text, &needed, &h[i], &mi, &err));
    bnn_generator_free(g), g = NULL;
  }
  HOLDS(h[0] != h[1]);
  NEAR(h[1], h[0], 2e-2);
  IS(BNN_ERR_INVALID, bnn_generator_new(e, other, NULL, &g, &err));
  bnn_model_free(model), bnn_model_free(rounded), bnn_corpus_free(corpus), bnn_corpus_free(other), bnn_options_free(o);
  bnn_context_free(ctx);
  OK(bnn_probe_log_probs(probe, params, n, log_probs, 5, &needed, &err)); /* it keeps what it needs alive */
  bnn_probe_free(probe), bnn_ensemble_free(e);
}

int main(int argc, char **argv) {
  HOLDS(argc > 1);
  snprintf(path, sizeof path, "%s/model.bnn", argv[1]);
  options();
  diagnostics();
  models();
  return finish();
}
