/* Training from the start, from a model and from a file, on a text and on tokens of the caller's; and what options say of themselves. */
#include "check.h"
#include "files.h"

enum { D = 20000, B = 2, T = 8, N = B * T };

static bnn_context *ctx = NULL;
static bnn_options *o = NULL;
static bnn_report *r = NULL;
static bnn_model *model = NULL;
static size_t n = 0;
static float params[D], again[D], first[D];
static uint32_t x[N], y[N];

/* Steps go on from a file as if nothing had happened; the best is the one with the lowest score. */
static void runs(bnn_corpus *corpus) {
  bnn_trainer *t = NULL, *read = NULL, *none = NULL;
  double loss = 0, last = 0, sum = 0;
  int32_t best = 7;
  OK(bnn_trainer_new(model, corpus, o, BNN_START_FRESH, &t, &err));
  OK(bnn_trainer_report(t, r, &err));
  HOLDS(ROW(r, "steps") == 0 && isnan(ROW(r, "loss")) && isnan(ROW(r, "recent_loss")) && isnan(ROW(r, "best.score")));
  IS(BNN_ERR_STATE, bnn_trainer_get_best(t, again, n, &err));
  for (int i = 0; i < 4; ++i) {
    OK(bnn_trainer_step(t, &loss, &err));
    sum += loss;
    const double scores[4] = {2.0, 1.5, 1.75, 1.5};
    OK(bnn_trainer_keep_best(t, scores[i], &best, &err));
    HOLDS(best == (i < 2));
    if (i == 1) OK(bnn_trainer_get_params(t, first, n, &err));
  }
  IS(BNN_ERR_INVALID, bnn_trainer_keep_best(t, NAN, &best, &err));
  OK(bnn_trainer_report(t, r, &err));
  HOLDS(ROW(r, "steps") == 4 && ROW(r, "loss") == loss && ROW(r, "best.score") == 1.5 && ROW(r, "best.steps") == 2 && ROW(r, "iters") == 9);
  NEAR(ROW(r, "recent_loss"), sum / 4, 1e-12);
  OK(bnn_trainer_save(t, PATH("trainer.bnn"), &err));
  OK(bnn_trainer_load(model, corpus, o, PATH("trainer.bnn"), &read, &err));
  OK(bnn_trainer_get_best(read, again, n, &err));
  HOLDS(!memcmp(first, again, n * sizeof *again));
  for (int i = 0; i < 3; ++i) {
    OK(bnn_trainer_step(t, &loss, &err));
    OK(bnn_trainer_step(read, &last, &err));
    HOLDS(loss == last);
  }
  OK(bnn_trainer_get_params(t, params, n, &err));
  OK(bnn_trainer_get_params(read, again, n, &err));
  HOLDS(!memcmp(params, again, n * sizeof *again));
  OK(bnn_trainer_report(read, r, &err));
  NEAR(ROW(r, "recent_loss"), ROW(r, "recent_loss"), 0);
  HOLDS(ROW(r, "steps") == 7 && ROW(r, "best.steps") == 2);
  /* Another recipe, a damaged file, a file of another kind. */
  F64(o, "weight_decay", 0.3);
  IS(BNN_ERR_MISMATCH, bnn_trainer_load(model, corpus, o, PATH("trainer.bnn"), &none, &err));
  UNSET(o, "weight_decay");
  IS(BNN_ERR_MISMATCH, bnn_trainer_load(model, NULL, o, PATH("trainer.bnn"), &none, &err));
  OK(bnn_model_save(model, corpus, 1, PATH("model.bnn"), &err));
  IS(BNN_ERR_MISMATCH, bnn_trainer_load(model, corpus, o, PATH("model.bnn"), &none, &err));
  IS(BNN_ERR_IO, bnn_trainer_load(model, corpus, o, PATH("nothing.bnn"), &none, &err));
  damage(in("trainer.bnn"));
  IS(BNN_ERR_BAD_CHECKSUM, bnn_trainer_load(model, corpus, o, PATH("trainer.bnn"), &none, &err));
  HOLDS(none == NULL);
  bnn_trainer_free(read);
  /* What is trained further begins where the model is: the next batch's loss, and the first step goes from there. */
  OK(bnn_model_get_params(model, again, n, &err));
  HOLDS(memcmp(params, again, n * sizeof *again) != 0); /* the model waits for the end */
  OK(bnn_trainer_finish(t, &err));
  OK(bnn_model_get_params(model, again, n, &err));
  HOLDS(!memcmp(params, again, n * sizeof *again));
  bnn_trainer_free(t), t = NULL;
  OK(bnn_trainer_new(model, corpus, o, BNN_START_MODEL, &t, &err));
  OK(bnn_trainer_get_params(t, again, n, &err));
  HOLDS(!memcmp(params, again, n * sizeof *again));
  OK(bnn_trainer_step(t, &last, &err));
  OK(bnn_trainer_get_params(t, again, n, &err));
  HOLDS(memcmp(params, again, n * sizeof *again) != 0);
  IS(BNN_ERR_INVALID, bnn_trainer_new(model, corpus, o, 2, &none, &err));
  HOLDS(none == NULL);
  bnn_trainer_free(t);
}

