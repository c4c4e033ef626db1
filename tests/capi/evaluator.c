/* A model evaluated anywhere, and tokens of the caller's everywhere: without a text, with one that is tokens, by pull of a batch; and the model's facts. */
#include "check.h"
#include "files.h"

#define V 8
enum { B = 3, T = 6, N = B * T, D = 20000 };

static uint32_t x[N], y[N];
static float params[D], grad[D], squares[D], more[D], fisher[D], sum_squares[D];
static double log_probs[N];
static float logits[N * V];
static bnn_context *ctx = NULL;
static bnn_options *o = NULL;
static bnn_model *model = NULL;
static bnn_report *r = NULL;
static size_t n = 0;

static void tokens_of(unsigned seed) {
  for (unsigned i = 0; i < N; ++i) x[i] = (i * i + seed * i + 3) % V, y[i] = (i * 5 + seed) % V;
}

/* Every number agrees with every other, at the model's parameters and at others. */
static void anywhere(bnn_evaluator *e) {
  double mean = 0, total = 0, again = 0;
  tokens_of(1);
  OK(bnn_model_get_params(model, params, n, &err));
  for (int other = 0; other < 2; ++other) {
    for (size_t i = 0; other && i < n; ++i) params[i] += 0.02f * (float)((i * 7) % 11) - 0.1f;
    OK(bnn_evaluator_loss(e, params, n, x, y, B, T, 0, &mean, &total, &err));
    NEAR(total, mean * N, 1e-12);
    OK(bnn_evaluator_log_probs(e, params, n, x, y, B, T, log_probs, &err));
    double sum = 0;
    for (int i = 0; i < N; ++i) sum -= log_probs[i];
    NEAR(sum, total, 1e-6);
    /* The softmax of the logits. */
    OK(bnn_evaluator_logits(e, params, n, x, B, T, logits, N * V, &err));
    for (int i = 0; i < N; ++i) {
      double all = 0;
      for (int v = 0; v < V; ++v) all += exp(logits[i * V + v]);
      NEAR(logits[i * V + (int)y[i]] - log(all), log_probs[i], 1e-5);
    }
    /* The gradient along itself by differences. */
    OK(bnn_evaluator_gradient(e, params, n, x, y, B, T, 0, &again, NULL, grad, &err));
    HOLDS(again == mean);
    double norm = 0, up = 0, down = 0;
    for (size_t i = 0; i < n; ++i) norm += (double)grad[i] * grad[i];
    const float h = (float)(2e-3 / sqrt(norm));
    for (size_t i = 0; i < n; ++i) more[i] = params[i] + h * grad[i];
    OK(bnn_evaluator_loss(e, more, n, x, y, B, T, 0, &up, NULL, &err));
    for (size_t i = 0; i < n; ++i) more[i] = params[i] - h * grad[i];
    OK(bnn_evaluator_loss(e, more, n, x, y, B, T, 0, &down, NULL, &err));
    NEAR((up - down) / (2 * h), norm, 2e-2);
    /* The squares are those of each sequence's own gradient of its sum. */
    OK(bnn_evaluator_squares(e, params, n, x, y, B, T, 0, &again, NULL, more, squares, &err));
    memset(sum_squares, 0, sizeof sum_squares);
    for (int b = 0; b < B; ++b) {
      OK(bnn_evaluator_gradient(e, params, n, x + b * T, y + b * T, 1, T, 0, NULL, NULL, fisher, &err));
      for (size_t i = 0; i < n; ++i) sum_squares[i] += (float)T * fisher[i] * (float)T * fisher[i];
    }
    double off = 0, size = 0, way = 0;
    for (size_t i = 0; i < n; ++i) off += fabs(squares[i] - sum_squares[i]), size += sum_squares[i], way += fabs(more[i] - grad[i]);
    HOLDS(size > 0 && off < 1e-4 * size && way < 1e-4 * sqrt(norm) * sqrt((double)n));
  }
  /* The last position of each sequence alone. */
  OK(bnn_evaluator_loss(e, params, n, x, y, B, T, 1, &mean, &total, &err));
  NEAR(total, -(log_probs[T - 1] + log_probs[2 * T - 1] + log_probs[3 * T - 1]), 1e-6);
  NEAR(total, 3 * mean, 1e-12);
  /* NULL is the model's parameters, whatever was evaluated before. */
  OK(bnn_model_get_params(model, params, n, &err));
  OK(bnn_evaluator_loss(e, params, n, x, y, B, T, 0, &mean, NULL, &err));
  OK(bnn_evaluator_loss(e, NULL, 0, x, y, B, T, 0, &again, NULL, &err));
  HOLDS(mean == again);
}

