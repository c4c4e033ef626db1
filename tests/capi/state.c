/* States on disk: a sampler that was saved and loaded goes on bit for bit; what is damaged or of something else is refused. */
#include "rows.h"
#include "files.h"

#define N_METHODS 13
#define N_CHAINS 8
static const char *METHODS[N_METHODS] = {"sgld", "sghmc", "sghmc_euler", "baoa", "sgnht", "sgnht_ding", "sgnht_euler", "sglrw", "ekf", "vi", "swag", "ivon", "laplace"};
static const char *MASSES[5] = {"rms", "adaptive", "fisher", "prior", "none"};
static char path[512];
static bnn_context *ctx;

static int same(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

static bnn_options *settings(const char *method) {
  bnn_options *o = NULL;
  OK(bnn_options_new(&o, &err));
  STR(o, "sampler", method);
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "block_size", 8);
  U64(o, "batch_size", 16);
  U64(o, "preconditioner_steps", 2);
  U64(o, "warmup_steps", 2);
  U64(o, "sampling_steps", 4);
  U64(o, "thinning", 2);
  U64(o, "chain", 3);
  F64(o, "num_data", 500.0);
  STR(o, "prior_center", "pretrained");
  if (!strncmp(method, "sgnht", 5)) F64(o, "thermostat_mass", 0.01);
  if (!strcmp(method, "swag")) {
    U64(o, "num_epochs", 1);
    U64(o, "swag_every", 1);
    U64(o, "swag_rank", 2);
  }
  return o;
}

/* What is read off two samplers on their way, the same: taken at each of `sampled` steps. */
static void looks(const bnn_sampler *whole, const bnn_sampler *resumed, uint64_t sampled) {
  double a[7], b[7];
  uint64_t count = 0, other = 0;
  size_t tensors = 0;
  for (; temperature(whole, tensors, a, a + 3, a + 6, &count, NULL) == BNN_OK; ++tensors) {
    OK(temperature(resumed, tensors, b, b + 3, b + 6, &other, &err));
    HOLDS(count == sampled && other == sampled);
    /* Without momenta there is no kinetic one. */
    for (int i = 0; i < 7; ++i) HOLDS(same(a[i], b[i]) || (isnan(a[i]) && isnan(b[i]) && i != 3 && i != 6));
  }
  HOLDS(tensors > 5);
  OK(llc(whole, a, a + 1, a + 2, a + 3, &count, &err));
  OK(llc(resumed, b, b + 1, b + 2, b + 3, &other, &err));
  HOLDS(count == sampled && other == sampled);
  for (int i = 0; i < 4; ++i) HOLDS(same(a[i], b[i]) || (i == 1 && isnan(a[i]) && isnan(b[i])));
}

/* Two samplers to their ends, the same in everything; where `asked`, the curvature is asked of one of them before each step. */
static void race(bnn_sampler *whole, bnn_sampler *resumed, size_t n, int thermostat, int asked) {
  static float a[100000], b[100000];
  int32_t phase = -1, due = -1, phase2 = -1, due2 = -1;
  do {
    uint64_t step, step2;
    double r[5], q[5], found[4];
    OK(bnn_sampler_step(whole, &phase, &due, &err));
    if (asked) {
      OK(curvature_of(resumed, 2, 1, found, found + 1, found + 2, &step, found + 3, &err));
      HOLDS(found[0] > found[2] && step == 2);
    }
    OK(bnn_sampler_step(resumed, &phase2, &due2, &err));
    HOLDS(phase == phase2 && due == due2);
    OK(last_step(whole, &step, r, r + 1, r + 2, r + 3, r + 4, &err));
    OK(last_step(resumed, &step2, q, q + 1, q + 2, q + 3, q + 4, &err));
    HOLDS(step == step2);
    for (int i = 0; i < 5; ++i) HOLDS(same(r[i], q[i]) || (isnan(r[i]) && isnan(q[i])));
    /* Only a thermostat has a friction that follows. */
    HOLDS(isnan(r[4]) == !thermostat);
    OK(bnn_sampler_get_params(whole, a, n, &err));
    OK(bnn_sampler_get_params(resumed, b, n, &err));
    HOLDS(memcmp(a, b, n * sizeof *a) == 0);
  } while (phase != BNN_PHASE_DONE);
  if (bnn_sampler_draw(whole, 7, a, n, NULL) == BNN_OK) {
    OK(bnn_sampler_draw(resumed, 7, b, n, &err));
    HOLDS(memcmp(a, b, n * sizeof *a) == 0);
  }
}

