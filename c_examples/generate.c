/* Texts from a run's samples, token by token: a row for each character as it is drawn, with what the samples disagree about; the text ends with its line.
 * Then several prompts at once. The run is of the play that the library carries.
 *
 *   cc -std=c99 -I include c_examples/generate.c -L target/release -lbnn -o generate
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./generate MODEL_FILE SAMPLES_FOLDER [tokens]
 */
#include "bnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 8, PROMPTS = 2 };

static bnn_error err;

static void check(bnn_status status, const char *what) {
  if (status != BNN_OK) {
    fprintf(stderr, "%s: %s (%s)\n", what, err.message, bnn_status_name(status));
    exit(1);
  }
}

/* Prints a token as it comes. A corpus may be asked at any time; a call into the generator that is writing is refused. Returning 0 ends the text. */
static int32_t on_token(void *user_data, uint32_t token, double entropy, double mutual_information, double log_prob) {
  char text[4];
  size_t n = 0;
  if (bnn_corpus_decode(user_data, &token, 1, text, sizeof text, &n, &err)) return 0;
  printf("row %u %.17g %.17g %.17g\n", (unsigned)token, entropy, mutual_information, log_prob);
  return memcmp(text, "\n", n) != 0;
}

/* Ends each text of a batch with its line; `prompt` says which text the token is of. */
static int32_t on_batch_token(void *user_data, size_t prompt, uint32_t token, double entropy, double mutual_information, double log_prob) {
  (void)prompt, (void)entropy, (void)mutual_information, (void)log_prob;
  return token != *(const uint32_t *)user_data;
}

int main(int argc, char **argv) {
  bnn_context *context = NULL;
  bnn_corpus *corpus = NULL;
  bnn_options *options = NULL;
  bnn_model *model = NULL;
  bnn_store *store = NULL;
  bnn_ensemble *ensemble = NULL;
  bnn_generator *generator = NULL;
  size_t n = 0, taken = 0, needed = 0, indices[SAMPLES];
  const uint64_t tokens = argc > 3 ? strtoull(argv[3], NULL, 10) : 80;
  if (argc < 3) {
    fprintf(stderr, "usage: generate MODEL_FILE SAMPLES_FOLDER [tokens]\n");
    return 2;
  }
  check(bnn_context_new(0, &context, &err), "context");
  check(bnn_corpus_embedded(&corpus, &err), "corpus");
  check(bnn_options_new(&options, &err), "options");
  check(bnn_model_load(context, NULL, argv[1], SIZE_MAX, &model, &err), argv[1]);
  check(bnn_model_sizes(model, &n, NULL, &err), "sizes");

  /* Some of the samples, spread over the chains and their steps. */
  float *params = malloc(n * sizeof *params);
  if (!params) return 1;
  check(bnn_store_open(model, corpus, argv[2], SIZE_MAX, &store, &err), argv[2]);
  check(bnn_store_spread(store, SAMPLES, indices, SAMPLES, &taken, &err), "samples");
  check(bnn_ensemble_new(model, &ensemble, &err), "ensemble");
  for (size_t i = 0; i < taken; ++i) {
    check(bnn_store_get(store, indices[i], NULL, NULL, params, n, &err), "sample");
    check(bnn_ensemble_add(ensemble, params, n, &err), "sample");
  }
  check(bnn_generator_new(ensemble, corpus, NULL, &generator, &err), "generator");

  /* One text, each token as it comes. */
  check(bnn_options_set_u64(options, "max_new_tokens", SIZE_MAX, tokens, &err), "max_new_tokens");
  check(bnn_options_set_f64(options, "generation_temperature", SIZE_MAX, 0.7, &err), "generation_temperature");
  check(bnn_options_set_u64(options, "top_k", SIZE_MAX, 20, &err), "top_k");
  check(bnn_options_set_u64(options, "seed", SIZE_MAX, 3, &err), "seed");
  char *text = malloc(4 * PROMPTS * tokens); /* 4 bytes a token are always enough */
  if (!text) return 1;
  double entropy = 0, mutual_information = 0;
  check(bnn_generator_generate(generator, "The ", SIZE_MAX, options, 0, on_token, corpus, text, 4 * tokens, &needed, &entropy,
                               &mutual_information, &err),
        "text");
  printf("means %.17g %.17g\n", entropy, mutual_information);
  printf("text The %.*s\n", (int)needed, text);

  /* Two at once: each sample's weights are read once per token for both. */
  const char *prompts[PROMPTS] = {"The ", "And "};
  size_t offsets[PROMPTS + 1];
  uint32_t newline = 0;
  check(bnn_corpus_encode(corpus, "\n", 1, &newline, 1, NULL, &err), "newline");
  check(bnn_generator_generate_batch(generator, prompts, NULL, PROMPTS, options, 0, on_batch_token, &newline, text, 4 * PROMPTS * tokens, NULL, offsets,
                                     NULL, NULL, &err),
        "texts");
  for (size_t i = 0; i < PROMPTS; ++i) printf("text %s%.*s\n", prompts[i], (int)(offsets[i + 1] - offsets[i]), text + offsets[i]);

  free(text), free(params);
  bnn_generator_free(generator), bnn_ensemble_free(ensemble), bnn_store_free(store), bnn_model_free(model);
  bnn_options_free(options), bnn_corpus_free(corpus), bnn_context_free(context);
  return 0;
}