/* What is refused leaves what the caller has as it is, and says where. */
static void refused(bnn_evaluator *e) {
  double mean = 77;
  float kept = grad[5];
  bnn_evaluator *none = NULL;
  y[2 * T + 3] = V;
  IS(BNN_ERR_INVALID, bnn_evaluator_gradient(e, NULL, 0, x, y, B, T, 0, &mean, NULL, grad, &err));
  HOLDS(strstr(err.message, "y[2, 3]: expected a token below vocab_size = 8, got 8") != NULL);
  y[2 * T + 3] = 65536 + 1; /* 16 bits of it would be a token */
  IS(BNN_ERR_INVALID, bnn_evaluator_squares(e, NULL, 0, x, y, B, T, 0, &mean, NULL, grad, squares, &err));
  IS(BNN_ERR_INVALID, bnn_evaluator_log_probs(e, NULL, 0, x, y, B, T, log_probs, &err));
  y[2 * T + 3] = 0;
  IS(BNN_ERR_SHAPE, bnn_evaluator_gradient(e, params, n - 1, x, y, B, T, 0, &mean, NULL, grad, &err));
  IS(BNN_ERR_SHAPE, bnn_evaluator_logits(e, NULL, 0, x, B, T, logits, N * V - 1, &err));
  kept = logits[3];
  IS(BNN_ERR_SHAPE, bnn_evaluator_logits(e, params, n - 1, x, B, T, logits, N * V, &err));
  HOLDS(logits[3] == kept);
  kept = grad[5];
  IS(BNN_ERR_INVALID, bnn_evaluator_loss(e, NULL, 0, x, y, 0, T, 0, &mean, NULL, &err));
  IS(BNN_ERR_INVALID, bnn_evaluator_loss(e, NULL, 0, x, y, 1, N, 0, &mean, NULL, &err)); /* longer than the block */
  IS(BNN_ERR_INVALID, bnn_evaluator_loss(e, NULL, 0, x, y, SIZE_MAX, 2, 0, &mean, NULL, &err));
  IS(BNN_ERR_NULL, bnn_evaluator_loss(e, NULL, 0, NULL, y, B, T, 0, &mean, NULL, &err));
  IS(BNN_ERR_NULL, bnn_evaluator_loss(e, NULL, n, x, y, B, T, 0, &mean, NULL, &err));
  IS(BNN_ERR_NULL, bnn_evaluator_gradient(e, NULL, 0, x, y, B, T, 0, &mean, NULL, NULL, &err));
  IS(BNN_ERR_NULL, bnn_evaluator_loss(NULL, NULL, 0, x, y, B, T, 0, &mean, NULL, &err));
  IS(BNN_ERR_NULL, bnn_evaluator_new(NULL, &none, &err));
  IS(BNN_ERR_NULL, bnn_evaluator_new(model, NULL, &err));
  HOLDS(mean == 77 && grad[5] == kept && none == NULL);
}

