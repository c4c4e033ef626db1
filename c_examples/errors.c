/* What goes wrong, and what a program does about it: no call prints or ends the program, each returns a status with a message, and what the call was to
 * change is as it was before.
 *
 *   cc -std=c99 -I include c_examples/errors.c -L target/release -lbnn -lm -o errors
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./errors
 */
#include "bnn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bnn_error err;
static const char verse[] =
    "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n"
    "Rough winds do shake the darling buds of May,\nAnd summer's lease hath all too short a date:\n";

/* Says how a call ended; `want` is what this page says of it. */
static int ended(const char *what, bnn_status status, bnn_status want) {
  printf("%-18s %s", what, bnn_status_name(status));
  if (status != BNN_OK) printf(": %s", err.message);
  printf("\n");
  return status == want;
}

/* Stops a training at its third step, as a program does that was asked to end. */
static int32_t stop(void *user_data, uint64_t step, double loss) {
  (void)user_data, (void)loss;
  return step < 3;
}

int main(int argc, char **argv) {
  bnn_context *context = NULL;
  bnn_options *options = NULL;
  bnn_corpus *corpus = NULL;
  bnn_model *model = NULL;
  bnn_sampler *sampler = NULL;
  bnn_report *report = NULL;
  float theta[1] = {1}, grad[1] = {NAN};
  char small[2], *text = NULL;
  const char *folder = argc > 1 ? argv[1] : "models";
  size_t needed = 0;
  int32_t phase = 0, due = 0;
  int ok = 1;

  /* What a program cannot go on without: one way out, where all is freed; freeing NULL is fine. */
  if (bnn_context_new(1, &context, &err) || bnn_options_new(&options, &err) || bnn_report_new(&report, &err)) goto failed;

  /* A misspelt name is answered with the nearest one, a value out of range with the range. */
  ok &= ended("unknown name", bnn_options_set_f64(options, "stepsize", SIZE_MAX, 0.1, &err), BNN_ERR_INVALID);
  ok &= ended("out of range", bnn_options_set_f64(options, "step_size", SIZE_MAX, -1, &err), BNN_ERR_INVALID);
  ok &= ended("other type", bnn_options_set_u64(options, "step_size", SIZE_MAX, 1, &err), BNN_ERR_INVALID);
  ok &= ended("no such file", bnn_corpus_from_file("there/is/none.txt", SIZE_MAX, &corpus, &err), BNN_ERR_IO);
  ok &= ended("NULL", bnn_model_sizes(NULL, &needed, NULL, &err), BNN_ERR_NULL);

  /* A buffer that is too small: the call says how much it needs, and is made again. */
  ok &= ended("too small", bnn_options_get_str(options, "sampler", SIZE_MAX, small, sizeof small, &needed, &err), BNN_ERR_TOO_SMALL);
  text = malloc(needed);
  if (!text) goto failed;
  ok &= ended("enough", bnn_options_get_str(options, "sampler", SIZE_MAX, text, needed, &needed, &err), BNN_OK);
  printf("%-18s %.*s\n", "the default", (int)needed, text);

  /* A gradient that is not finite: the chain is as before, and goes on with a better one. */
  if (bnn_options_set_u64(options, "sampling_steps", SIZE_MAX, 1, &err) || bnn_options_set_u64(options, "warmup_steps", SIZE_MAX, 0, &err)) goto failed;
  if (bnn_sampler_new_with_gradients(context, options, theta, 1, &sampler, &err)) goto failed;
  ok &= ended("not finite", bnn_sampler_step_gradient(sampler, grad, 1, 0.0, theta, &phase, &due, &err), BNN_ERR_NOT_FINITE);
  grad[0] = -theta[0];
  ok &= ended("finite", bnn_sampler_step_gradient(sampler, grad, 1, -0.5, theta, &phase, &due, &err), BNN_OK);
  ok &= ended("after the last", bnn_sampler_step_gradient(sampler, grad, 1, -0.5, theta, &phase, &due, &err), BNN_ERR_DONE);

  /* A training that its callback ends is kept, and the next call goes on from there. */
  if (bnn_options_set_str(options, "shape", SIZE_MAX, "tiny", SIZE_MAX, &err)) goto failed;
  if (bnn_options_set_u64(options, "block_size", SIZE_MAX, 8, &err) || bnn_options_set_u64(options, "batch_size", SIZE_MAX, 2, &err)) goto failed;
  if (bnn_options_set_u64(options, "baseline_iters", SIZE_MAX, 5, &err)) goto failed;
  if (bnn_corpus_from_text(verse, SIZE_MAX, &corpus, &err) || bnn_corpus_sizes(corpus, &needed, NULL, NULL, &err)) goto failed;
  if (bnn_model_new(context, options, needed, &model, &err)) goto failed;
  ok &= ended("stopped", bnn_model_train_once(model, corpus, options, folder, SIZE_MAX, stop, NULL, report, &err), BNN_ERR_INTERRUPTED);
  ok &= ended("gone on with", bnn_model_train_once(model, corpus, options, folder, SIZE_MAX, NULL, NULL, report, &err), BNN_OK);

  /* Without a place for the message, the status alone is left. */
  ok &= bnn_report_get_f64(report, "los", SIZE_MAX, NULL, NULL) == BNN_ERR_INVALID;
  printf("%s\n", ok ? "all as this page says" : "NOT as this page says");
  goto done;
failed:
  fprintf(stderr, "%s (%s)\n", err.message, bnn_status_name(err.code));
  ok = 0;
done:
  free(text);
  bnn_report_free(report), bnn_sampler_free(sampler), bnn_model_free(model), bnn_corpus_free(corpus);
  bnn_options_free(options), bnn_context_free(context);
  return ok ? 0 : 1;
}
