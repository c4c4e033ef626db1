/* Writes model.bnn and a folder `samples` as a run has them, of the shape tiny at seed 5 and the play, for programs that read such. Argument: a folder. */
#include "check.h"
#include "files.h"

enum { SAMPLES = 3 };

int main(int argc, char **argv) {
  bnn_context *context = NULL;
  bnn_options *o = NULL;
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_store *store = NULL;
  size_t vocab_size = 0, n = 0;
  if (argc > 1) folder = argv[1];
  (void)letters, (void)damage, (void)there, (void)near_at, (void)row_at;
  OK(bnn_context_new(1, &context, &err));
  OK(bnn_corpus_embedded(&corpus, &err));
  OK(bnn_corpus_sizes(corpus, &vocab_size, NULL, NULL, &err));
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "seed", 5);
  OK(bnn_model_new(context, o, vocab_size, &model, &err));
  OK(bnn_model_sizes(model, &n, NULL, &err));
  float *params = malloc(n * sizeof *params), *sample = malloc(n * sizeof *sample);
  HOLDS(params && sample);
  if (!params || !sample) return 1;
  OK(bnn_model_get_params(model, params, n, &err));
  OK(bnn_model_save(model, corpus, 0, PATH("model.bnn"), &err));
  OK(bnn_store_new(model, corpus, NULL, PATH("samples"), &store, &err));
  /* Sample s is the parameters times 1 + s / 4. */
  for (int s = 0; s < SAMPLES; ++s) {
    for (size_t i = 0; i < n; ++i) sample[i] = params[i] * (1 + (float)s / 4);
    OK(bnn_store_append(store, 0, (uint64_t)s + 1, sample, n, &err));
  }
  free(params), free(sample);
  bnn_store_free(store), bnn_model_free(model), bnn_corpus_free(corpus), bnn_options_free(o), bnn_context_free(context);
  return finish();
}