/* Sizes, switches, tensors; a copy goes its own way. */
static void facts(void) {
  bnn_model *copy = NULL;
  size_t at = 0, dims = 0, rows = 0, columns = 0, offset = 0, len = 0, sum = 0;
  char word[16];
  OK(bnn_model_info(model, r, &err));
  HOLDS(ROW(r, "vocab_size") == V && ROW(r, "block_size") == 8 && ROW(r, "n_layer") == 2 && ROW(r, "n_head") == 2 && ROW(r, "n_embd") == 16);
  HOLDS(ROW(r, "bias") == 1 && ROW(r, "tie_weights") == 0 && ROW(r, "n_params") == (double)n && ROW(r, "characters") == 0);
  NEAR(ROW(r, "dropout"), 0.25, 1e-7);
  OK(bnn_report_get_str(r, "gelu", SIZE_MAX, word, sizeof word, &len, &err));
  HOLDS(len == 4 && !memcmp(word, "tanh", 4));
  OK(bnn_report_get_str(r, "precision", SIZE_MAX, word, sizeof word, &len, &err));
  HOLDS(len == 4 && !memcmp(word, "high", 4));
  for (size_t i = 0; i < (size_t)ROW(r, "tensors"); ++i) {
    OK(bnn_model_tensor(model, i, NULL, 0, NULL, &dims, &rows, &columns, &offset, &len, &err));
    HOLDS(offset == sum && rows * columns == len && (dims == 2 || columns == 1));
    sum += len;
  }
  HOLDS(sum == n);
  OK(bnn_model_find_tensor(model, "transformer.h.1.mlp.c_fc.weight", SIZE_MAX, &at, &err));
  OK(bnn_model_tensor(model, at, NULL, 0, NULL, &dims, &rows, &columns, NULL, NULL, &err));
  HOLDS(dims == 2 && rows == 64 && columns == 16);
  IS(BNN_ERR_INVALID, bnn_model_find_tensor(model, "transformer.h.1.mlp.c_fc.wieght", SIZE_MAX, &at, &err));
  HOLDS(strstr(err.message, "did you mean") != NULL);
  OK(bnn_model_copy(model, &copy, &err));
  OK(bnn_model_get_params(copy, more, n, &err));
  HOLDS(!memcmp(more, params, n * sizeof *more));
  more[3] += 1;
  OK(bnn_model_set_params(copy, more, n, &err));
  OK(bnn_model_get_params(model, more, n, &err));
  HOLDS(!memcmp(more, params, n * sizeof *more));
  bnn_model_free(copy);
}

static void run_to(bnn_sampler *s, int how, bnn_evaluator *e, const bnn_sampler *batches, float *to) {
  int32_t phase = 0, due = 0;
  double loss = 0;
  for (uint64_t step = 0; phase != BNN_PHASE_DONE; ++step) {
    size_t b = 0, t = 0;
    OK(bnn_sampler_batch(batches, step, x, y, N, &b, &t, &err));
    HOLDS(b == B && t == T);
    if (how == 0) OK(bnn_sampler_step(s, &phase, &due, &err));
    if (how == 1) OK(bnn_sampler_step_tokens(s, x, y, N, &phase, &due, &err));
    if (how == 2) {
      OK(bnn_sampler_get_params(s, params, n, &err));
      OK(bnn_evaluator_gradient(e, params, n, x, y, B, T, 0, &loss, NULL, grad, &err));
      OK(bnn_sampler_step_loss_gradient(s, grad, n, loss, &phase, &due, &err));
    }
    if (failures) return;
  }
  OK(bnn_sampler_get_params(s, to, n, &err));
}

