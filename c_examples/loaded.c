/* The library loaded while the program runs, as a plugin is: the program starts without it, and takes it only where its ABI is the header's.
 *
 *   cc -std=c99 -I include c_examples/loaded.c -ldl -o loaded
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./loaded [LIBRARY]
 */
#include "bnn.h"

#include <dlfcn.h>
#include <stdio.h>

/* What this program calls, with the header's types. */
static struct {
  uint32_t (*abi)(void);
  uint32_t (*abi_minor)(void);
  const char *(*version)(void);
  bnn_status (*paired_bootstrap)(const double *, const double *, size_t, size_t, size_t, uint64_t, bnn_report *, bnn_error *);
  bnn_status (*report_new)(bnn_report **, bnn_error *);
  bnn_status (*report_get_f64)(const bnn_report *, const char *, size_t, double *, bnn_error *);
  void (*report_free)(bnn_report *);
} bnn;

/* Finds a function; POSIX says that its address fits where `to` points. */
static int find(void *library, const char *name, void *to) {
  *(void **)to = dlsym(library, name);
  if (*(void **)to) return 1;
  fprintf(stderr, "%s: the library does not have it\n", name);
  return 0;
}

int main(int argc, char **argv) {
  char soname[32];
  snprintf(soname, sizeof soname, "libbnn.so.%d", BNN_ABI);
  void *library = dlopen(argc > 1 ? argv[1] : soname, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  if (!find(library, "bnn_abi", &bnn.abi) || !find(library, "bnn_abi_minor", &bnn.abi_minor)) return 1;
  const uint32_t minor = BNN_ABI_MINOR;
  if (bnn.abi() != BNN_ABI || bnn.abi_minor() < minor) {
    fprintf(stderr, "the header has ABI %d.%d, the library %u.%u\n", BNN_ABI, BNN_ABI_MINOR, (unsigned)bnn.abi(), (unsigned)bnn.abi_minor());
    return 1;
  }
  if (!find(library, "bnn_version_string", &bnn.version) || !find(library, "bnn_paired_bootstrap", &bnn.paired_bootstrap) ||
      !find(library, "bnn_report_new", &bnn.report_new) || !find(library, "bnn_report_get_f64", &bnn.report_get_f64) ||
      !find(library, "bnn_report_free", &bnn.report_free))
    return 1;
  printf("bnn %s\n", bnn.version());

  /* Two series of losses of the same 600 tokens, whose difference has a mean of 0.1. */
  static double a[600], b[600];
  for (size_t i = 0; i < 600; ++i) a[i] = 2 + (double)(i * i % 97) / 97, b[i] = a[i] - 0.2 * (double)(i * 7 % 11) / 10;
  bnn_report *report = NULL;
  bnn_error err;
  double mean = 0, std_error = 0;
  bnn_status s = bnn.report_new(&report, &err);
  if (!s) s = bnn.paired_bootstrap(a, b, 600, 20, 500, 9, report, &err);
  if (!s) s = bnn.report_get_f64(report, "mean", SIZE_MAX, &mean, &err);
  if (!s) s = bnn.report_get_f64(report, "std_error", SIZE_MAX, &std_error, &err);
  if (s) fprintf(stderr, "%s\n", err.message);
  else printf("difference %.17g %.17g\n", mean, std_error);
  bnn.report_free(report);
  /* The library stays loaded: threads of a context that was just freed may still be ending. */
  return s ? 1 : 0;
}