static void gpt(const char *method, const char *mass, int breaks_after) {
  bnn_options *o = settings(method);
  STR(o, "preconditioner", mass);
  U64(o, "preconditioner_every", 1);
  bnn_corpus *corpus = letters("abcdefgh");
  bnn_model *model = NULL;
  bnn_sampler *whole = NULL, *resumed = NULL;
  size_t n = 0, t = 0;
  int32_t phase = -1, due = -1;
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_sampler_new(model, corpus, o, &whole, &err));
  for (int i = 0; i < breaks_after; ++i) OK(bnn_sampler_step(whole, &phase, &due, &err));
  OK(bnn_sampler_save(whole, path, strlen(path), &err));
  OK(bnn_sampler_load(model, corpus, o, path, strlen(path), &resumed, &err));
  race(whole, resumed, n, !strncmp(method, "sgnht", 5), 0);
  bnn_sampler_free(whole), bnn_sampler_free(resumed), bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o);
}

/* Settings under which a method's steps do not depend on how many there are. */
static bnn_options *open_ended(const char *method) {
  bnn_options *o = settings(method);
  STR(o, "schedule", "polynomial");
  F64(o, "schedule_delay", 2.0);
  STR(o, "temperature_schedule", "polynomial");
  if (!strcmp(method, "ekf")) F64(o, "step_size", 3.0);
  return o;
}

/* A run of one length, saved after some steps, goes on as one that was of the other length from the start. */
static void gpt_of(const char *method, const char *mass, const char *length, uint64_t saved, uint64_t loaded, int breaks_after) {
  bnn_options *o = open_ended(method);
  STR(o, "preconditioner", mass);
  U64(o, "preconditioner_every", 1);
  bnn_corpus *corpus = letters("abcdefgh");
  bnn_model *model = NULL;
  bnn_sampler *first = NULL, *whole = NULL, *resumed = NULL;
  size_t n = 0, t = 0;
  int32_t phase = -1, due = -1;
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  U64(o, length, saved);
  OK(bnn_sampler_new(model, corpus, o, &first, &err));
  for (int i = 0; breaks_after < 0 ? phase != BNN_PHASE_DONE : i < breaks_after; ++i) OK(bnn_sampler_step(first, &phase, &due, &err));
  OK(bnn_sampler_save(first, path, strlen(path), &err));
  U64(o, length, loaded);
  OK(bnn_sampler_load(model, corpus, o, path, strlen(path), &resumed, &err));
  OK(bnn_sampler_new(model, corpus, o, &whole, &err));
  uint64_t made = 0;
  if (breaks_after) {
    double r[5];
    OK(last_step(first, &made, r, r + 1, r + 2, r + 3, r + 4, &err));
    ++made;
  }
  for (uint64_t i = 0; i < made; ++i) OK(bnn_sampler_step(whole, &phase, &due, &err));
  HOLDS(phase != BNN_PHASE_DONE);
  /* What it saves is of the new length. */
  OK(bnn_sampler_save(resumed, path, strlen(path), &err));
  bnn_sampler_free(resumed), resumed = NULL;
  OK(bnn_sampler_load(model, corpus, o, path, strlen(path), &resumed, &err));
  race(whole, resumed, n, !strncmp(method, "sgnht", 5), 0);
  bnn_sampler_free(first), bnn_sampler_free(whole), bnn_sampler_free(resumed);
  bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o);
}

/* Where steps depend on the length another one is refused with the reason, before the first step too. */
static void fixed(const char *method, const char *option, const char *value, const char *length, uint64_t longer, const char *why) {
  static float theta[3] = {1, 2, 3};
  bnn_options *o = settings(method);
  bnn_corpus *corpus = letters("abcdefgh");
  bnn_model *model = NULL;
  bnn_sampler *s = NULL, *none = NULL;
  bnn_sampler *v = NULL, *no_vector = NULL;
  if (option) STR(o, option, value);
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  OK(bnn_sampler_save(s, path, strlen(path), &err));
  U64(o, length, longer);
  IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  HOLDS(strstr(err.message, why) != NULL && strstr(err.message, "steps") != NULL);
  UNSET(o, length);
  OK(bnn_sampler_new_with_gradients(ctx, o, theta, 3, &v, &err));
  OK(bnn_sampler_save(v, path, strlen(path), &err));
  U64(o, "sampling_steps", 12);
  IS(BNN_ERR_MISMATCH, bnn_sampler_load_with_gradients(ctx, o, 3, path, strlen(path), &no_vector, &err));
  HOLDS(strstr(err.message, why) != NULL && strstr(err.message, "steps") != NULL);
  HOLDS(none == NULL && no_vector == NULL);
  bnn_sampler_free(s), bnn_sampler_free(v), bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o);
}