/* Without a text: the loss before a step is an evaluator's, and steps on one batch lower it. */
static void own_tokens(void) {
  bnn_trainer *t = NULL;
  bnn_evaluator *e = NULL;
  double loss = 0, want = 0, begin = 0;
  for (uint32_t i = 0; i < N; ++i) x[i] = i * i % 8, y[i] = (i * 3 + 1) % 8;
  OK(bnn_trainer_new(model, NULL, o, BNN_START_MODEL, &t, &err));
  OK(bnn_evaluator_new(model, &e, &err));
  IS(BNN_ERR_INVALID, bnn_trainer_step(t, &loss, &err));
  HOLDS(strstr(err.message, "no text") != NULL);
  IS(BNN_ERR_SHAPE, bnn_trainer_step_tokens(t, x, y, N + T, &loss, &err));
  IS(BNN_ERR_SHAPE, bnn_trainer_step_tokens(t, x, y, N - 1, &loss, &err));
  IS(BNN_ERR_SHAPE, bnn_trainer_step_tokens(t, x, y, 0, &loss, &err));
  y[9] = 8;
  IS(BNN_ERR_INVALID, bnn_trainer_step_tokens(t, x, y, N, &loss, &err));
  HOLDS(strstr(err.message, "y[1, 1]") != NULL);
  y[9] = 4;
  for (int i = 0; i < 8; ++i) {
    OK(bnn_trainer_get_params(t, params, n, &err));
    OK(bnn_evaluator_loss(e, params, n, x, y, B, T, 0, &want, NULL, &err));
    OK(bnn_trainer_step_tokens(t, x, y, N, &loss, &err));
    NEAR(loss, want, 1e-12);
    if (i == 0) begin = loss;
  }
  HOLDS(loss < begin - 0.05);
  OK(bnn_trainer_step_tokens(t, x, y, T, &loss, &err)); /* fewer sequences */
  OK(bnn_trainer_save(t, PATH("own.bnn"), &err));
  bnn_trainer_free(t), bnn_evaluator_free(e), bnn_trainer_free(NULL);
}

static int has(const char *name) {
  double value = 0;
  bnn_error e = {0};
  return bnn_report_get_str(r, name, SIZE_MAX, NULL, 0, NULL, &e) == BNN_ERR_TOO_SMALL || bnn_report_get_f64(r, name, SIZE_MAX, &value, &e) == BNN_OK;
}