/* A step by itself, on its batch given as tokens, without a text, and on an outside gradient: the same bits. */
static void steps(bnn_evaluator *e) {
  static uint32_t train[400], val[60];
  static float end[4][D], momenta[D], mass[D];
  bnn_corpus *corpus = NULL, *no_text = NULL;
  bnn_sampler *s[4] = {NULL}, *none = NULL;
  int32_t phase = 77, due = 0;
  size_t needed = 0, b = 0, t = 0;
  uint32_t token = 0;
  for (unsigned i = 0; i < 400; ++i) train[i] = (i * i / 3 + i) % V;
  for (unsigned i = 0; i < 60; ++i) val[i] = (i * i / 5 + i) % V;
  train[7] = V;
  IS(BNN_ERR_INVALID, bnn_corpus_from_tokens(train, 400, val, 60, V, &corpus, &err));
  HOLDS(corpus == NULL && strstr(err.message, "train[7]") != NULL);
  train[7] = 1;
  OK(bnn_corpus_from_tokens(train, 400, val, 60, V, &corpus, &err));
  OK(bnn_corpus_vocabulary(corpus, NULL, 0, &needed, &err));
  HOLDS(needed == 0);
  IS(BNN_ERR_INVALID, bnn_corpus_encode(corpus, "a", 1, &token, 1, &needed, &err));
  for (int i = 0; i < 2; ++i) OK(bnn_sampler_new(model, corpus, o, &s[i], &err));
  IS(BNN_ERR_INVALID, bnn_sampler_new(model, NULL, o, &none, &err)); /* how many data there are, nobody has said */
  HOLDS(none == NULL && strstr(err.message, "num_data") != NULL);
  OK(bnn_sampler_step_size(s[0], r, &err));
  F64(o, "num_data", 400.0 - 1.0); /* the targets of the text */
  for (int i = 2; i < 4; ++i) OK(bnn_sampler_new(model, NULL, o, &s[i], &err));
  IS(BNN_ERR_INVALID, bnn_sampler_step(s[2], &phase, &due, &err));
  HOLDS(phase == 77 && strstr(err.message, "no text") != NULL);
  IS(BNN_ERR_INVALID, bnn_sampler_batch(s[2], 0, x, y, N, &b, &t, &err));
  OK(bnn_sampler_batch(s[2], 0, NULL, NULL, 0, &b, &t, &err));
  HOLDS(b == B && t == T);
  run_to(s[0], 0, e, s[0], end[0]);
  run_to(s[1], 1, e, s[0], end[1]);
  run_to(s[2], 1, e, s[0], end[2]);
  run_to(s[3], 2, e, s[0], end[3]);
  for (int i = 1; i < 4; ++i) HOLDS(!memcmp(end[0], end[i], n * sizeof **end));
  OK(bnn_sampler_get_momenta(s[3], momenta, n, &err));
  OK(bnn_sampler_get_mass(s[3], mass, n, &err));
  /* The kinetic temperature of the last step is that of these momenta over this mass. */
  double kinetic = 0;
  for (size_t i = 0; i < n; ++i) kinetic += (double)momenta[i] * momenta[i] / mass[i];
  OK(bnn_sampler_report(s[3], r, &err));
  HOLDS(mass[0] != mass[n - 1] && kinetic > 0);
  NEAR(ROW(r, "kinetic_temperature") * (double)n, kinetic, 1e-4);
  for (int i = 0; i < 4; ++i) bnn_sampler_free(s[i]);
  bnn_corpus_free(corpus), bnn_corpus_free(no_text);
}