static void too_short(void) {
  bnn_options *o = open_ended("baoa");
  bnn_corpus *corpus = letters("abcdefgh");
  bnn_model *model = NULL;
  bnn_sampler *s = NULL, *none = NULL;
  int32_t phase, due;
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  for (int i = 0; i < 7; ++i) OK(bnn_sampler_step(s, &phase, &due, &err));
  OK(bnn_sampler_save(s, path, strlen(path), &err));
  /* Two gradients for the mass, two steps of warm-up, three of sampling. */
  U64(o, "thinning", 1);
  IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  HOLDS(strstr(err.message, "thinning") != NULL);
  U64(o, "thinning", 2);
  U64(o, "sampling_steps", 2);
  IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  HOLDS(strstr(err.message, "steps made is 7, expected at most 6") != NULL);
  /* Beside another difference the length is no matter. */
  U64(o, "sampling_steps", 9);
  F64(o, "step_size", 1e-3);
  IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  HOLDS(strstr(err.message, "step_size") != NULL && none == NULL);
  UNSET(o, "step_size");
  /* Just the steps that were made: it is done. */
  U64(o, "sampling_steps", 3);
  OK(bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err));
  IS(BNN_ERR_DONE, bnn_sampler_step(none, &phase, &due, &err));
  bnn_sampler_free(s), bnn_sampler_free(none), bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o);
}

/* As gpt_of, from a run of 4 (and 2 of warm-up, where it is a chain) to one of `loaded`. */
static void vector_of(const char *method, uint64_t loaded, int breaks_after) {
  enum { N = 5 };
  bnn_options *o = open_ended(method);
  bnn_sampler *first = NULL, *s[2] = {NULL, NULL};
  float at[3][N], grad[N], squares[N];
  int32_t phase = -1, due = -1;
  int squared = !strcmp(method, "ekf") || !strcmp(method, "laplace"), steps = 0;
  for (int i = 0; i < N; ++i) at[0][i] = at[2][i] = (float)(i % 3) - 0.7f;
  OK(bnn_sampler_new_with_gradients(ctx, o, at[2], N, &first, &err));
  U64(o, "sampling_steps", loaded);
  OK(bnn_sampler_new_with_gradients(ctx, o, at[0], N, &s[0], &err));
  OK(bnn_sampler_get_params(first, at[2], N, &err));
  OK(bnn_sampler_get_params(s[0], at[0], N, &err));
  for (int k = 0; k == 0 || phase != BNN_PHASE_DONE; ++k, ++steps) {
    if (k == breaks_after) {
      OK(bnn_sampler_save(first, path, strlen(path), &err));
      OK(bnn_sampler_load_with_gradients(ctx, o, N, path, strlen(path), &s[1], &err));
      OK(bnn_sampler_get_params(s[1], at[1], N, &err));
    }
    for (int j = 2; j >= 0; --j) {
      bnn_sampler *one = j == 2 ? first : s[j];
      double lp = 0;
      if (!one || (j == 2 && k >= breaks_after)) continue;
      for (int i = 0; i < N; ++i) grad[i] = -at[j][i], squares[i] = grad[i] * grad[i], lp -= 0.5 * squares[i];
      if (squared)
        OK(bnn_sampler_step_squares(one, grad, squares, N, lp, at[j], &phase, &due, &err));
      else
        OK(bnn_sampler_step_gradient(one, grad, N, lp, at[j], &phase, &due, &err));
    }
    if (s[1]) HOLDS(memcmp(at[0], at[1], sizeof at[0]) == 0);
  }
  HOLDS(s[1] != NULL && steps == (int)loaded + (strcmp(method, "ekf") && strcmp(method, "vi") && strcmp(method, "swag") && strcmp(method, "ivon") ? 2 : 0));
  bnn_sampler_free(first), bnn_sampler_free(s[0]), bnn_sampler_free(s[1]), bnn_options_free(o);
}