/* Options from text, copied; those that nobody reads. */
static void options(void) {
  bnn_options *own = NULL, *copy = NULL;
  double number = 0;
  uint64_t count = 0;
  size_t needed = 0, rows = 0;
  char word[300];
  OK(bnn_options_new(&own, &err));
  OK(bnn_options_set_text(own, "step_size", SIZE_MAX, "2.5e-3", SIZE_MAX, &err));
  OK(bnn_options_set_text(own, "sampling_steps", SIZE_MAX, "321", 3, &err));
  OK(bnn_options_set_text(own, "bias", SIZE_MAX, "true", SIZE_MAX, &err));
  OK(bnn_options_set_text(own, "auto_step", SIZE_MAX, "0", SIZE_MAX, &err));
  OK(bnn_options_set_text(own, "sampler", SIZE_MAX, "sgld", SIZE_MAX, &err));
  IS(BNN_ERR_INVALID, bnn_options_set_text(own, "sampler", SIZE_MAX, "sgdl", SIZE_MAX, &err));
  HOLDS(strstr(err.message, "did you mean `sgld`") != NULL);
  IS(BNN_ERR_INVALID, bnn_options_set_text(own, "step-size", SIZE_MAX, "1", SIZE_MAX, &err));
  HOLDS(strstr(err.message, "did you mean `step_size`") != NULL);
  IS(BNN_ERR_INVALID, bnn_options_set_text(own, "sampling_steps", SIZE_MAX, "-3", SIZE_MAX, &err));
  IS(BNN_ERR_INVALID, bnn_options_set_text(own, "step_size", SIZE_MAX, "nan", SIZE_MAX, &err));
  IS(BNN_ERR_NULL, bnn_options_set_text(own, NULL, SIZE_MAX, "1", SIZE_MAX, &err));
  F64(own, "alpha", 0.5);
  OK(bnn_options_copy(own, &copy, &err));
  F64(own, "step_size", 0.5);
  OK(bnn_options_get_f64(copy, "step_size", SIZE_MAX, &number, &err));
  OK(bnn_options_get_u64(copy, "sampling_steps", SIZE_MAX, &count, &err));
  HOLDS(number == 2.5e-3 && count == 321);
  OK(bnn_options_get_u64(copy, "bias", SIZE_MAX, &count, &err));
  HOLDS(count == 1);
  bnn_options_free(own);
  /* sgld has no momenta for alpha to damp, a sampler no shape to choose; a trainer has neither. */
  OK(bnn_options_unread(copy, "sampler", SIZE_MAX, r, &err));
  OK(bnn_report_count(r, &rows, &err));
  HOLDS(rows == 2 && has("alpha") && has("bias"));
  int32_t type = 0;
  OK(bnn_report_describe(r, "alpha", SIZE_MAX, &type, word, sizeof word, &needed, &err));
  HOLDS(type == BNN_TYPE_STR && needed > 0);
  OK(bnn_options_unread(copy, "model", SIZE_MAX, r, &err));
  HOLDS(has("alpha") && has("learning_rate") && !has("bias"));
  IS(BNN_ERR_INVALID, bnn_options_unread(copy, "modle", SIZE_MAX, r, &err));
  HOLDS(strstr(err.message, "did you mean `model`") != NULL);
  bnn_options_free(copy);
}

static void build_facts(void) {
  char word[200];
  size_t needed = 0;
  OK(bnn_context_info(ctx, r, &err));
  HOLDS(ROW(r, "threads") == 1 && ROW(r, "abi") == BNN_ABI && ROW(r, "abi_minor") == BNN_ABI_MINOR);
  OK(bnn_report_get_str(r, "version", SIZE_MAX, word, sizeof word, &needed, &err));
  HOLDS(needed == strlen(bnn_version_string()) && !memcmp(word, bnn_version_string(), needed));
  OK(bnn_report_get_str(r, "instructions", SIZE_MAX, word, sizeof word, &needed, &err));
  HOLDS(needed > 4 && !memcmp(word, "cpu ", 4));
  OK(bnn_report_get_str(r, "compiler", SIZE_MAX, word, sizeof word, &needed, &err));
  HOLDS(needed > 5 && !memcmp(word, "rustc", 5));
  HOLDS(bnn_abi() == BNN_ABI && bnn_abi_minor() == BNN_ABI_MINOR);
  HOLDS(!strcmp(bnn_status_name(BNN_OK), "BNN_OK") && !strcmp(bnn_status_name(BNN_ERR_STATE), "BNN_ERR_STATE"));
  HOLDS(!strcmp(bnn_status_name(-5), "unknown status") && strcmp(bnn_status_name(BNN_ERR_BUSY), bnn_status_name(BNN_ERR_DONE)));
}

int main(int argc, char **argv) {
  if (argc > 1) folder = argv[1];
  bnn_corpus *corpus = letters("abcdefgh");
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_options_new(&o, &err));
  OK(bnn_report_new(&r, &err));
  STR(o, "shape", "tiny"); U64(o, "n_embd", 16); U64(o, "block_size", T); U64(o, "baseline_batch_size", B); U64(o, "baseline_iters", 9);
  U64(o, "baseline_warmup_iters", 2); F64(o, "baseline_learning_rate", 0.01); F64(o, "dropout", 0.0);
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_model_sizes(model, &n, NULL, &err));
  runs(corpus);
  own_tokens();
  options();
  build_facts();
  bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o), bnn_report_free(r), bnn_context_free(ctx);
  return finish();
}