/* Files without a text; a text by tokens is the text by characters; nanoGPT's files. */
static void files(void) {
  bnn_corpus *text = letters("hgfedcba"), *gpt = NULL;
  bnn_model *read = NULL, *known = NULL;
  bnn_store *store = NULL;
  bnn_ensemble *e = NULL;
  bnn_generator *by_text = NULL, *by_tokens = NULL;
  char vocabulary[16], chars[64], decoded[64];
  uint32_t prompt[3], made[32], val[8];
  size_t needed = 0, count = 0, n_train = 0, n_val = 0, v = 0;
  double h[2], mi[2];
  OK(bnn_corpus_vocabulary(text, vocabulary, sizeof vocabulary, &needed, &err));
  HOLDS(needed == 8 && !memcmp(vocabulary, "abcdefgh", 8));
  OK(bnn_model_save(model, NULL, 5, PATH("plain.bnn"), &err));
  OK(bnn_model_load(ctx, NULL, PATH("plain.bnn"), &read, &err));
  OK(bnn_model_get_params(read, more, n, &err));
  OK(bnn_model_get_params(model, params, n, &err));
  HOLDS(!memcmp(more, params, n * sizeof *more));
  /* Parameters by name, into a model of the same shape. */
  OK(bnn_model_save_safetensors(model, PATH("model.safetensors"), &err));
  memset(more, 0, sizeof more);
  OK(bnn_model_set_params(read, more, n, &err));
  IS(BNN_ERR_BAD_HEADER, bnn_model_read_safetensors(read, PATH("plain.bnn"), &err));
  OK(bnn_model_read_safetensors(read, PATH("model.safetensors"), &err));
  OK(bnn_model_get_params(read, more, n, &err));
  HOLDS(!memcmp(more, params, n * sizeof *more));
  OK(bnn_store_new(model, NULL, NULL, PATH("tokens"), &store, &err));
  OK(bnn_store_append(store, 0, 1, params, n, &err));
  bnn_store_free(store), store = NULL;
  OK(bnn_store_open(read, NULL, PATH("tokens"), &store, &err));
  bnn_store_free(store), store = NULL;
  IS(BNN_ERR_MISMATCH, bnn_store_open(read, text, PATH("tokens"), &store, &err));
  /* The characters are in a file that a text went into, and read again. */
  OK(bnn_model_save(model, text, 5, PATH("text.bnn"), &err));
  OK(bnn_model_load(ctx, NULL, PATH("text.bnn"), &known, &err));
  OK(bnn_model_info(known, r, &err));
  HOLDS(ROW(r, "characters") == 1);
  OK(bnn_ensemble_new(known, &e, &err));
  OK(bnn_ensemble_add(e, params, n, &err));
  OK(bnn_generator_new(e, NULL, o, &by_text, &err));
  OK(bnn_generator_new(e, text, o, &by_tokens, &err));
  OK(bnn_corpus_encode(text, "had", SIZE_MAX, prompt, 3, NULL, &err));
  OK(bnn_generator_generate(by_text, "had", SIZE_MAX, o, 4, NULL, NULL, chars, sizeof chars, &needed, h, mi, &err));
  OK(bnn_generator_generate_tokens(by_tokens, prompt, 3, o, 4, NULL, NULL, made, 32, &count, h + 1, mi + 1, &err));
  HOLDS(count == needed && count == 12 && h[0] == h[1] && mi[0] == mi[1]);
  OK(bnn_corpus_decode(text, made, count, decoded, sizeof decoded, &needed, &err));
  HOLDS(!memcmp(chars, decoded, 12));
  IS(BNN_ERR_TOO_SMALL, bnn_generator_generate_tokens(by_tokens, prompt, 3, o, 4, NULL, NULL, made, 5, &count, NULL, NULL, &err));
  prompt[1] = 1u << 20;
  IS(BNN_ERR_INVALID, bnn_generator_generate_tokens(by_tokens, prompt, 3, o, 4, NULL, NULL, made, 32, &count, NULL, NULL, &err));
  HOLDS(strstr(err.message, "prompt[1]") != NULL);
  /* A buffer that is none is seen before a text is written, and nothing is told of it. */
  needed = 77;
  IS(BNN_ERR_NULL, bnn_generator_generate(by_text, "had", 3, o, 4, NULL, NULL, NULL, 64, &needed, h, mi, &err));
  IS(BNN_ERR_NULL, bnn_corpus_vocabulary(text, NULL, 16, &needed, &err));
  HOLDS(needed == 77);
  /* A text without a token has the entropy 0, not -0. */
  U64(o, "max_new_tokens", 0);
  if (bnn_generator_generate(by_text, "had", 3, o, 4, NULL, NULL, chars, sizeof chars, &needed, h, mi, &err) == BNN_OK) HOLDS(!signbit(h[0]) && !signbit(mi[0]));
  bnn_generator_free(by_text), bnn_generator_free(by_tokens), bnn_ensemble_free(e);

  /* 16 bits a token, little-endian, whatever the machine. */
  const char *names[2] = {"train.bin", "val.bin"};
  for (int k = 0; k < 2; ++k) {
    FILE *f = fopen(in(names[k]), "wb");
    for (int i = 0; f && i < 40 + k; ++i) fputc((i * 3 + k) % 100, f), fputc(i % 2, f);
    if (f) fclose(f);
  }
  IS(BNN_ERR_IO, bnn_corpus_from_nanogpt(folder, SIZE_MAX, 0, &gpt, &err)); /* no meta.pkl */
  IS(BNN_ERR_DATA, bnn_corpus_from_nanogpt(folder, SIZE_MAX, 100, &gpt, &err));
  OK(bnn_corpus_from_nanogpt(folder, SIZE_MAX, 50257, &gpt, &err));
  OK(bnn_corpus_sizes(gpt, &v, &n_train, &n_val, &err));
  HOLDS(v == 50257 && n_train == 40 && n_val == 41);
  OK(bnn_corpus_tokens(gpt, BNN_SPLIT_TRAIN, NULL, 0, NULL, NULL) == BNN_ERR_TOO_SMALL ? BNN_OK : BNN_ERR_OTHER);
  IS(BNN_ERR_TOO_SMALL, bnn_corpus_tokens(gpt, BNN_SPLIT_VAL, val, 8, &needed, &err));
  HOLDS(needed == 41);
  bnn_corpus_free(gpt), bnn_corpus_free(text), bnn_model_free(read), bnn_model_free(known), bnn_store_free(store);
}

