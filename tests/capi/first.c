#include "bnn.h"
#include <stdio.h>
#define OK(call) do { if ((call) != BNN_OK) return fprintf(stderr, "%s\n", err.message), 1; } \
  while (0)
#define SET(name, value) \
  OK(bnn_options_set_text(options, name, SIZE_MAX, value, SIZE_MAX, &err))

int main(void) {
  bnn_error err; bnn_context *context; bnn_corpus *corpus; bnn_options *options;
  bnn_model *model; bnn_report *report; bnn_sampler *sampler; bnn_store *store;
  bnn_ensemble *ensemble; bnn_generator *generator; size_t vocab_size, n; double loss;
  char text[4 * 100];
  OK(bnn_context_new(0, &context, &err));                       /* all threads */
  OK(bnn_corpus_embedded(&corpus, &err));                       /* a small play */
  OK(bnn_corpus_sizes(corpus, &vocab_size, NULL, NULL, &err));
  OK(bnn_options_new(&options, &err));
  SET("shape", "tiny"); SET("baseline_iters", "300"); SET("sampling_steps", "400");
  SET("max_new_tokens", "100");
  OK(bnn_report_new(&report, &err));
  OK(bnn_model_new(context, options, vocab_size, &model, &err));
  OK(bnn_model_train_once(model, corpus, options, "models", SIZE_MAX, NULL, NULL, report,
                          &err));
  OK(bnn_sampler_new(model, corpus, options, &sampler, &err));  /* around the trained model */
  OK(bnn_store_new(model, corpus, options, "samples", SIZE_MAX, &store, &err));
  OK(bnn_sampler_run(sampler, store, "chain.bnn", SIZE_MAX, 100, NULL, NULL, NULL, &err));
  OK(bnn_ensemble_new(model, &ensemble, &err));
  OK(bnn_ensemble_add_stored(ensemble, "samples", SIZE_MAX, 0, SIZE_MAX, NULL, &err));
  OK(bnn_ensemble_evaluate(ensemble, corpus, BNN_SPLIT_VAL, NULL, NULL, report, &err));
  OK(bnn_report_get_f64(report, "loss", SIZE_MAX, &loss, &err));
  OK(bnn_generator_new(ensemble, corpus, options, &generator, &err));
  OK(bnn_generator_generate(generator, "The ", SIZE_MAX, options, 0, NULL, NULL, text,
                            sizeof text, &n, NULL, NULL, &err));
  printf("the average: %.4f nats per token\n%.*s\n", loss, (int)n, text);
  bnn_generator_free(generator), bnn_ensemble_free(ensemble), bnn_store_free(store);
  bnn_sampler_free(sampler), bnn_report_free(report), bnn_model_free(model);
  bnn_options_free(options), bnn_corpus_free(corpus), bnn_context_free(context);
  return 0;
}
