/* The main job from C: a text goes in; a baseline is trained; a chain samples around it; the average is scored and writes text.
 *
 *   cc -std=c99 -I include c_examples/train_sample_generate.c -L target/release -lbnn -o train_sample_generate
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./train_sample_generate [iters] [sampling_steps] [FILE]
 */
#include "bnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bnn_error err;
static bnn_report *report;

static void check(bnn_status status, const char *what) {
  if (status != BNN_OK) {
    fprintf(stderr, "%s: %s (status %d)\n", what, err.message, (int)status);
    exit(1);
  }
}

static void set_u64(bnn_options *o, const char *name, uint64_t value) {
  check(bnn_options_set_u64(o, name, strlen(name), value, &err), name);
}

static void set_f64(bnn_options *o, const char *name, double value) {
  check(bnn_options_set_f64(o, name, strlen(name), value, &err), name);
}

static void set_str(bnn_options *o, const char *name, const char *value) {
  check(bnn_options_set_str(o, name, strlen(name), value, strlen(value), &err), name);
}

static double row(const char *name) {
  double value = 0;
  check(bnn_report_get_f64(report, name, strlen(name), &value, &err), name);
  return value;
}

/* Counts the tokens whose samples disagree by more than a tenth of a nat. */
static int32_t on_token(void *user_data, uint32_t token, double entropy, double mutual_information, double log_prob) {
  (void)token, (void)entropy, (void)log_prob;
  if (mutual_information > 0.1) ++*(int *)user_data;
  return 1;
}

int main(int argc, char **argv) {
  uint64_t iters = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
  uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
  bnn_context *context = NULL;
  bnn_corpus *corpus = NULL;
  bnn_options *options = NULL;
  bnn_model *model = NULL;
  bnn_trainer *trainer = NULL;
  bnn_sampler *sampler = NULL;
  bnn_ensemble *ensemble = NULL;
  bnn_generator *generator = NULL;

  if (bnn_abi() != BNN_ABI) {
    fprintf(stderr, "header has ABI %d, library %u\n", (int)BNN_ABI, (unsigned)bnn_abi());
    return 1;
  }
  printf("bnn %s\n", bnn_version_string());
  check(bnn_context_new(0, &context, &err), "context");
  if (argc > 3)
    check(bnn_corpus_from_file(argv[3], strlen(argv[3]), &corpus, &err), "corpus");
  else
    check(bnn_corpus_embedded(&corpus, &err), "corpus");
  size_t vocab = 0, n_train = 0, n_val = 0, n = 0, block = 0, needed = 0;
  check(bnn_corpus_sizes(corpus, &vocab, &n_train, &n_val, &err), "sizes");

  check(bnn_options_new(&options, &err), "options");
  set_str(options, "shape", "tiny");
  set_u64(options, "seed", 7);
  set_u64(options, "baseline_iters", iters);
  set_u64(options, "baseline_warmup_iters", iters / 10);
  set_f64(options, "baseline_learning_rate", 3e-3);
  set_str(options, "sampler", "baoa");
  set_u64(options, "sampling_steps", steps);
  set_u64(options, "thinning", steps / 10 ? steps / 10 : 1);
  set_u64(options, "warmup_steps", steps / 4);
  set_u64(options, "preconditioner_steps", steps / 4 + 1);
  check(bnn_model_new(context, options, vocab, &model, &err), "model");
  check(bnn_model_sizes(model, &n, &block, &err), "model sizes");
  printf("%zu training tokens, %zu characters, %zu parameters\n", n_train, vocab, n);

  /* The baseline. */
  double loss = 0;
  check(bnn_trainer_new(model, corpus, options, BNN_START_FRESH, &trainer, &err), "trainer");
  for (uint64_t i = 0; i < iters; ++i) check(bnn_trainer_step(trainer, &loss, &err), "training");
  check(bnn_trainer_finish(trainer, &err), "finish");
  check(bnn_model_loss(model, corpus, BNN_SPLIT_VAL, &loss, &err), "loss");
  printf("baseline             %.4f nats a token\n", loss);

  /* The chain: one batch a step, a copy of the parameters whenever a sample is due. */
  float *params = malloc(n * sizeof *params);
  if (!params) return 1;
  int32_t phase = BNN_PHASE_WARMUP, due = 0;
  check(bnn_ensemble_new(model, &ensemble, &err), "ensemble");
  check(bnn_sampler_new(model, corpus, options, &sampler, &err), "sampler");
  while (phase != BNN_PHASE_DONE) {
    check(bnn_sampler_step(sampler, &phase, &due, &err), "sampling");
    if (due) {
      check(bnn_sampler_get_params(sampler, params, n, &err), "params");
      check(bnn_ensemble_add(ensemble, params, n, &err), "add");
    }
  }
  check(bnn_report_new(&report, &err), "report");
  check(bnn_ensemble_evaluate(ensemble, corpus, BNN_SPLIT_VAL, NULL, NULL, report, &err), "evaluate");
  printf("mean of the samples  %.4f\naveraged prediction  %.4f\n", row("loss_mean"), row("loss"));
  printf("entropy %.4f, of it the samples disagree about %.4f; calibration error %.4f, Brier %.4f, accuracy %.4f\n",
         row("entropy.mean"), row("mutual_information.mean"), row("ece"), row("brier"), row("accuracy"));

  /* Text. */
  static char text[4 * 400];
  int uncertain = 0;
  double h = 0, text_mi = 0;
  const char *prompt = "The ";
  set_u64(options, "max_new_tokens", 200);
  set_f64(options, "generation_temperature", 0.7);
  check(bnn_generator_new(ensemble, corpus, NULL, &generator, &err), "generator");
  check(bnn_generator_generate(generator, prompt, strlen(prompt), options, 0, on_token, &uncertain, text, sizeof text, &needed,
                               &h, &text_mi, &err),
        "generate");
  printf("--- text ---\n%s%.*s\n--- entropy %.4f, mutual information %.4f, %d uncertain tokens ---\n", prompt, (int)needed, text, h,
         text_mi, uncertain);

  /* Any order will do. */
  free(params);
  bnn_context_free(context);
  bnn_corpus_free(corpus);
  bnn_model_free(model);
  bnn_options_free(options);
  bnn_trainer_free(trainer);
  bnn_ensemble_free(ensemble);
  bnn_report_free(report);
  bnn_generator_free(generator);
  bnn_sampler_free(sampler);
  return 0;
}
