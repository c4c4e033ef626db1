/* The shared library is opened, used and closed again and again: nothing of one time is in the way of the next. argv: a folder, libbnn.so. */
#include "bnn.h"
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NEED(what) do { if (!(what)) { printf("line %d: %s\n", __LINE__, #what); exit(1); } } while (0)

/* ISO C has no cast from an object's address to a function's. */
static void find(void *library, const char *name, void *function) {
  void *symbol = dlsym(library, name);
  NEED(symbol);
  memcpy(function, &symbol, sizeof symbol);
}

static int threads(void) {
  int n = 0;
  DIR *tasks = opendir("/proc/self/task");
  struct dirent *entry;
  NEED(tasks);
  while ((entry = readdir(tasks))) n += entry->d_name[0] != '.';
  closedir(tasks);
  return n;
}

/* As docs/c-api.md asks: the threads of a context may still be ending when it is freed. */
static void wait_for_threads(void) {
  struct timespec moment = {0, 1000000};
  int i;
  for (i = 0; threads() > 1; ++i) {
    NEED(i < 10000);
    nanosleep(&moment, NULL);
  }
}

static void use(void *library, size_t n) {
  bnn_status (*context_new)(size_t, bnn_context **, bnn_error *);
  bnn_status (*corpus_from_text)(const char *, size_t, bnn_corpus **, bnn_error *);
  bnn_status (*options_new)(bnn_options **, bnn_error *);
  bnn_status (*options_set_str)(bnn_options *, const char *, size_t, const char *, size_t, bnn_error *);
  bnn_status (*model_new)(const bnn_context *, const bnn_options *, size_t, bnn_model **, bnn_error *);
  bnn_status (*model_loss)(const bnn_model *, const bnn_corpus *, int32_t, double *, bnn_error *);
  void (*context_free)(bnn_context *), (*corpus_free)(bnn_corpus *), (*options_free)(bnn_options *), (*model_free)(bnn_model *);
  bnn_context *context;
  bnn_corpus *corpus;
  bnn_options *options;
  bnn_model *model;
  char text[2001];
  double loss = 0;
  int i;
  for (i = 0; i < 2000; ++i) text[i] = (char)('a' + i * i % 7 % 4);
  find(library, "bnn_context_new", &context_new);
  find(library, "bnn_context_free", &context_free);
  find(library, "bnn_corpus_from_text", &corpus_from_text);
  find(library, "bnn_corpus_free", &corpus_free);
  find(library, "bnn_options_new", &options_new);
  find(library, "bnn_options_set_str", &options_set_str);
  find(library, "bnn_options_free", &options_free);
  find(library, "bnn_model_new", &model_new);
  find(library, "bnn_model_loss", &model_loss);
  find(library, "bnn_model_free", &model_free);
  NEED(context_new(n, &context, NULL) == BNN_OK);
  NEED(corpus_from_text(text, 2000, &corpus, NULL) == BNN_OK);
  NEED(options_new(&options, NULL) == BNN_OK);
  NEED(options_set_str(options, "shape", 5, "tiny", 4, NULL) == BNN_OK);
  NEED(options_set_str(options, "shape", 5, "none", 4, NULL) != BNN_OK);
  NEED(model_new(context, options, 3, &model, NULL) == BNN_OK);
  NEED(model_loss(model, corpus, BNN_SPLIT_VAL, &loss, NULL) == BNN_OK);
  NEED(loss > 0.5 && loss < 2);
  model_free(model);
  context_free(context);
  options_free(options);
  corpus_free(corpus);
  wait_for_threads();
}

int main(int argc, char **argv) {
  int round;
  NEED(argc == 3);
  for (round = 0; round < 20; ++round) {
    void *library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    NEED(library);
    use(library, 1 + (size_t)round % 3);
    NEED(dlclose(library) == 0);
    NEED(threads() == 1);
  }
  puts("all as documented");
  return 0;
}