/* A gradient in double is the one in float where float holds it. */
static void doubles(void) {
  float theta[3] = {0.5f, -1, 2}, g[3], kept[3];
  double g2[3], theta2[3];
  int32_t phase = 0, due = 0;
  bnn_sampler *a = NULL, *b = NULL;
  bnn_options *own = NULL;
  OK(bnn_options_new(&own, &err));
  STR(own, "sampler", "baoa"); F64(own, "step_size", 0.3); U64(own, "sampling_steps", 20); U64(own, "warmup_steps", 0);
  OK(bnn_sampler_new_with_gradients(ctx, own, theta, 3, &a, &err));
  OK(bnn_sampler_new_with_gradients(ctx, own, theta, 3, &b, &err));
  while (phase != BNN_PHASE_DONE && !failures) {
    for (int i = 0; i < 3; ++i) g[i] = -theta[i] * (float)(i + 1), g2[i] = g[i];
    OK(bnn_sampler_step_gradient_f64(b, g2, 3, -1, theta2, &phase, &due, &err));
    OK(bnn_sampler_step_gradient(a, g, 3, -1, theta, &phase, &due, &err));
    for (int i = 0; i < 3; ++i) HOLDS(theta2[i] == (double)theta[i]);
  }
  bnn_sampler_free(b), b = NULL;
  OK(bnn_sampler_new_with_gradients(ctx, own, theta, 3, &b, &err));
  g2[1] = 1e300;
  IS(BNN_ERR_NOT_FINITE, bnn_sampler_step_gradient_f64(b, g2, 3, -1, NULL, &phase, &due, &err));
  OK(bnn_sampler_get_params(b, kept, 3, &err));
  HOLDS(!memcmp(kept, theta, sizeof kept));
  IS(BNN_ERR_INVALID, bnn_sampler_step_loss_gradient(b, g, 3, 1, &phase, &due, &err));
  bnn_sampler_free(a), bnn_sampler_free(b), bnn_options_free(own);
}

int main(int argc, char **argv) {
  if (argc > 1) folder = argv[1];
  bnn_evaluator *e = NULL;
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_options_new(&o, &err));
  OK(bnn_report_new(&r, &err));
  STR(o, "shape", "tiny"); U64(o, "n_embd", 16); U64(o, "block_size", 8); U64(o, "bias", 1); U64(o, "tie_weights", 0);
  F64(o, "dropout", 0.25); STR(o, "gelu", "tanh"); STR(o, "precision", "high"); U64(o, "seed", 9); U64(o, "max_new_tokens", 12);
  STR(o, "sampler", "sghmc"); STR(o, "preconditioner", "rms"); U64(o, "preconditioner_steps", 3); U64(o, "warmup_steps", 2);
  U64(o, "sampling_steps", 6); U64(o, "batch_size", B); U64(o, "window", T); F64(o, "prior_std", 0.7); F64(o, "step_size", 1e-3);
  OK(bnn_model_new(ctx, o, V, &model, &err));
  OK(bnn_model_sizes(model, &n, NULL, &err));
  HOLDS(n < D);
  OK(bnn_evaluator_new(model, &e, &err));
  anywhere(e);
  refused(e);
  facts();
  steps(e);
  files();
  doubles();
  /* It keeps what it needs alive. */
  bnn_model_free(model), bnn_context_free(ctx), bnn_options_free(o), bnn_report_free(r);
  double loss = 0;
  tokens_of(2);
  OK(bnn_evaluator_loss(e, NULL, 0, x, y, 2, T, 0, &loss, NULL, &err));
  HOLDS(loss > 1 && loss < 4);
  bnn_evaluator_free(e), bnn_evaluator_free(NULL);
  return finish();
}
