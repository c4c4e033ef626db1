/* Scores: Brier, calibration, bootstrap, texts by words, a text token by token. What is printed the test compares with the Rust library's own. */
#include "check.h"

static uint64_t x = 12345;
static double uniform(void) {
  x = (x * 1103515245 + 12345) % 2147483648;
  return (double)x / 2147483648;
}

static void predictions(void) {
  enum { N = 300, V = 3 };
  static double p[N * V], confidence[N], a[N], b[N];
  static uint32_t outcome[N];
  static int32_t hit[N];
  double brier = 7, ece = 7;
  bnn_report *d = NULL;
  OK(bnn_report_new(&d, &err));
  for (int i = 0; i < N; ++i) {
    double u = uniform(), v = uniform() * (1 - u);
    p[3 * i] = u, p[3 * i + 1] = v, p[3 * i + 2] = 1 - u - v;
    outcome[i] = (uint32_t)(uniform() * 3), hit[i] = (int32_t)(5 * (uniform() < 0.6)), confidence[i] = 0.4 + 0.6 * uniform();
    a[i] = uniform() + 0.1 * (i % 7), b[i] = uniform() + 0.1 * (i % 7) + 0.05;
  }
  OK(bnn_brier_score(p, outcome, N, V, &brier, &err));
  OK(bnn_calibration_error(confidence, hit, N, 12, &ece, &err));
  OK(bnn_paired_bootstrap(a, b, N, 20, 500, 9, d, &err));
  printf("predictions %.17g %.17g %.17g %.17g %.17g %.17g %.17g\n", brier, ece, ROW(d, "mean"), ROW(d, "std_error"), ROW(d, "z"), ROW(d, "low"), ROW(d, "high"));

  double as = brier;
  IS(BNN_ERR_SHAPE, bnn_brier_score(p, outcome, 0, V, &brier, &err));
  IS(BNN_ERR_SHAPE, bnn_brier_score(p, outcome, N, 0, &brier, &err));
  IS(BNN_ERR_INVALID, bnn_brier_score(p, outcome, SIZE_MAX, 2, &brier, &err));
  IS(BNN_ERR_NULL, bnn_brier_score(NULL, outcome, N, V, &brier, &err));
  IS(BNN_ERR_NULL, bnn_brier_score(p, NULL, N, V, &brier, &err));
  OK(bnn_brier_score(p, outcome, N, V, NULL, &err));
  p[7] = NAN;
  IS(BNN_ERR_INVALID, bnn_brier_score(p, outcome, N, V, &brier, &err));
  HOLDS(strstr(err.message, "probability 1 of prediction 2") != NULL);
  p[7] = 0.5, outcome[4] = 3;
  IS(BNN_ERR_INVALID, bnn_brier_score(p, outcome, N, V, &brier, &err));
  HOLDS(brier == as);
  IS(BNN_ERR_INVALID, bnn_calibration_error(confidence, hit, N, 0, &ece, &err));
  IS(BNN_ERR_SHAPE, bnn_calibration_error(confidence, hit, 0, 12, &ece, &err));
  IS(BNN_ERR_NULL, bnn_calibration_error(NULL, hit, N, 12, &ece, &err));
  OK(bnn_calibration_error(confidence, hit, N, 12, NULL, &err));
  static const size_t HUGE_N[3] = {SIZE_MAX, SIZE_MAX / 8, (size_t)1 << 50};
  for (int i = 0; i < 3; ++i) {
    IS(BNN_ERR_NO_MEMORY, bnn_calibration_error(confidence, hit, N, HUGE_N[i], &ece, &err));
    HOLDS(strstr(err.message, "memory") != NULL);
    IS(BNN_ERR_NO_MEMORY, bnn_paired_bootstrap(a, b, N, 20, HUGE_N[i], 9, d, &err));
    HOLDS(strstr(err.message, "memory") != NULL);
  }
  confidence[8] = 0;
  IS(BNN_ERR_INVALID, bnn_calibration_error(confidence, hit, N, 12, &ece, &err));
  HOLDS(strstr(err.message, "confidence 8") != NULL);
#define BOOTSTRAP(want, a, n, block, resamples) IS(want, bnn_paired_bootstrap(a, b, n, block, resamples, 9, d, &err))
  BOOTSTRAP(BNN_ERR_INVALID, a, N, 0, 500);
  BOOTSTRAP(BNN_ERR_INVALID, a, N, 151, 500);
  BOOTSTRAP(BNN_ERR_INVALID, a, N, 20, 1);
  BOOTSTRAP(BNN_ERR_INVALID, a, 0, 20, 500);
  BOOTSTRAP(BNN_ERR_NULL, NULL, N, 20, 500);
  a[6] = INFINITY;
  BOOTSTRAP(BNN_ERR_INVALID, a, N, 20, 500);
  HOLDS(strstr(err.message, "token 6") != NULL);
  IS(BNN_ERR_NULL, bnn_paired_bootstrap(b, b, N, 20, 500, 9, NULL, &err));
  bnn_report_free(d);
}

