/* What the C tests share: a status must be the expected one, with a message where it is an error; other claims are counted too. */
#include "bnn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;
static bnn_error err;

static void is_at(int line, bnn_status got, bnn_status want) {
  if (got != want) printf("line %d: status %d, expected %d: %s\n", line, (int)got, (int)want, err.message), ++failures;
  if (got != BNN_OK && (err.code != got || err.message[0] == 0)) printf("line %d: no message\n", line), ++failures;
}
static void holds_at(int line, int claim, const char *text) {
  if (!claim) printf("line %d: not so: %s\n", line, text), ++failures;
}
void near_at(int line, double got, double want, double relative);
void near_at(int line, double got, double want, double relative) {
  if (!(fabs(got - want) <= relative * fabs(want))) printf("line %d: %.9g, expected %.9g\n", line, got, want), ++failures;
}
double row_at(int line, const bnn_report *report, const char *name);
double row_at(int line, const bnn_report *report, const char *name) {
  double value = NAN;
  memset(&err, 0, sizeof err), is_at(line, bnn_report_get_f64(report, name, strlen(name), &value, &err), BNN_OK);
  return value;
}
#define IS(want, call) do { memset(&err, 0, sizeof err); is_at(__LINE__, (call), (want)); } while (0)
#define OK(call) IS(BNN_OK, call)
#define HOLDS(claim) holds_at(__LINE__, (claim), #claim)
#define ROW(report, name) row_at(__LINE__, (report), (name))
#define NEAR(got, want, relative) near_at(__LINE__, (got), (want), (relative))
#define U64(o, name, v) OK(bnn_options_set_u64(o, name, strlen(name), (v), &err))
#define F64(o, name, v) OK(bnn_options_set_f64(o, name, strlen(name), (v), &err))
#define STR(o, name, v) OK(bnn_options_set_str(o, name, strlen(name), (v), strlen(v), &err))
#define UNSET(o, name) OK(bnn_options_unset(o, name, strlen(name), &err))

static int finish(void) {
  if (!failures) puts("all as documented");
  return failures != 0;
}
