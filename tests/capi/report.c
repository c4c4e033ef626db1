/* Reports: rows listed, described and got by name; what is asked for wrongly; one handle for many results. */
#include "check.h"

static void described(const bnn_report *r, size_t i, const char *want, int32_t want_type) {
  char name[64], meaning[256];
  size_t len = 0, needed = 0;
  int32_t type = -1;
  OK(bnn_report_name(r, i, name, sizeof name, &len, &err));
  HOLDS(len == strlen(want) && memcmp(name, want, len) == 0);
  OK(bnn_report_describe(r, name, len, &type, meaning, sizeof meaning, &needed, &err));
  HOLDS(type == want_type && needed > 10);
}

int main(void) {
  static const char *R[1] = {"a b c"}, *P[1] = {"a x c"};
  static const double DRAWS[8] = {1, 3, 2, 4, 2, 4, 1, 3};
  size_t n = 9, needed = 0, lens[1] = {5};
  int32_t type = -1;
  uint64_t count = 7;
  double value = 7, series[4];
  char text[64];
  bnn_report *r = NULL;
  IS(BNN_ERR_NULL, bnn_report_new(NULL, &err));
  OK(bnn_report_new(&r, &err));
  OK(bnn_report_count(r, &n, &err));
  HOLDS(n == 0);
  IS(BNN_ERR_INVALID, bnn_report_get_f64(r, "rhat", 4, &value, &err));

  OK(bnn_chain_diagnostics(DRAWS, 2, 4, r, &err));
  OK(bnn_report_count(r, &n, &err));
  HOLDS(n == 10);
  described(r, 0, "rhat", BNN_TYPE_F64);
  described(r, 4, "mcse_mean", BNN_TYPE_F64);
  described(r, 9, "q95", BNN_TYPE_F64);
  NEAR(ROW(r, "mean"), 2.5, 1e-12);
  NEAR(ROW(r, "sd"), sqrt(10.0 / 7), 1e-12);
  HOLDS(isfinite(ROW(r, "rhat")) && ROW(r, "ess_mean") > 0);
  /* A call that fails leaves the rows. */
  double before = ROW(r, "rhat");
  IS(BNN_ERR_INVALID, bnn_chain_diagnostics(DRAWS, 4, 2, r, &err));
  HOLDS(ROW(r, "rhat") == before);
  /* Another result in the same handle. */
  OK(bnn_rouge(R, lens, P, lens, 1, BNN_UNIT_WORD, r, &err));
  OK(bnn_report_count(r, &n, &err));
  HOLDS(n == 3);
  NEAR(ROW(r, "rouge1"), 2.0 / 3, 1e-12);
  IS(BNN_ERR_INVALID, bnn_report_get_f64(r, "rhat", 4, &value, &err));
  IS(BNN_ERR_INVALID, bnn_report_get_f64(r, "rouge", 5, &value, &err));
  HOLDS(strstr(err.message, "did you mean `rouge1`?") != NULL);
  IS(BNN_ERR_INVALID, bnn_report_get_u64(r, "rouge1", 6, &count, &err));
  IS(BNN_ERR_INVALID, bnn_report_get_str(r, "rouge1", 6, text, sizeof text, &needed, &err));
  IS(BNN_ERR_INVALID, bnn_report_get_f64s(r, "rouge1", 6, series, 4, &needed, &err));
  IS(BNN_ERR_INVALID, bnn_report_name(r, 3, text, sizeof text, &needed, &err));
  IS(BNN_ERR_TOO_SMALL, bnn_report_name(r, 0, text, 3, &needed, &err));
  HOLDS(needed == 6);
  IS(BNN_ERR_TOO_SMALL, bnn_report_describe(r, "rouge1", 6, &type, text, 2, &needed, &err));
  HOLDS(type == -1 && value == 7 && count == 7);
  IS(BNN_ERR_NULL, bnn_report_get_f64(NULL, "rouge1", 6, &value, &err));
  IS(BNN_ERR_NULL, bnn_report_get_f64(r, NULL, 6, &value, &err));
  OK(bnn_report_get_f64(r, "rouge1", 6, NULL, &err)); /* nobody needs to want what a call gives */
  OK(bnn_report_count(r, NULL, &err));
  IS(BNN_ERR_NULL, bnn_rouge(R, lens, P, lens, 1, BNN_UNIT_WORD, NULL, &err));
  bnn_report_free(r), bnn_report_free(NULL);
  return finish();
}