static void texts(void) {
  static const char *R[2] = {"the cat sat on the mat by the door", "a b c d e"}, *P[2] = {"the cat sat on a mat by the door", "a b x d e"};
  size_t r[2], p[2];
  double word = 7, chars = 7;
  bnn_report *one = NULL, *other = NULL;
  OK(bnn_report_new(&one, &err));
  OK(bnn_report_new(&other, &err));
  for (int i = 0; i < 2; ++i) r[i] = strlen(R[i]), p[i] = strlen(P[i]);
  OK(bnn_bleu(R, r, P, p, 2, BNN_UNIT_WORD, 3, &word, &err));
  OK(bnn_bleu(R, r, P, p, 2, BNN_UNIT_CHAR, 3, &chars, &err));
  OK(bnn_rouge(R, r, P, p, 2, BNN_UNIT_WORD, one, &err));
  OK(bnn_rouge(R, r, P, p, 2, BNN_UNIT_CHAR, other, &err));
  printf("texts %.17g %.17g %.17g %.17g %.17g %.17g %.17g %.17g\n", word, chars, ROW(one, "rouge1"), ROW(one, "rouge2"), ROW(one, "rouge_l"),
         ROW(other, "rouge1"), ROW(other, "rouge2"), ROW(other, "rouge_l"));
  IS(BNN_ERR_INVALID, bnn_bleu(R, r, P, p, 2, 2, 3, &word, &err));
  HOLDS(strstr(err.message, "unit") != NULL);
  IS(BNN_ERR_INVALID, bnn_rouge(R, r, P, p, 2, -1, one, &err));
  IS(BNN_ERR_SHAPE, bnn_bleu(NULL, NULL, NULL, NULL, 0, BNN_UNIT_WORD, 3, &word, &err));
  bnn_report_free(one), bnn_report_free(other);
}