static void vector(const char *method, int breaks_after) {
  enum { N = 5 };
  bnn_options *o = settings(method);
  bnn_sampler *s[2] = {NULL, NULL};
  float theta[N] = {1, -1, 0.5f, 0, 2}, at[2][N], grad[N], squares[N];
  int32_t phase = -1, due = -1;
  int squared = !strcmp(method, "ekf") || !strcmp(method, "laplace");
  OK(bnn_sampler_new_with_gradients(ctx, o, theta, N, &s[0], &err));
  OK(bnn_sampler_get_params(s[0], at[0], N, &err));
  for (int k = 0; k == 0 || phase != BNN_PHASE_DONE; ++k) {
    if (k == breaks_after) {
      OK(bnn_sampler_save(s[0], path, strlen(path), &err));
      IS(BNN_ERR_SHAPE, bnn_sampler_load_with_gradients(ctx, o, N + 1, path, strlen(path), &s[1], &err));
      OK(bnn_sampler_load_with_gradients(ctx, o, N, path, strlen(path), &s[1], &err));
      OK(bnn_sampler_get_params(s[1], at[1], N, &err));
      HOLDS(memcmp(at[0], at[1], sizeof at[0]) == 0);
    }
    for (int j = 0; j < 1 + (s[1] != NULL); ++j) {
      double lp = 0;
      for (int i = 0; i < N; ++i) grad[i] = -at[j][i], squares[i] = grad[i] * grad[i], lp -= 0.5 * squares[i];
      if (squared)
        OK(bnn_sampler_step_squares(s[j], grad, squares, N, lp, at[j], &phase, &due, &err));
      else
        OK(bnn_sampler_step_gradient(s[j], grad, N, lp, at[j], &phase, &due, &err));
    }
    if (s[1]) HOLDS(memcmp(at[0], at[1], sizeof at[0]) == 0);
  }
  HOLDS(s[1] != NULL);
  bnn_sampler_free(s[0]), bnn_sampler_free(s[1]), bnn_options_free(o);
}

static size_t read_all(char *to, size_t room) {
  FILE *f = fopen(path, "rb");
  size_t len = f ? fread(to, 1, room, f) : 0;
  if (f) fclose(f);
  return len;
}
static void write_all(const char *from, size_t len) {
  FILE *f = fopen(path, "wb");
  HOLDS(f != NULL && fwrite(from, 1, len, f) == len);
  if (f) fclose(f);
}

