/* What a sampler's reports say, row by row into the caller's numbers: a place is filled only when the call went well, NULL takes none. */
#include "check.h"

typedef struct {
  const char *name;
  double *number;
  uint64_t *count;
} row;
#define D(name, to) {name, to, NULL}
#define U(name, to) {name, NULL, to}

bnn_status read_rows(bnn_status got, bnn_report *report, const row *rows, size_t n);
bnn_status read_rows(bnn_status got, bnn_report *report, const row *rows, size_t n) {
  for (size_t i = 0; got == BNN_OK && i < n; ++i) {
    const char *name = rows[i].name;
    if (rows[i].number) OK(bnn_report_get_f64(report, name, strlen(name), rows[i].number, &err));
    if (rows[i].count) OK(bnn_report_get_u64(report, name, strlen(name), rows[i].count, &err));
  }
  bnn_report_free(report);
  return got;
}
static bnn_report *fresh(void) {
  bnn_report *report = NULL;
  OK(bnn_report_new(&report, &err));
  return report;
}
/* The rows of `call`, which fills `report` and gives a status in `got`. */
#define ROWS(call, ...) \
  bnn_report *report = fresh(); \
  const row rows[] = {__VA_ARGS__}; \
  const bnn_status got = (call); \
  return read_rows(got, report, rows, sizeof rows / sizeof *rows)

bnn_status step_size(const bnn_sampler *s, double *h, double *alpha, double *lr, double *momentum, double *error, bnn_error *e);
bnn_status step_size(const bnn_sampler *s, double *h, double *alpha, double *lr, double *momentum, double *error, bnn_error *e) {
  ROWS(bnn_sampler_step_size(s, report, e), D("step_size", h), D("alpha", alpha), D("learning_rate", lr), D("momentum", momentum), D("error", error));
}
bnn_status gradient_noise(const bnn_sampler *s, double *per_mass, double *damped, double *clamped, double *left, double *worst, bnn_error *e);
bnn_status gradient_noise(const bnn_sampler *s, double *per_mass, double *damped, double *clamped, double *left, double *worst, bnn_error *e) {
  ROWS(bnn_sampler_gradient_noise(s, report, e), D("noise_per_mass", per_mass), D("damped", damped), D("clamped", clamped), D("residual_heating", left),
       D("worst_heating", worst));
}
bnn_status last_step(const bnn_sampler *s, uint64_t *step, double *log_lik, double *log_post, double *kinetic, double *conf, double *xi, bnn_error *e);
bnn_status last_step(const bnn_sampler *s, uint64_t *step, double *log_lik, double *log_post, double *kinetic, double *conf, double *xi, bnn_error *e) {
  ROWS(bnn_sampler_report(s, report, e), U("step", step), D("log_lik", log_lik), D("log_post", log_post), D("kinetic_temperature", kinetic),
       D("configurational_temperature", conf), D("xi", xi));
}
/* Of a sampler on gradients of the caller's: the one value that came with the step. */
bnn_status last_value(const bnn_sampler *s, uint64_t *step, double *value, double *kinetic, double *conf, double *xi, bnn_error *e);
bnn_status last_value(const bnn_sampler *s, uint64_t *step, double *value, double *kinetic, double *conf, double *xi, bnn_error *e) {
  double log_lik = NAN, log_post = NAN;
  const bnn_status got = last_step(s, step, &log_lik, &log_post, kinetic, conf, xi, e);
  if (got == BNN_OK) *value = isnan(log_post) ? log_lik : log_post;
  return got;
}
bnn_status temperature(const bnn_sampler *s, size_t i, double k[3], double c[3], double *sd, uint64_t *count, bnn_error *e);
bnn_status temperature(const bnn_sampler *s, size_t i, double k[3], double c[3], double *sd, uint64_t *count, bnn_error *e) {
  ROWS(bnn_sampler_temperature(s, i, report, e), D("kinetic.mean", k), D("kinetic.sd", k + 1), D("kinetic.std_error", k + 2),
       D("configurational.mean", c), D("configurational.sd", c + 1), D("configurational.std_error", c + 2), D("equilibrium_sd", sd), U("count", count));
}
bnn_status llc(const bnn_sampler *s, double *value, double *se, double *excess, double *n_beta, uint64_t *looks, bnn_error *e);
bnn_status llc(const bnn_sampler *s, double *value, double *se, double *excess, double *n_beta, uint64_t *looks, bnn_error *e) {
  ROWS(bnn_sampler_llc(s, report, e), D("value", value), D("std_error", se), D("excess_loss", excess), D("n_beta", n_beta), U("looks", looks));
}
#define CURVATURE_ROWS D("largest", largest), D("residual", residual), D("smallest", smallest), U("products", made), D("step_limit", limit)
bnn_status curvature_of(bnn_sampler *s, uint64_t products, size_t batches, double *largest, double *residual, double *smallest, uint64_t *made,
                        double *limit, bnn_error *e);
bnn_status curvature_of(bnn_sampler *s, uint64_t products, size_t batches, double *largest, double *residual, double *smallest, uint64_t *made,
                        double *limit, bnn_error *e) {
  ROWS(bnn_sampler_curvature(s, products, batches, NULL, NULL, report, e), CURVATURE_ROWS);
}
bnn_status curvature_with(bnn_sampler *s, uint64_t products, bnn_gradient_callback f, void *of, double *largest, double *residual, double *smallest,
                          uint64_t *made, double *limit, bnn_error *e);
bnn_status curvature_with(bnn_sampler *s, uint64_t products, bnn_gradient_callback f, void *of, double *largest, double *residual, double *smallest,
                          uint64_t *made, double *limit, bnn_error *e) {
  ROWS(bnn_sampler_curvature_with_gradients(s, products, f, of, report, e), CURVATURE_ROWS);
}
bnn_status prior_fit(const bnn_sampler *s, double *p, double *gamma, double *evidence, bnn_error *e);
bnn_status prior_fit(const bnn_sampler *s, double *p, double *gamma, double *evidence, bnn_error *e) {
  ROWS(bnn_sampler_prior_fit(s, report, e), D("precision", p), D("effective_parameters", gamma), D("log_evidence", evidence));
}
#define ENERGY_ROWS D("potential.mean", mean), D("kinetic.mean", mean + 1), D("total.mean", mean + 2), D("drift.mean", mean + 3), \
  D("potential.std_error", se), D("kinetic.std_error", se + 1), D("total.std_error", se + 2), D("drift.std_error", se + 3)
bnn_status energy_of(const double *lp, const double *k, size_t n, size_t d, double t, double mean[4], double se[4], bnn_error *e);
bnn_status energy_of(const double *lp, const double *k, size_t n, size_t d, double t, double mean[4], double se[4], bnn_error *e) {
  ROWS(bnn_energy(lp, k, n, d, t, report, e), ENERGY_ROWS);
}
bnn_status energy_of_chain(const bnn_sampler *s, double mean[4], double se[4], bnn_error *e);
bnn_status energy_of_chain(const bnn_sampler *s, double mean[4], double se[4], bnn_error *e) {
  ROWS(bnn_sampler_energy(s, report, e), ENERGY_ROWS);
}