static void tokens(void) {
  static char text[2400];
  static float params[20000];
  static uint32_t val[2400];
  static double lp[2400], h[2400], mi[2400];
  bnn_context *ctx = NULL;
  bnn_options *o = NULL;
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_ensemble *e = NULL;
  bnn_report *r = NULL;
  size_t n = 0, t = 0, vocab = 0, n_train = 0, n_val = 0, needed = 0;
  OK(bnn_context_new(1, &ctx, &err));
  for (int i = 0; i < 2400; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_corpus_from_text(text, 2400, &corpus, &err));
  OK(bnn_corpus_sizes(corpus, &vocab, &n_train, &n_val, &err));
  IS(BNN_ERR_TOO_SMALL, bnn_corpus_tokens(corpus, BNN_SPLIT_VAL, val, 3, &needed, &err));
  HOLDS(needed == n_val && n_val == 240);
  IS(BNN_ERR_INVALID, bnn_corpus_tokens(corpus, 2, val, 2400, &needed, &err));
  IS(BNN_ERR_NULL, bnn_corpus_tokens(NULL, BNN_SPLIT_VAL, val, 2400, &needed, &err));
  IS(BNN_ERR_NULL, bnn_corpus_tokens(corpus, BNN_SPLIT_VAL, NULL, 2400, &needed, &err));
  OK(bnn_corpus_tokens(corpus, BNN_SPLIT_VAL, val, 2400, &needed, &err));
  OK(bnn_corpus_decode(corpus, val, needed, text, sizeof text, &needed, &err));
  HOLDS(needed == 240 && text[0] == "abcdefgh"[(2160 * 2160 / 3 + 2160) % 8]);

  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "n_embd", 16);
  U64(o, "block_size", 8);
  OK(bnn_model_new(ctx, o, vocab, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_model_get_params(model, params, n, &err));
  OK(bnn_ensemble_new(model, &e, &err));
#define SCORE(want, tokens, n) IS(want, bnn_ensemble_score(e, tokens, n, lp, h, mi, &err))
  SCORE(BNN_ERR_INVALID, val, 20); /* no sample yet */
  OK(bnn_ensemble_add(e, params, n, &err));
  /* One sample, shorter than the block: what the model itself says, and nothing to disagree about. */
  OK(bnn_ensemble_score(e, val, 6, lp, NULL, mi, &err));
  double loss = 0, sum = 0;
  bnn_evaluator *evaluator = NULL;
  OK(bnn_evaluator_new(model, &evaluator, &err));
  OK(bnn_evaluator_loss(evaluator, NULL, 0, val, val + 1, 1, 5, 0, &loss, NULL, &err));
  bnn_evaluator_free(evaluator);
  for (int i = 0; i < 5; ++i) sum -= lp[i], HOLDS(fabs(mi[i]) < 1e-12);
  NEAR(sum / 5, loss, 1e-6);
  for (int k = 0; k < 2; ++k) {
    for (size_t i = 0; i < n; ++i) params[i] *= -3;
    OK(bnn_ensemble_add(e, params, n, &err));
  }
  /* Of a whole split, as far as whole windows go: the evaluation's own. */
  size_t whole = (n_val - 1) / t * t;
  OK(bnn_report_new(&r, &err));
  OK(bnn_ensemble_evaluate(e, corpus, BNN_SPLIT_VAL, NULL, NULL, r, &err));
  SCORE(BNN_OK, val, whole + 1);
  double sums[3] = {0, 0, 0};
  for (size_t i = 0; i < whole; ++i) sums[0] -= lp[i], sums[1] += h[i], sums[2] += mi[i];
  NEAR(sums[0] / (double)whole, ROW(r, "loss"), 1e-12), NEAR(sums[1] / (double)whole, ROW(r, "entropy.mean"), 1e-12);
  NEAR(sums[2] / (double)whole, ROW(r, "mutual_information.mean"), 1e-12);
  HOLDS(ROW(r, "brier") > 0 && ROW(r, "brier") < 2 && ROW(r, "accuracy") > 0 && ROW(r, "accuracy") < 1);
  double each[3];
  size_t losses = 0;
  HOLDS(ROW(r, "samples") == 3 && ROW(r, "tokens") == (double)whole);
  OK(bnn_report_get_f64s(r, "loss_of_each", 12, each, 3, &losses, &err));
  NEAR((each[0] + each[1] + each[2]) / 3, ROW(r, "loss_mean"), 1e-12);
  printf("evaluate %.17g %.17g %.17g %.17g %.17g %.17g %.17g\n", ROW(r, "loss"), ROW(r, "loss_mean"), ROW(r, "entropy.mean"),
         ROW(r, "mutual_information.mean"), ROW(r, "ece"), ROW(r, "brier"), ROW(r, "accuracy"));
  /* And a rest of three. */
  SCORE(BNN_OK, val, 28);
  printf("score");
  for (int i = 0; i < 27; ++i) printf(" %.17g %.17g %.17g", lp[i], h[i], mi[i]);
  printf("\n");
  SCORE(BNN_ERR_INVALID, val, 1);
  SCORE(BNN_ERR_INVALID, NULL, 0);
  SCORE(BNN_ERR_NULL, NULL, 20);
  OK(bnn_ensemble_score(e, val, 20, NULL, h, mi, &err));
  IS(BNN_ERR_NULL, bnn_ensemble_score(NULL, val, 20, lp, h, mi, &err));
  /* A token that there is not: in a window, at its ends, the first one, and the last one, which is a target alone. */
  static const size_t WRONG[6] = {0, 3, 7, 8, 16, 19};
  for (int i = 0; i < 6; ++i) {
    char place[32];
    uint32_t kept = val[WRONG[i]];
    val[WRONG[i]] = i % 2 ? 65535 : 8;
    lp[0] = 7;
    SCORE(BNN_ERR_INVALID, val, 20);
    snprintf(place, sizeof place, "tokens[%d]:", (int)WRONG[i]);
    HOLDS(strstr(err.message, place) != NULL && lp[0] == 7);
    val[WRONG[i]] = kept;
  }
  bnn_report_free(r), bnn_ensemble_free(e), bnn_model_free(model), bnn_options_free(o), bnn_corpus_free(corpus), bnn_context_free(ctx);
}

int main(void) {
  predictions();
  texts();
  tokens();
  return finish();
}