static void refused(void) {
  static char bytes[2000000], first[2000000];
  bnn_options *o = settings("sgnht");
  bnn_corpus *corpus = letters("abcdefgh"), *text = NULL, *chars = letters("abcdefgx");
  bnn_model *model = NULL;
  bnn_sampler *s = NULL, *none = NULL;
  int32_t phase, due;
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  for (int i = 0; i < 4; ++i) OK(bnn_sampler_step(s, &phase, &due, &err));
  OK(bnn_sampler_save(s, path, strlen(path), &err));
  size_t len = read_all(bytes, sizeof bytes);
  HOLDS(len > 100 && len < sizeof bytes);
#define LOAD(want) IS(want, bnn_sampler_load(model, corpus, o, path, strlen(path), &none, &err))
  /* Saved again it is the same file. */
  OK(bnn_sampler_save(s, path, strlen(path), &err));
  HOLDS(read_all(first, sizeof first) == len && memcmp(first, bytes, len) == 0);
  bytes[len / 2] ^= 1, write_all(bytes, len);
  LOAD(BNN_ERR_BAD_CHECKSUM);
  bytes[len / 2] ^= 1, write_all(bytes, len - 1);
  LOAD(BNN_ERR_BAD_LENGTH);
  write_all("something else entirely", 23);
  LOAD(BNN_ERR_BAD_MAGIC);
  IS(BNN_ERR_IO, bnn_sampler_load(model, corpus, o, "/no/such", 8, &none, &err));
  IS(BNN_ERR_IO, bnn_sampler_save(s, "/no/such", 8, &err));
  write_all(bytes, len);
  F64(o, "step_size", 1e-3);
  LOAD(BNN_ERR_MISMATCH);
  HOLDS(strstr(err.message, "step_size") != NULL);
  UNSET(o, "step_size");
  U64(o, "window", 4);
  LOAD(BNN_ERR_MISMATCH);
  HOLDS(strstr(err.message, "window") != NULL);
  UNSET(o, "window");
  U64(o, "chain", 2);
  LOAD(BNN_ERR_MISMATCH);
  U64(o, "chain", 3);
  STR(o, "sampler", "vi");
  LOAD(BNN_ERR_MISMATCH);
  STR(o, "sampler", "sgnht");
  /* The same characters in another order are another text; other characters are no text of this model's. */
  OK(bnn_corpus_from_text("hgfedcba", 8, &text, &err));
  bnn_corpus_free(text), text = letters("hgfedcba");
  IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, text, o, path, strlen(path), &none, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_load(model, chars, o, path, strlen(path), &none, &err));
  IS(BNN_ERR_INVALID, bnn_sampler_new(model, chars, o, &none, &err));
  /* The prior's centre is the model's parameters: they must be those of then. */
  static float params[100000];
  size_t n = 0, t = 0;
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_model_get_params(model, params, n, &err));
  float before = params[0];
  params[0] += 1;
  OK(bnn_model_set_params(model, params, n, &err));
  LOAD(BNN_ERR_MISMATCH);
  params[0] = before;
  OK(bnn_model_set_params(model, params, n, &err));
  HOLDS(none == NULL);
  LOAD(BNN_OK);
  uint64_t step;
  double a, b, c, d, e;
  IS(BNN_ERR_STATE, last_step(none, &step, &a, &b, &c, &d, &e, &err));
  bnn_sampler_free(s), bnn_sampler_free(none), bnn_model_free(model), bnn_options_free(o);
  bnn_corpus_free(corpus), bnn_corpus_free(text), bnn_corpus_free(chars);
}

/* A mass that follows the chain, with and without its divergence term; all that is read off it falls due at every sampling step. */
static bnn_options *follows(const char *method, uint64_t gamma, double decay, double floor) {
  bnn_options *o = settings(method);
  STR(o, "preconditioner", "live");
  U64(o, "preconditioner_gamma", gamma);
  F64(o, "preconditioner_decay", decay);
  F64(o, "preconditioner_floor", floor);
  U64(o, "temperature_every", 1);
  U64(o, "llc_every", 1);
  return o;
}

