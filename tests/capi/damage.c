/* Damage that is found and mended: samples, holes, checkpoints and their traces. Argument: a folder to work in. */
#include "check.h"
#include "files.h"

static bnn_context *ctx;
/* A text of a report; it lasts until the next call. */
static const char *said(const bnn_report *r, const char *name) {
  static char text[4096];
  size_t needed = 0;
  OK(bnn_report_get_str(r, name, strlen(name), text, sizeof text - 1, &needed, &err));
  text[needed] = 0;
  return text;
}

static void mended(bnn_report *r, const bnn_corpus *corpus) {
  static float params[20000];
  bnn_options *o = NULL;
  bnn_model *model = NULL;
  bnn_store *store = NULL;
  bnn_sampler *s = NULL, *again = NULL;
  size_t n = 0, t = 0;
  OK(bnn_options_new(&o, &err));
  STR(o, "shape", "tiny");
  U64(o, "n_layer", 1);
  U64(o, "n_embd", 8);
  U64(o, "block_size", 8);
  STR(o, "sampler", "sgld");
  STR(o, "preconditioner", "none");
  U64(o, "warmup_steps", 2);
  U64(o, "sampling_steps", 12);
  U64(o, "thinning", 3);
  U64(o, "temperature_every", 1);
  OK(bnn_model_new(ctx, o, 8, &model, &err));
  OK(bnn_model_sizes(model, &n, &t, &err));
  OK(bnn_store_new(model, corpus, o, PATH("samples"), &store, &err));
  OK(bnn_sampler_new(model, corpus, o, &s, &err));
  for (uint64_t i = 1; i <= 8; ++i) { /* samples after 5 and 8 steps */
    int32_t phase = -1, due = -1;
    OK(bnn_sampler_step(s, &phase, &due, &err));
    HOLDS(due == (i == 5 || i == 8));
    if (!due) continue;
    OK(bnn_sampler_get_params(s, params, n, &err));
    if (i == 8) {
      OK(bnn_sampler_missing(s, store, r, &err));
      HOLDS(ROW(r, "missing") == 1 && !strcmp(said(r, "first"), "c00_s00000008.bnn"));
    }
    OK(bnn_store_append(store, 0, i, params, n, &err));
    OK(bnn_sampler_save(s, PATH("chain.bnn"), &err));
  }
  OK(bnn_sampler_missing(s, store, r, &err));
  HOLDS(ROW(r, "missing") == 0 && !*said(r, "first"));
  IS(BNN_ERR_NULL, bnn_sampler_missing(NULL, store, r, &err));
  IS(BNN_ERR_NULL, bnn_sampler_missing(s, NULL, r, &err));
  U64(o, "seed", 6);
  OK(bnn_sampler_new(model, corpus, o, &again, &err));
  IS(BNN_ERR_MISMATCH, bnn_sampler_missing(again, store, r, &err));
  bnn_sampler_free(again), again = NULL;
  UNSET(o, "seed");
  OK(bnn_check_samples(PATH("samples"), 0, r, &err));
  HOLDS(ROW(r, "whole") == 1 && ROW(r, "samples") == 2 && !*said(r, "message") && !*said(r, "repaired"));
  OK(bnn_check_checkpoint(PATH("chain.bnn"), 0, r, &err));
  HOLDS(ROW(r, "whole") == 1 && ROW(r, "can_go_on") == 1 && ROW(r, "steps") == 8 && !*said(r, "message"));

  /* A sample: found, left where it is unless asked, then moved; the hole that it leaves is named. */
  damage(in("samples/c00_s00000005.bnn"));
  for (int repair = 0; repair < 2; ++repair) {
    OK(bnn_check_samples(PATH("samples"), repair, r, &err));
    HOLDS(ROW(r, "whole") == repair && ROW(r, "samples") == 1 && ROW(r, "damaged") == !repair);
    HOLDS((strstr(said(r, "message"), "c00_s00000005.bnn") != NULL) == !repair);
    HOLDS((strstr(said(r, "repaired"), "damaged") != NULL) == repair);
    HOLDS(there(in("damaged/c00_s00000005.bnn")) == repair && there(in("samples/c00_s00000005.bnn")) == !repair);
  }
  bnn_store_free(store), store = NULL;
  OK(bnn_store_open(model, corpus, PATH("samples"), &store, &err));
  OK(bnn_sampler_missing(s, store, r, &err));
  HOLDS(ROW(r, "missing") == 1 && !strcmp(said(r, "first"), "c00_s00000005.bnn"));

  /* A trace: the chain goes on without its series. */
  damage(in("chain.trace"));
  IS(BNN_ERR_DATA, bnn_sampler_load(model, corpus, o, PATH("chain.bnn"), &again, &err));
  OK(bnn_check_checkpoint(PATH("chain.bnn"), 0, r, &err));
  HOLDS(ROW(r, "whole") == 0 && ROW(r, "can_go_on") == 1 && ROW(r, "without_trace") == 1);
  OK(bnn_check_checkpoint(PATH("chain.bnn"), 1, r, &err));
  HOLDS(ROW(r, "whole") == 1 && ROW(r, "steps") == 8 && strstr(said(r, "repaired"), "series") != NULL);
  HOLDS(there(in("damaged/chain.trace")) && there(in("damaged/chain.bnn"))); /* the one that named it */
  OK(bnn_sampler_load(model, corpus, o, PATH("chain.bnn"), &again, &err));
  bnn_sampler_free(again), again = NULL;

  /* A checkpoint that is gone while the generation before it is there: found, and put back. */
  char before[1024];
  strcpy(before, in("chain.previous.bnn"));
  HOLDS(rename(in("chain.bnn"), before) == 0);
  for (int repair = 0; repair < 2; ++repair) {
    OK(bnn_check_checkpoint(PATH("chain.bnn"), repair, r, &err));
    HOLDS(ROW(r, "whole") == repair && ROW(r, "can_go_on") == 1 && ROW(r, "steps") == 8);
    HOLDS((strstr(said(r, "message"), "is missing") != NULL) == !repair && there(in("chain.bnn")) == repair);
  }

  /* A checkpoint without a generation before it: moved, and nothing is left to go on from. */
  damage(in("chain.bnn"));
  OK(bnn_check_checkpoint(PATH("chain.bnn"), 1, r, &err));
  HOLDS(ROW(r, "whole") == 0 && ROW(r, "can_go_on") == 0 && ROW(r, "damaged") == 0);
  HOLDS(there(in("damaged/chain.bnn.2")) && !there(in("chain.bnn")));
  OK(bnn_check_checkpoint(PATH("chain.bnn"), 1, r, &err));
  HOLDS(ROW(r, "whole") == 0 && !strcmp(said(r, "message"), "there is no checkpoint") && !*said(r, "repaired"));

  /* What is something else is not called damaged, and stays. */
  IS(BNN_ERR_MISMATCH, bnn_check_checkpoint(PATH("samples/c00_s00000008.bnn"), 1, r, &err));
  IS(BNN_ERR_BAD_MAGIC, bnn_check_checkpoint(PATH("damaged/chain.trace"), 1, r, &err));
  IS(BNN_ERR_INVALID, bnn_check_checkpoint(PATH("samples"), 1, r, &err));
  HOLDS(there(in("samples/c00_s00000008.bnn")) && there(in("damaged/chain.trace")));
  const char *names[] = {"samples/.c00_s00000008.bnn.1.2.tmp", "samples/.x.1.2.tmp", "samples/.c00_s00000008.bnn.tmp", "samples/notes.txt"};
  for (int i = 0; i < 4; ++i) fclose(fopen(in(names[i]), "wb"));
  OK(bnn_check_samples(PATH("samples"), 1, r, &err));
  HOLDS(ROW(r, "whole") == 1 && ROW(r, "foreign") == 1 && ROW(r, "leftovers") == 0);
  for (int i = 0; i < 4; ++i) HOLDS(there(in(names[i])) == (i > 0));

  IS(BNN_ERR_IO, bnn_check_samples(PATH("nowhere"), 0, r, &err));
  IS(BNN_ERR_NULL, bnn_check_samples(NULL, 3, 0, r, &err));
  IS(BNN_ERR_NULL, bnn_check_checkpoint(PATH("chain.bnn"), 0, NULL, &err));
  bnn_sampler_free(s), bnn_store_free(store), bnn_model_free(model), bnn_options_free(o);
}

int main(int argc, char **argv) {
  bnn_corpus *corpus = letters("abcdefgh");
  bnn_report *r = NULL;
  if (argc < 2) return 2;
  folder = argv[1];
  OK(bnn_context_new(1, &ctx, &err));
  OK(bnn_report_new(&r, &err));
  mended(r, corpus);
  bnn_report_free(r), bnn_corpus_free(corpus), bnn_context_free(ctx);
  return finish();
}
