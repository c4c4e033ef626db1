/* States that another program has changed: this one writes two, and loads what became of one. FOLDER alone writes them; FOLDER gpt and FOLDER vector
 * load FOLDER/forged.bnn and print the status and the message. */
#include "check.h"

enum { N = 3, MASS = 2, WARMUP = 50, SAMPLED = 10 };
static char path[512];

static bnn_options *settings(void) {
  bnn_options *o = NULL;
  OK(bnn_options_new(&o, &err));
  STR(o, "sampler", "sgld");
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "block_size", 8);
  U64(o, "batch_size", 2);
  U64(o, "preconditioner_steps", MASS);
  U64(o, "warmup_steps", WARMUP);
  U64(o, "sampling_steps", 20);
  U64(o, "thinning", 10);
  U64(o, "auto_step", 1);
  U64(o, "temperature_every", 1);
  U64(o, "llc_every", 1);
  STR(o, "prior_center", "pretrained");
  return o;
}

static void name(const char *folder, const char *file) { snprintf(path, sizeof path, "%s/%s", folder, file); }

static void write_both(const char *folder, bnn_sampler *s, bnn_sampler *v) {
  float at[N], grad[N];
  int32_t phase, due;
  for (int i = 0; i < MASS + WARMUP + SAMPLED; ++i) OK(bnn_sampler_step(s, &phase, &due, &err));
  name(folder, "gpt.bnn");
  OK(bnn_sampler_save(s, path, strlen(path), &err));
  OK(bnn_sampler_get_params(v, at, N, &err));
  for (int k = 0; k < 8; ++k) {
    for (int i = 0; i < N; ++i) grad[i] = -at[i];
    OK(bnn_sampler_step_gradient(v, grad, N, 0, at, &phase, &due, &err));
  }
  name(folder, "vector.bnn");
  OK(bnn_sampler_save(v, path, strlen(path), &err));
}

int main(int argc, char **argv) {
  bnn_context *ctx = NULL;
  bnn_options *o = settings();
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_sampler *s = NULL;
  bnn_sampler *v = NULL;
  char text[600];
  const float theta[N] = {1, -1, 0.5f};
  HOLDS(argc > 1);
  for (int i = 0; i < 600; ++i) text[i] = "abcdefgh"[(i * i / 3 + i) % 8];
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_corpus_from_text(text, sizeof text, &corpus, &err));
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  name(argv[1], "forged.bnn");
  memset(&err, 0, sizeof err);
  if (argc == 2) {
    OK(bnn_sampler_new(model, corpus, o, &s, &err));
    OK(bnn_sampler_new_with_gradients(ctx, o, theta, N, &v, &err));
    write_both(argv[1], s, v);
  } else if (!strcmp(argv[2], "gpt")) {
    const bnn_status got = bnn_sampler_load(model, corpus, o, path, strlen(path), &s, &err);
    HOLDS((got == BNN_OK) == (s != NULL));
    printf("loaded %d %s\n", (int)got, err.message);
  } else {
    const bnn_status got = bnn_sampler_load_with_gradients(ctx, o, N, path, strlen(path), &v, &err);
    HOLDS((got == BNN_OK) == (v != NULL));
    printf("loaded %d %s\n", (int)got, err.message);
  }
  bnn_sampler_free(s), bnn_sampler_free(v);
  bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o), bnn_context_free(ctx);
  return finish();
}