static void live(void) {
  enum { KINDS = 4 };
  static float ends[KINDS][100000];
  /* The last is of a method that has no such mass. */
  bnn_options *o[KINDS + 1] = {follows("sgld", 1, 0.9, 0.1), follows("sgld", 0, 0.9, 0.1), follows("sgld", 1, 0.0, 0.1), follows("sgld", 1, 0.9, 0.7),
                               follows("baoa", 1, 0.9, 0.1)};
  static const char *next_differs[KINDS] = {"gamma", "decay", "floor", "floor"};
  bnn_corpus *corpus = letters("abcdefgh");
  bnn_model *model = NULL;
  bnn_sampler *whole = NULL, *resumed = NULL;
  size_t n = 0, t = 0;
  int32_t phase = -1, due = -1;
  OK(bnn_model_new(ctx, o[0], 8, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  for (int k = 0; k < KINDS; ++k)
    for (int breaks_after = 0; breaks_after < 6; ++breaks_after) {
      OK(bnn_sampler_new(model, corpus, o[k], &whole, &err));
      for (int i = 0; i < breaks_after; ++i) OK(bnn_sampler_step(whole, &phase, &due, &err));
      OK(bnn_sampler_save(whole, path, strlen(path), &err));
      if (breaks_after == 5) {
        /* Each of its settings makes another chain. */
        IS(BNN_ERR_MISMATCH, bnn_sampler_load(model, corpus, o[(k + 1) % KINDS], path, strlen(path), &resumed, &err));
        HOLDS(strstr(err.message, next_differs[k]) != NULL);
        U64(o[k], "sampling_steps", 8);
        OK(bnn_sampler_load(model, corpus, o[k], path, strlen(path), &resumed, &err));
        bnn_sampler_free(resumed), resumed = NULL;
        U64(o[k], "sampling_steps", 4);
      }
      OK(bnn_sampler_load(model, corpus, o[k], path, strlen(path), &resumed, &err));
      race(whole, resumed, n, 0, 1);
      looks(whole, resumed, 4);
      OK(bnn_sampler_get_params(whole, ends[k], n, &err));
      bnn_sampler_free(whole), bnn_sampler_free(resumed), whole = resumed = NULL;
    }
  for (int k = 0; k < KINDS; ++k)
    for (int j = 0; j < k; ++j) HOLDS(memcmp(ends[j], ends[k], n * sizeof **ends) != 0);
  IS(BNN_ERR_INVALID, bnn_sampler_new(model, corpus, o[KINDS], &whole, &err));
  HOLDS(strstr(err.message, "preconditioner") != NULL && strstr(err.message, "baoa") != NULL);
  IS(BNN_ERR_INVALID, bnn_options_set_f64(o[0], "preconditioner_decay", 20, 1.0, &err));
  /* No step is looked for under it: refused before any gradient is taken. */
  U64(o[0], "warmup_steps", 60);
  U64(o[0], "auto_step", 1);
  IS(BNN_ERR_INVALID, bnn_sampler_new(model, corpus, o[0], &whole, &err));
  HOLDS(strstr(err.message, "auto_step") != NULL && strstr(err.message, "follows the chain") != NULL);
  STR(o[0], "preconditioner", "rms");
  OK(bnn_sampler_new(model, corpus, o[0], &whole, &err));
  bnn_sampler_free(whole), whole = NULL;
  /* The adaptive mass has a decay above 0. */
  STR(o[2], "preconditioner", "adaptive");
  IS(BNN_ERR_INVALID, bnn_sampler_new(model, corpus, o[2], &whole, &err));
  HOLDS(strstr(err.message, "preconditioner_decay") != NULL && whole == NULL);
  for (int k = 0; k <= KINDS; ++k) bnn_options_free(o[k]);
  bnn_model_free(model), bnn_corpus_free(corpus);
}

int main(int argc, char **argv) {
  snprintf(path, sizeof path, "%s/state.bnn", argc > 1 ? argv[1] : ".");
  OK(bnn_context_new(1, &ctx, &err));
  for (int m = 0; m < N_METHODS; ++m) {
    /* Before any step; while the mass is estimated; when it was set; while sampling. */
    for (int k = 0; k < 6; k += m < N_CHAINS ? 1 : 3) gpt(METHODS[m], MASSES[(m + k) % 5], k);
    for (int k = 0; k < 4; ++k) vector(METHODS[m], k);
  }
  refused();
  live();
  for (int m = 0; m < N_CHAINS + 4; ++m) {
    const char *length = m < N_CHAINS ? "sampling_steps" : "num_epochs";
    /* While the mass is estimated, while sampling, and when all is done; to more steps and to fewer. */
    for (int k = 1; k < 8; k += 2) gpt_of(METHODS[m], MASSES[(m + k) % 5], length, m < N_CHAINS ? 4 : 1, m < N_CHAINS ? 9 : 2, k == 7 ? -1 : k);
    gpt_of(METHODS[m], MASSES[m % 5], length, m < N_CHAINS ? 9 : 2, m < N_CHAINS ? 4 : 1, 4);
    for (int k = 0; k < 5; ++k) vector_of(METHODS[m], 9, k);
    if (m < N_CHAINS) vector_of(METHODS[m], 9, 6);
    vector_of(METHODS[m], 3, 2);
  }
  fixed("baoa", "schedule", "linear", "sampling_steps", 8, "step size depends");
  fixed("sgld", "schedule", "cosine", "sampling_steps", 3, "step size depends");
  fixed("sgnht", "schedule", "cyclical", "sampling_steps", 8, "step size depends");
  fixed("baoa", "temperature_schedule", "linear", "sampling_steps", 8, "temperature depends");
  fixed("sghmc", "temperature_schedule", "cosine", "sampling_steps", 8, "temperature depends");
  fixed("vi", NULL, NULL, "num_epochs", 2, "vi's rate depends");
  fixed("ekf", NULL, NULL, "num_epochs", 2, "share of the data");
  fixed("laplace", "schedule", "constant", "num_epochs", 2, "share of the data");
  too_short();
  bnn_context_free(ctx);
  return finish();
}
