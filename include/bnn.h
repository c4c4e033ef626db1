/* bnn.h: Bayesian inference for GPT language models. Generated: do not edit. See docs/c-api.md. */
/*
 * The main job: a model is trained and sampled around; the average of the samples writes.
 *
 *   #include "bnn.h"
 *   #include <stdio.h>
 *   #define OK(call) do { if ((call) != BNN_OK) return fprintf(stderr, "%s\n", err.message), 1; } \
 *     while (0)
 *   #define SET(name, value) \
 *     OK(bnn_options_set_text(options, name, SIZE_MAX, value, SIZE_MAX, &err))
 *
 *   int main(void) {
 *     bnn_error err; bnn_context *context; bnn_corpus *corpus; bnn_options *options;
 *     bnn_model *model; bnn_report *report; bnn_sampler *sampler; bnn_store *store;
 *     bnn_ensemble *ensemble; bnn_generator *generator; size_t vocab_size, n; double loss;
 *     char text[4 * 100];
 *     OK(bnn_context_new(0, &context, &err));
 *     OK(bnn_corpus_embedded(&corpus, &err));
 *     OK(bnn_corpus_sizes(corpus, &vocab_size, NULL, NULL, &err));
 *     OK(bnn_options_new(&options, &err));
 *     SET("shape", "tiny"); SET("baseline_iters", "300"); SET("sampling_steps", "400");
 *     SET("max_new_tokens", "100");
 *     OK(bnn_report_new(&report, &err));
 *     OK(bnn_model_new(context, options, vocab_size, &model, &err));
 *     OK(bnn_model_train_once(model, corpus, options, "models", SIZE_MAX, NULL, NULL, report,
 *                             &err));
 *     OK(bnn_sampler_new(model, corpus, options, &sampler, &err));
 *     OK(bnn_store_new(model, corpus, options, "samples", SIZE_MAX, &store, &err));
 *     OK(bnn_sampler_run(sampler, store, "chain.bnn", SIZE_MAX, 100, NULL, NULL, NULL, &err));
 *     OK(bnn_ensemble_new(model, &ensemble, &err));
 *     OK(bnn_ensemble_add_stored(ensemble, "samples", SIZE_MAX, 0, SIZE_MAX, NULL, &err));
 *     OK(bnn_ensemble_evaluate(ensemble, corpus, BNN_SPLIT_VAL, NULL, NULL, report, &err));
 *     OK(bnn_report_get_f64(report, "loss", SIZE_MAX, &loss, &err));
 *     OK(bnn_generator_new(ensemble, corpus, options, &generator, &err));
 *     OK(bnn_generator_generate(generator, "The ", SIZE_MAX, options, 0, NULL, NULL, text,
 *                               sizeof text, &n, NULL, NULL, &err));
 *     printf("the average: %.4f nats per token\n%.*s\n", loss, (int)n, text);
 *     bnn_generator_free(generator), bnn_ensemble_free(ensemble), bnn_store_free(store);
 *     bnn_sampler_free(sampler), bnn_report_free(report), bnn_model_free(model);
 *     bnn_options_free(options), bnn_corpus_free(corpus), bnn_context_free(context);
 *     return 0;
 *   }
 */
#ifndef BNN_H
#define BNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Versions, statuses and errors -----------------------------------------------------------------*/
/* A call that can fail returns a status and takes a place for the error's words, or NULL. */

/** Major version of the header. */
#define BNN_VERSION_MAJOR 0

/** Minor version of the header. */
#define BNN_VERSION_MINOR 1

/** Patch version of the header. */
#define BNN_VERSION_PATCH 0

/**
 * Number of the binary interface; the shared library's SONAME carries it. Every released change
 * that breaks callers changes it; functions, options, rows of reports and status values may be
 * added without that.
 */
#define BNN_ABI 6

/**
 * Grows with every addition under one BNN_ABI. A program runs with a library where bnn_abi() ==
 * BNN_ABI and bnn_abi_minor() >= BNN_ABI_MINOR.
 */
#define BNN_ABI_MINOR 0

/**
 * Returns major * 1000000 + minor * 1000 + patch of the library that is linked. Never fails.
 *
 * Since 0.1.0.
 */
uint32_t bnn_version_number(void);

/**
 * Returns the version as text, such as "0.1.0": static, NUL-terminated, not to be freed. Never
 * fails.
 *
 * Since 0.1.0.
 */
const char *bnn_version_string(void);

/**
 * Returns BNN_ABI of the library that is linked. Never fails.
 *
 * Since 0.1.0.
 */
uint32_t bnn_abi(void);

/**
 * Returns BNN_ABI_MINOR of the library that is linked. Never fails.
 *
 * Since 0.1.0.
 */
uint32_t bnn_abi_minor(void);

/** What every fallible call returns: BNN_OK or the reason. */
typedef int32_t bnn_status;

/**
 * Returns the name of a status, such as "BNN_ERR_BUSY", and "unknown status" for another number:
 * static, NUL-terminated, not to be freed. Never fails.
 *
 * Since 0.1.0.
 */
const char *bnn_status_name(bnn_status status);

/** Success. */
#define BNN_OK 0

/** An argument or option is out of its range. */
#define BNN_ERR_INVALID 1

/** A buffer has the wrong length. */
#define BNN_ERR_SHAPE 2

/** A text or token file does not hold what it must. */
#define BNN_ERR_DATA 3

/** The operating system refused to read or write. */
#define BNN_ERR_IO 4

/** Not a bnn file. */
#define BNN_ERR_BAD_MAGIC 5

/** Another version of the format. */
#define BNN_ERR_BAD_VERSION 6

/** A file is shorter or longer than it says. */
#define BNN_ERR_BAD_LENGTH 7

/** A file is damaged. */
#define BNN_ERR_BAD_CHECKSUM 8

/** A file's header makes no sense. */
#define BNN_ERR_BAD_HEADER 9

/** A file is of another model, corpus or chain. */
#define BNN_ERR_MISMATCH 10

/** NaN or infinity stopped the computation. */
#define BNN_ERR_NOT_FINITE 11

/** The step is provably too large. */
#define BNN_ERR_UNSTABLE 12

/** The build or the machine cannot do it. */
#define BNN_ERR_UNSUPPORTED 13

/** The caller asked to stop. */
#define BNN_ERR_INTERRUPTED 14

/** A pointer that must not be NULL is. */
#define BNN_ERR_NULL 15

/** A defect of the library; the message has its text. The handle may be freed, nothing else. */
#define BNN_ERR_PANIC 16

/** The caller's buffer is too small; *needed says how large it must be. */
#define BNN_ERR_TOO_SMALL 17

/** The handle is in use by another call: another thread's, or the one that runs this callback. */
#define BNN_ERR_BUSY 18

/** An error of a kind that this list does not have yet. */
#define BNN_ERR_OTHER 19

/**
 * The system has not the memory that is needed; the message says for what, and how much. What the
 * call was to change is as before, or, of a step, as the call's other errors leave it.
 */
#define BNN_ERR_NO_MEMORY 20

/** Every step was made, or every text has ended: nothing is left to do. */
#define BNN_ERR_DONE 21

/**
 * The call came too early or too late, as before the first step or when sampling has begun; the
 * message says what to do.
 */
#define BNN_ERR_STATE 22

/**
 * Detail of an error, owned by the caller. Every function takes NULL in its place. Untouched on
 * success.
 */
typedef struct {
  /**
   * The status.
   */
  int32_t code;
  /**
   * What was expected, what came, and where: UTF-8, NUL-terminated, cut at 507 bytes.
   */
  char message[508];
} bnn_error;

/* Objects ---------------------------------------------------------------------------------------*/
/* Opaque: bnn_x_new makes one, bnn_x_free frees it, in any order; freeing NULL is fine. */

/** A device with its thread pool. Shareable between threads. Children keep it alive. */
typedef struct bnn_context bnn_context;

/**
 * Settings by name. One thread at a time. Copied by what is made with them, so they may be freed or
 * changed at once.
 */
typedef struct bnn_options bnn_options;

/**
 * The rows of one result. One thread at a time. A call that gives a result replaces the rows that
 * are there, so one report serves many calls.
 */
typedef struct bnn_report bnn_report;

/**
 * Tokens in two splits, with the characters that they are where these are known. Immutable, so
 * shareable between threads. Children keep it alive.
 */
typedef struct bnn_corpus bnn_corpus;

/**
 * A GPT with its parameters. May be used by several threads at once: a call works with the
 * parameters that are there when it begins, whatever another thread sets meanwhile. Children keep
 * it alive. The first corpus with characters that it is used with says what its tokens are; one
 * with others is refused from then on.
 */
typedef struct bnn_model bnn_model;

/** A model in training by AdamW. One thread at a time. */
typedef struct bnn_trainer bnn_trainer;

/**
 * Computes a model's losses, gradients and predictions at any parameters. One thread at a time; any
 * number of evaluators of one model may work at once, none waits for another, and the model keeps
 * its parameters. Buffers grow to the largest batch that came and are kept: a call allocates
 * nothing after the first of a size (on a context of one thread; with more, handing work to them
 * may).
 */
typedef struct bnn_evaluator bnn_evaluator;

/** A chain or a fit of normals. One thread at a time. */
typedef struct bnn_sampler bnn_sampler;

/**
 * Samples of one model in a folder. Files there that have no sample's name are passed over. One
 * thread at a time; several processes may append to one folder as long as each chain has one
 * writer.
 */
typedef struct bnn_store bnn_store;

/**
 * Parameter vectors of one model, held or read from their files when they are used. One thread at a
 * time. Children copy the samples that are there when they are made.
 */
typedef struct bnn_ensemble bnn_ensemble;

/** A writer with a cache for each sample. One thread at a time. */
typedef struct bnn_generator bnn_generator;

/** Tokens of a corpus to be scored again and again. One thread at a time. */
typedef struct bnn_probe bnn_probe;

/**
 * Called now and then by a long call, on the calling thread; 0 ends it with BNN_ERR_INTERRUPTED,
 * anything else goes on.
 *
 * done: pieces of work that are done, of total; total is 0 where it is not known. A call into a
 * handle that the long call works with returns BNN_ERR_BUSY; freeing one is fine.
 */
typedef int32_t (*bnn_progress_callback)(void *user_data, uint64_t done, uint64_t total);

/* Contexts --------------------------------------------------------------------------------------*/
/* Where things are computed. */

/**
 * Makes a context on the CPU.
 *
 * [in] threads: 0 takes as many as the machine has. [out] context: to be freed with
 * bnn_context_free. Errors: BNN_ERR_INVALID above 1024 threads, BNN_ERR_UNSUPPORTED when they
 * cannot be started.
 *
 * Since 0.1.0.
 */
bnn_status bnn_context_new(size_t threads,
                           bnn_context **context,
                           bnn_error *err);

/**
 * Frees a context; NULL is fine. What was made in it goes on working.
 *
 * Since 0.1.0.
 */
void bnn_context_free(bnn_context *context);

/**
 * Gives how many threads compute. [out] threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_context_threads(const bnn_context *context, size_t *threads, bnn_error *err);

/**
 * Says what computes, and how the library was built. [out] report: version; abi; abi_minor;
 * threads; instructions, that kernels are chosen for; target; profile; compiler; features, of the
 * crate, separated by ", ".
 *
 * Since 0.1.0.
 */
bnn_status bnn_context_info(const bnn_context *context,
                            bnn_report *report,
                            bnn_error *err);

/* Options ---------------------------------------------------------------------------------------*/
/* Settings by name; each constructor says which it reads. */

/** A row that holds a double. */
#define BNN_TYPE_F64 0

/** A row that holds an unsigned integer. */
#define BNN_TYPE_U64 1

/** A row that holds text. */
#define BNN_TYPE_STR 2

/** A row that holds a series of doubles. */
#define BNN_TYPE_F64S 3

/**
 * Makes options, all at their defaults. [out] options: to be freed with bnn_options_free.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_new(bnn_options **options, bnn_error *err);

/**
 * Frees options; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_options_free(bnn_options *options);

/**
 * Sets an option that takes a double. [in] name: UTF-8, name_len bytes.
 *
 * Errors: BNN_ERR_INVALID for an unknown name, another type, or a value out of the option's range;
 * the option is then as before. What depends on several options is checked where they are used.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_set_f64(bnn_options *options,
                               const char *name,
                               size_t name_len,
                               double value,
                               bnn_error *err);

/**
 * Sets an option that takes an unsigned integer; a switch takes 0 or 1. Name and errors are those
 * of bnn_options_set_f64.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_set_u64(bnn_options *options,
                               const char *name,
                               size_t name_len,
                               uint64_t value,
                               bnn_error *err);

/**
 * Sets an option that takes a word: UTF-8, value_len bytes. Name and errors are those of
 * bnn_options_set_f64.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_set_str(bnn_options *options,
                               const char *name,
                               size_t name_len,
                               const char *value,
                               size_t value_len,
                               bnn_error *err);

/**
 * Sets an option of any type from text, as a flag or a file of settings has it: a number in
 * decimal, true or false (1 or 0) for a switch, a word. [in] value: UTF-8, value_len bytes. Name
 * and errors are those of bnn_options_set_f64.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_set_text(bnn_options *options,
                                const char *name,
                                size_t name_len,
                                const char *value,
                                size_t value_len,
                                bnn_error *err);

/**
 * Makes options that are set as these are now. [out] copy: to be freed with bnn_options_free.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_copy(const bnn_options *options, bnn_options **copy, bnn_error *err);

/**
 * Lists the options that are set and that an object does not read, or that have no effect on it
 * beside the others.
 *
 * [in] reader: UTF-8, reader_len bytes, one of model, trainer, sampler, gradient sampler, store and
 * generator: the `readers` of bnn_options_describe. [out] report: a row per such option, its name
 * with what it is set to, and in the meaning why it is not read. Errors: BNN_ERR_INVALID for
 * another reader.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_unread(const bnn_options *options,
                              const char *reader,
                              size_t reader_len,
                              bnn_report *report,
                              bnn_error *err);

/**
 * Puts an option back to its default. [in] name: UTF-8, name_len bytes. Errors: BNN_ERR_INVALID for
 * an unknown name.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_unset(bnn_options *options,
                             const char *name,
                             size_t name_len,
                             bnn_error *err);

/**
 * Reads an option back: what was set, or the default that it has beside the other options, for a
 * sampler of a GPT's posterior.
 *
 * [in] name: UTF-8, name_len bytes. [out] value. Errors: BNN_ERR_INVALID for an unknown name,
 * another type, or an option without a value: one that is not set and whose default depends on
 * where it is used.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_get_f64(const bnn_options *options,
                               const char *name,
                               size_t name_len,
                               double *value,
                               bnn_error *err);

/**
 * Reads back an option that takes an unsigned integer; arguments and errors are those of
 * bnn_options_get_f64.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_get_u64(const bnn_options *options,
                               const char *name,
                               size_t name_len,
                               uint64_t *value,
                               bnn_error *err);

/**
 * Reads back an option that takes a word; options, name and errors are those of
 * bnn_options_get_f64.
 *
 * [out] value: UTF-8 without NUL, capacity bytes; needed: its bytes. Errors besides:
 * BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_get_str(const bnn_options *options,
                               const char *name,
                               size_t name_len,
                               char *value,
                               size_t capacity,
                               size_t *needed,
                               bnn_error *err);

/**
 * Returns how many options there are. Never fails.
 *
 * Since 0.1.0.
 */
size_t bnn_options_count(void);

/**
 * Gives one thing about one option, as text.
 *
 * [in] index: below bnn_options_count(); field: UTF-8, field_len bytes, one of name; aliases (other
 * names that are taken); type (f64, u64 or str); default (as the set functions take it; empty where
 * it depends on the place of use); defaults (with the methods, shapes and targets that have another
 * one); range (in words); min and max (empty where there is none; `range` says whether the bound
 * itself is allowed); words (that a str may be); group; readers (the objects that read it); help.
 * Lists are separated by ", ". [out] text: UTF-8 without NUL, capacity bytes; needed: its bytes.
 * Errors: BNN_ERR_INVALID for the index or the field, BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_options_describe(size_t index,
                                const char *field,
                                size_t field_len,
                                char *text,
                                size_t capacity,
                                size_t *needed,
                                bnn_error *err);

/* Reports ---------------------------------------------------------------------------------------*/
/* Results of several numbers, by name. */

/**
 * Makes a report without rows. [out] report: to be freed with bnn_report_free.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_new(bnn_report **report, bnn_error *err);

/**
 * Frees a report; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_report_free(bnn_report *report);

/**
 * Counts the rows. [out] count.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_count(const bnn_report *report, size_t *count, bnn_error *err);

/**
 * Gives the name of a row.
 *
 * [in] index: below bnn_report_count. [out] name: UTF-8 without NUL, capacity bytes; needed: its
 * bytes. Errors: BNN_ERR_INVALID for the index, BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_name(const bnn_report *report,
                           size_t index,
                           char *name,
                           size_t capacity,
                           size_t *needed,
                           bnn_error *err);

/**
 * Says what a row holds and what it means.
 *
 * [in] name: UTF-8, name_len bytes. [out] type: BNN_TYPE_…; meaning: with the unit, UTF-8 without
 * NUL, capacity bytes; needed: its bytes. Errors: BNN_ERR_INVALID for an unknown name, with the
 * nearest one; BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_describe(const bnn_report *report,
                               const char *name,
                               size_t name_len,
                               int32_t *type,
                               char *meaning,
                               size_t capacity,
                               size_t *needed,
                               bnn_error *err);

/**
 * Gets a number; a count is one too.
 *
 * [in] name: UTF-8, name_len bytes. [out] value: NaN for what is not known. Errors: BNN_ERR_INVALID
 * for an unknown name, with the nearest one, and for a row of another type.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_get_f64(const bnn_report *report,
                              const char *name,
                              size_t name_len,
                              double *value,
                              bnn_error *err);

/**
 * Gets a count; name and errors are those of bnn_report_get_f64. [out] value: 0 and 1 where it
 * means no and yes.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_get_u64(const bnn_report *report,
                              const char *name,
                              size_t name_len,
                              uint64_t *value,
                              bnn_error *err);

/**
 * Gets text; name and errors are those of bnn_report_get_f64. [out] chars: UTF-8 without NUL,
 * capacity bytes; needed: its bytes. Errors: BNN_ERR_TOO_SMALL too.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_get_str(const bnn_report *report,
                              const char *name,
                              size_t name_len,
                              char *chars,
                              size_t capacity,
                              size_t *needed,
                              bnn_error *err);

/**
 * Gets a series of numbers; name and errors are those of bnn_report_get_f64. [out] values: capacity
 * doubles; needed: how many there are. Errors: BNN_ERR_TOO_SMALL too.
 *
 * Since 0.1.0.
 */
bnn_status bnn_report_get_f64s(const bnn_report *report,
                               const char *name,
                               size_t name_len,
                               double *values,
                               size_t capacity,
                               size_t *needed,
                               bnn_error *err);

/* Texts and tokens ------------------------------------------------------------------------------*/
/* What models learn from. */

/** The first 90 % of a corpus. */
#define BNN_SPLIT_TRAIN 0

/** The rest. */
#define BNN_SPLIT_VAL 1

/**
 * Makes a corpus of the play in verse that the library carries. [out] corpus: to be freed with
 * bnn_corpus_free.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_embedded(bnn_corpus **corpus,
                               bnn_error *err);

/**
 * Makes a corpus of a plain text file.
 *
 * [in] path: UTF-8, path_len bytes. [out] corpus. Errors: BNN_ERR_IO, BNN_ERR_DATA when it is empty
 * or not UTF-8.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_from_file(const char *path,
                                size_t path_len,
                                bnn_corpus **corpus,
                                bnn_error *err);

/**
 * Makes a corpus of a text in memory.
 *
 * [in] chars: UTF-8, len bytes. [out] corpus. Errors: BNN_ERR_DATA when it is empty,
 * BNN_ERR_INVALID when it is not UTF-8.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_from_text(const char *chars,
                                size_t len,
                                bnn_corpus **corpus,
                                bnn_error *err);

/**
 * Makes a corpus of token ids, whatever made them: the splits are as given. No characters are known
 * of them.
 *
 * [in] train, val: n_train and n_val ids, each below vocab_size; none of one split is fine where
 * that split is not used; vocab_size: 1 to 65536. [out] corpus. Errors: BNN_ERR_INVALID with the
 * place of an id out of range.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_from_tokens(const uint32_t *train,
                                  size_t n_train,
                                  const uint32_t *val,
                                  size_t n_val,
                                  size_t vocab_size,
                                  bnn_corpus **corpus,
                                  bnn_error *err);

/**
 * Makes a corpus of what nanoGPT's prepare.py writes into a folder: train.bin and val.bin, tokens
 * of 16 bits, and the characters of meta.pkl.
 *
 * [in] path: of the folder, UTF-8, path_len bytes; vocab_size: 0 reads meta.pkl; another number
 * takes the files for ids below it, of which no characters are known, as where there is no meta.pkl
 * (GPT-2's tokens have 50257). [out] corpus. Errors: BNN_ERR_IO; BNN_ERR_DATA for a file that is
 * empty or damaged, and for a token out of range; BNN_ERR_INVALID.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_from_nanogpt(const char *path,
                                   size_t path_len,
                                   size_t vocab_size,
                                   bnn_corpus **corpus,
                                   bnn_error *err);

/**
 * Gives the characters that the tokens are, in the order of their ids. [out] chars: UTF-8 without
 * NUL, capacity bytes; needed: its bytes, 0 where no characters are known. Errors:
 * BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_vocabulary(const bnn_corpus *corpus,
                                 char *chars,
                                 size_t capacity,
                                 size_t *needed,
                                 bnn_error *err);

/**
 * Frees a corpus; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_corpus_free(bnn_corpus *corpus);

/**
 * Gives the sizes of a corpus. [out] vocab_size: how many different tokens; [out] n_train, n_val:
 * tokens of the splits.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_sizes(const bnn_corpus *corpus,
                            size_t *vocab_size,
                            size_t *n_train,
                            size_t *n_val,
                            bnn_error *err);

/**
 * Copies the tokens of a split.
 *
 * [in] split: BNN_SPLIT_…. [out] tokens: capacity elements; needed: how many there are. Errors:
 * BNN_ERR_INVALID, BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_tokens(const bnn_corpus *corpus,
                             int32_t split,
                             uint32_t *tokens,
                             size_t capacity,
                             size_t *needed,
                             bnn_error *err);

/**
 * Turns text into tokens.
 *
 * [in] chars: UTF-8, len bytes. [out] tokens: capacity elements; [out] needed: how many there are.
 * Errors: BNN_ERR_DATA or BNN_ERR_INVALID for a character that the corpus does not have,
 * BNN_ERR_INVALID where no characters are known, BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_encode(const bnn_corpus *corpus,
                             const char *chars,
                             size_t len,
                             uint32_t *tokens,
                             size_t capacity,
                             size_t *needed,
                             bnn_error *err);

/**
 * Turns tokens into text.
 *
 * [in] tokens: n elements. [out] chars: UTF-8 without NUL, capacity bytes; [out] needed: how many
 * bytes there are. Errors: BNN_ERR_INVALID for a token out of range and where no characters are
 * known, BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_corpus_decode(const bnn_corpus *corpus,
                             const uint32_t *tokens,
                             size_t n,
                             char *chars,
                             size_t capacity,
                             size_t *needed,
                             bnn_error *err);

/* Models ----------------------------------------------------------------------------------------*/
/* A GPT's shape and its parameters. */

/**
 * Makes a model at nanoGPT's initial parameters.
 *
 * [in] options: shape, n_layer, n_head, n_embd, block_size, bias, dropout, gelu, tie_weights,
 * precision, seed; NULL for defaults. vocab_size: the corpus's. [out] model: to be freed with
 * bnn_model_free. Errors: BNN_ERR_INVALID for a shape that cannot be built, BNN_ERR_NO_MEMORY for
 * one that memory does not hold, with the bytes that it needs. The parameters are a function of
 * shape and seed.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_new(const bnn_context *context,
                         const bnn_options *options,
                         size_t vocab_size,
                         bnn_model **model,
                         bnn_error *err);

/**
 * Makes the model with a head of its own that computes what a tied one does: its parameters, and a
 * copy of the embedding's for the head.
 *
 * [out] untied: a model of its own, to be freed with bnn_model_free. What laplace_structure =
 * last_layer_… needs. Errors: BNN_ERR_INVALID for a model that is not tied.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_untie(const bnn_model *model,
                           bnn_model **untied,
                           bnn_error *err);

/**
 * Makes a model of the same shape with the parameters that this one has now. [out] copy: to be
 * freed with bnn_model_free. Errors: BNN_ERR_NO_MEMORY.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_copy(const bnn_model *model,
                          bnn_model **copy,
                          bnn_error *err);

/**
 * Frees a model; NULL is fine. What was made from it goes on working.
 *
 * Since 0.1.0.
 */
void bnn_model_free(bnn_model *model);

/**
 * Gives the sizes of a model. [out] n_params: length of the parameter vector; [out] block_size:
 * longest context.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_sizes(const bnn_model *model,
                           size_t *n_params,
                           size_t *block_size,
                           bnn_error *err);

/**
 * Copies the parameters out. [out] params: n floats, n = n_params. Errors: BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_get_params(const bnn_model *model, float *params, size_t n, bnn_error *err);

/**
 * Copies parameters in. [in] params: n floats, n = n_params, all finite. Errors: BNN_ERR_SHAPE,
 * BNN_ERR_INVALID.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_set_params(bnn_model *model,
                                const float *params,
                                size_t n,
                                bnn_error *err);

/**
 * Describes one named tensor of the parameter vector, in nanoGPT's order.
 *
 * [in] index: from 0. [out] name: UTF-8 without NUL, capacity bytes; needed: its bytes; dims: 1 for
 * a gain or a bias, 2 for a matrix; rows, columns: its shape, (out, in) for a matrix, and 1 column
 * with one dimension; offset, len: its place, row by row. Each may be NULL, the name with a
 * capacity of 0 once its bytes are not wanted. Errors: BNN_ERR_INVALID past the last tensor,
 * BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_tensor(const bnn_model *model,
                            size_t index,
                            char *name,
                            size_t capacity,
                            size_t *needed,
                            size_t *dims,
                            size_t *rows,
                            size_t *columns,
                            size_t *offset,
                            size_t *len,
                            bnn_error *err);

/**
 * Finds a tensor by its name. [in] name: UTF-8, name_len bytes. [out] index: for bnn_model_tensor.
 * Errors: BNN_ERR_INVALID for an unknown name, with the nearest one.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_find_tensor(const bnn_model *model,
                                 const char *name,
                                 size_t name_len,
                                 size_t *index,
                                 bnn_error *err);

/**
 * Says what a model is. [out] report: vocab_size; block_size, the longest context; n_layer; n_head;
 * n_embd; bias; dropout; gelu; tie_weights; n_params; tensors, how many bnn_model_tensor knows;
 * precision, of matrix products; characters, 1 where it is known which characters the tokens are.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_info(const bnn_model *model,
                          bnn_report *report,
                          bnn_error *err);

/**
 * Loss over a whole split, consecutive windows of the block's length.
 *
 * [in] split: BNN_SPLIT_…. [out] loss: nats per token. Errors: BNN_ERR_DATA when the split is
 * shorter than a window. Reproducible to the bit on one machine, whatever the number of threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_loss(const bnn_model *model,
                          const bnn_corpus *corpus,
                          int32_t split,
                          double *loss,
                          bnn_error *err);

/**
 * Writes the model to a file that the command takes for a baseline (`--model-path`), in the place
 * of what may be there; it appears whole or not at all.
 *
 * [in] corpus: the text that it was trained on, whose validation loss is written too; NULL writes
 * neither, and the characters where the model knows them; steps: of training, for the record; path:
 * UTF-8, path_len bytes. Errors: BNN_ERR_INVALID for a corpus with other characters; BNN_ERR_DATA
 * when its validation split is shorter than a window; BNN_ERR_IO.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_save(const bnn_model *model,
                          const bnn_corpus *corpus,
                          uint64_t steps,
                          const char *path,
                          size_t path_len,
                          bnn_error *err);

/**
 * Makes a model from a file: bnn_model_save's, or a baseline of the command's. Shape, parameters
 * and characters are the file's.
 *
 * [in] options: precision; NULL for defaults; path: UTF-8, path_len bytes. [out] model: to be freed
 * with bnn_model_free. Errors: BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged or none of
 * bnn's, BNN_ERR_BAD_HEADER also where its shape cannot be built and where it has not as many
 * parameters as its shape says, or characters, if it has any; BNN_ERR_MISMATCH for a file of
 * another kind, or without parameters in f32; BNN_ERR_DATA for a parameter that is not finite.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_load(const bnn_context *context,
                          const bnn_options *options,
                          const char *path,
                          size_t path_len,
                          bnn_model **model,
                          bnn_error *err);

/**
 * Writes the model's parameters to a safetensors file by nanoGPT's names, in the place of what may
 * be there; it appears whole or not at all. A head that is tied is not written. [in] path: UTF-8,
 * path_len bytes. Errors: BNN_ERR_IO.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_save_safetensors(const bnn_model *model,
                                      const char *path,
                                      size_t path_len,
                                      bnn_error *err);

/**
 * Puts the parameters of a safetensors file into a model of their shape: every tensor by nanoGPT's
 * name, in F32 or BF16; others are passed over.
 *
 * [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO; BNN_ERR_BAD_HEADER for a file that is
 * damaged or of another format, and where a tensor is missing or of another shape or type, with its
 * name; BNN_ERR_DATA for a parameter that is not finite. The model is then as it was.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_read_safetensors(bnn_model *model,
                                      const char *path,
                                      size_t path_len,
                                      bnn_error *err);

/* Training --------------------------------------------------------------------------------------*/
/* The deterministic model that chains start at. */

/** At nanoGPT's initial parameters of the options' seed. */
#define BNN_START_FRESH 0

/** At the model's parameters. */
#define BNN_START_MODEL 1

/**
 * Makes a trainer of a model's shape.
 *
 * [in] corpus: the text; NULL where every batch is the caller's; options: baseline_iters,
 * baseline_learning_rate, baseline_warmup_iters, weight_decay, grad_clip, baseline_batch_size
 * (without it, batch_size), window, seed; NULL for defaults; start: BNN_START_FRESH, or
 * BNN_START_MODEL, which goes on from the model's parameters as they are now (fine-tuning: AdamW's
 * means begin at 0). The model changes with bnn_trainer_finish alone. [out] trainer: to be freed
 * with bnn_trainer_free. Errors: BNN_ERR_INVALID, BNN_ERR_DATA when the text is too short.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_new(const bnn_model *model,
                           const bnn_corpus *corpus,
                           const bnn_options *options,
                           int32_t start,
                           bnn_trainer **trainer,
                           bnn_error *err);

/**
 * Makes a trainer that goes on from what bnn_trainer_save wrote, bit for bit.
 *
 * [in] model, corpus, options: as bnn_trainer_new had them; path: UTF-8, path_len bytes. [out]
 * trainer. Errors: those of bnn_trainer_new; BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged
 * or none of bnn's; BNN_ERR_MISMATCH, with what differs, for other options, another model or text.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_load(const bnn_model *model,
                            const bnn_corpus *corpus,
                            const bnn_options *options,
                            const char *path,
                            size_t path_len,
                            bnn_trainer **trainer,
                            bnn_error *err);

/**
 * Writes the trainer's whole state to a file, in the place of what may be there; it appears whole
 * or not at all. [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_save(const bnn_trainer *trainer,
                            const char *path,
                            size_t path_len,
                            bnn_error *err);

/**
 * Frees a trainer; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_trainer_free(bnn_trainer *trainer);

/**
 * Makes one step on a batch that is a function of (seed, step).
 *
 * [out] loss: of the batch before the step, nats per token. Errors: BNN_ERR_NOT_FINITE: the
 * parameters are then those before the step; BNN_ERR_INVALID without a text.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_step(bnn_trainer *trainer,
                            double *loss,
                            bnn_error *err);

/**
 * Makes one step on the caller's batch. [in] x, y: (B, T), tokens of as many sequences of window
 * tokens as there are, at most batch_size; n: how many. [out] loss: of the batch before the step,
 * nats per token. Errors: BNN_ERR_INVALID with the place of a token out of range; BNN_ERR_SHAPE for
 * n; BNN_ERR_NOT_FINITE as bnn_trainer_step.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_step_tokens(bnn_trainer *trainer,
                                   const uint32_t *x,
                                   const uint32_t *y,
                                   size_t n,
                                   double *loss,
                                   bnn_error *err);

/**
 * Copies the parameters in training out. [out] params: n floats, n = the model's n_params. Errors:
 * BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_get_params(const bnn_trainer *trainer,
                                  float *params,
                                  size_t n,
                                  bnn_error *err);

/**
 * Keeps the parameters as the best so far where a score of the caller's is below every one before,
 * such as bnn_evaluator_loss' on tokens that no step takes. [in] score: finite, the lower the
 * better. [out] is_best: 1 where it is, else 0. Errors: BNN_ERR_INVALID; BNN_ERR_NO_MEMORY.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_keep_best(bnn_trainer *trainer,
                                 double score,
                                 int32_t *is_best,
                                 bnn_error *err);

/**
 * Copies the best parameters so far out. [out] params: n floats. Errors: BNN_ERR_STATE where none
 * were kept; BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_get_best(const bnn_trainer *trainer,
                                float *params,
                                size_t n,
                                bnn_error *err);

/**
 * Reports where a training is. [out] report: steps, that were made; iters, that the learning rate's
 * schedule is for; learning_rate, of the next step; loss, of the last step's batch, and
 * recent_loss, the mean of the last 50 steps', nats per token; best.score and best.steps, of
 * bnn_trainer_keep_best. What is not known is NaN.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_report(const bnn_trainer *trainer,
                              bnn_report *report,
                              bnn_error *err);

/**
 * Puts the trained parameters into the model that the trainer was made from.
 *
 * Since 0.1.0.
 */
bnn_status bnn_trainer_finish(bnn_trainer *trainer, bnn_error *err);

/**
 * Called after each step of a training on the calling thread; 0 ends it with BNN_ERR_INTERRUPTED,
 * anything else goes on.
 *
 * step: how many are made; loss: of the step's batch before it, nats per token.
 */
typedef int32_t (*bnn_step_callback)(void *user_data, uint64_t step, double loss);

/**
 * Trains a model by bnn_trainer_step's steps, baseline_iters at most, or takes the parameters that
 * an earlier call kept: the file in the folder is named by all that they depend on. With
 * baseline_choice "best" they are those that predict the first half of the validation split best,
 * of the trained parameters and two moving averages of them, and the training ends when
 * baseline_patience steps brought no better ones. The parameters become the model's. The training's
 * state is kept in the folder every checkpoint_every steps and when the callback ends it: the next
 * call goes on from there, bit for bit. While another process trains the same model there, the call
 * waits for it.
 *
 * [in] model: its shape; corpus: the text; options: those of bnn_trainer_new, baseline_choice,
 * baseline_patience, checkpoint_every; NULL for defaults; path: of the folder, which is made where
 * it does not exist, UTF-8, path_len bytes; callback: NULL or called after each step. [out] report:
 * kept, 1 where the file was there; path, of the file; steps that were made; train_loss, mean of
 * the last 50 steps' losses; val_loss, on the whole validation split; nats per token; seconds, of
 * the training when it was made. Errors: those of bnn_trainer_new and bnn_trainer_step; BNN_ERR_IO;
 * BNN_ERR_BAD_… for a damaged file; BNN_ERR_BUSY; BNN_ERR_INTERRUPTED. The model is then as it was.
 *
 * Since 0.1.0.
 */
bnn_status bnn_model_train_once(bnn_model *model,
                                const bnn_corpus *corpus,
                                const bnn_options *options,
                                const char *path,
                                size_t path_len,
                                bnn_step_callback callback,
                                void *user_data,
                                bnn_report *report,
                                bnn_error *err);

/* Evaluators ------------------------------------------------------------------------------------*/
/* Losses and gradients at any parameters, for training loops of the caller's. */

/**
 * Makes an evaluator of a model. [out] evaluator: to be freed with bnn_evaluator_free.
 *
 * Since 0.1.0.
 */
bnn_status bnn_evaluator_new(const bnn_model *model, bnn_evaluator **evaluator, bnn_error *err);

/**
 * Frees an evaluator; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_evaluator_free(bnn_evaluator *evaluator);

/**
 * Computes the loss of targets y after tokens x.
 *
 * [in] params: n floats, n = the model's n_params; NULL with n = 0 takes the model's as they are
 * now; x, y: (B, T), b * t tokens each, t at most block_size; last_only: nonzero counts the last
 * position of each sequence alone. [out] mean: nats per position that counts; total: nats, over all
 * of them. Errors: BNN_ERR_INVALID for sizes and for a token out of range, with its place;
 * BNN_ERR_SHAPE for n. A loss that is not finite is given as it is. Reproducible to the bit
 * whatever the number of threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_evaluator_loss(bnn_evaluator *evaluator,
                              const float *params,
                              size_t n,
                              const uint32_t *x,
                              const uint32_t *y,
                              size_t b,
                              size_t t,
                              int32_t last_only,
                              double *mean,
                              double *total,
                              bnn_error *err);

/**
 * Computes the loss as bnn_evaluator_loss, and the gradient of its mean: bit for bit what a chain's
 * step takes of the same batch before the prior.
 *
 * [out] grad: n_params floats, n of them also where params is NULL. Errors: those of
 * bnn_evaluator_loss.
 *
 * Since 0.1.0.
 */
bnn_status bnn_evaluator_gradient(bnn_evaluator *evaluator,
                                  const float *params,
                                  size_t n,
                                  const uint32_t *x,
                                  const uint32_t *y,
                                  size_t b,
                                  size_t t,
                                  int32_t last_only,
                                  double *mean,
                                  double *total,
                                  float *grad,
                                  bnn_error *err);

/**
 * Computes what bnn_evaluator_gradient does, and the sum over the sequences of the square of the
 * gradient of a sequence's log likelihood, which is summed over its positions that count. Over b it
 * is the diagonal of the empirical Fisher information per sequence: what ekf and laplace take.
 *
 * [out] grad, squares: n_params floats each. Errors: those of bnn_evaluator_loss.
 *
 * Since 0.1.0.
 */
bnn_status bnn_evaluator_squares(bnn_evaluator *evaluator,
                                 const float *params,
                                 size_t n,
                                 const uint32_t *x,
                                 const uint32_t *y,
                                 size_t b,
                                 size_t t,
                                 int32_t last_only,
                                 double *mean,
                                 double *total,
                                 float *grad,
                                 float *squares,
                                 bnn_error *err);

/**
 * Computes the log-probability of each target.
 *
 * [in] as bnn_evaluator_loss. [out] log_probs: (B, T), b * t doubles, nats; computed in float.
 * Errors: those of bnn_evaluator_loss.
 *
 * Since 0.1.0.
 */
bnn_status bnn_evaluator_log_probs(bnn_evaluator *evaluator,
                                   const float *params,
                                   size_t n,
                                   const uint32_t *x,
                                   const uint32_t *y,
                                   size_t b,
                                   size_t t,
                                   double *log_probs,
                                   bnn_error *err);

/**
 * Computes the logits after each token of x: their softmax is the prediction of the token that
 * follows.
 *
 * [in] params, n, x, b, t: as bnn_evaluator_loss; capacity: floats that there is room for, b * t *
 * vocab_size. [out] logits: (B, T, V). Errors: those of bnn_evaluator_loss; BNN_ERR_SHAPE for
 * another capacity.
 *
 * Since 0.1.0.
 */
bnn_status bnn_evaluator_logits(bnn_evaluator *evaluator,
                                const float *params,
                                size_t n,
                                const uint32_t *x,
                                size_t b,
                                size_t t,
                                float *logits,
                                size_t capacity,
                                bnn_error *err);

/* Samplers: begun, kept, gone on with -----------------------------------------------------------*/
/* Chains and fits, of a GPT or on gradients of the caller's. */

/**
 * Steps that are thrown away: the mass is estimated, then the chain warms up; or normals are being
 * fitted.
 */
#define BNN_PHASE_WARMUP 0

/** Samples fall due. */
#define BNN_PHASE_SAMPLING 1

/** Every step was made. */
#define BNN_PHASE_DONE 2

/** The part of a cycle in which the chain moves without noise, and no sample falls due. */
#define BNN_PHASE_EXPLORATION 3

/**
 * Makes a sampler on a model's posterior that starts at the model's parameters.
 *
 * [in] corpus: its text; NULL where every batch is the caller's, and num_data says how many data
 * they are of; options: sampler; of chains step_size, alpha or momentum, sigma, beta,
 * noise_correction, xi, thermostat_mass, thermostat, the schedules, warmup_steps, sampling_steps,
 * thinning, chain, preconditioner and its settings, auto_step, step_tolerance, step_growth,
 * temperature_every, llc_every; of ekf, vi, laplace, swag, ivon, ema and snapshots num_epochs,
 * step_size, chain, init_sd, transition_sd, ekf_labels, init_log_scale, vi_n_samples,
 * stick_the_landing, laplace_structure, laplace_labels, laplace_fit_prior, swag_every, swag_rank,
 * ivon_decay, ema_decay, num_samples, of vi, swag, ivon, ema and snapshots schedule; of all
 * temperature, seed, the prior_… options, likelihood_weight, num_data, objective, batch_size,
 * batch_order, window; NULL for defaults. [out] sampler: to be freed with bnn_sampler_free. Errors:
 * BNN_ERR_INVALID, BNN_ERR_UNSTABLE, BNN_ERR_DATA when the text is too short. The sampler is a
 * function of options, model and corpus: the same on any number of threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_new(const bnn_model *model,
                           const bnn_corpus *corpus,
                           const bnn_options *options,
                           bnn_sampler **sampler,
                           bnn_error *err);

/**
 * Makes a sampler on any differentiable log posterior, whose gradients the caller gives, that
 * starts at theta0.
 *
 * [in] theta0: n finite floats, n at least 1. options: sampler; of chains step_size, alpha or
 * momentum, sigma, beta, noise_correction, xi, thermostat_mass, the schedules, temperature,
 * warmup_steps, sampling_steps, thinning, seed, chain, adapt, adapt_tolerance, auto_step,
 * step_tolerance, step_growth, num_data (for bnn_sampler_step_size alone; with adapt, step_size has
 * no effect); of ekf, vi, laplace, swag, ivon, ema and snapshots step_size, temperature,
 * sampling_steps (all of a fit's steps), seed, num_data (how many observations there are: ekf at
 * step_size 0, laplace), likelihood_weight, chain, init_sd, transition_sd, init_log_scale,
 * vi_n_samples, stick_the_landing, prior_std, laplace_fit_prior, swag_every, swag_rank, ivon_decay,
 * ema_decay, num_samples; NULL for defaults. [out] sampler: to be freed with bnn_sampler_free.
 * Errors: BNN_ERR_INVALID, BNN_ERR_UNSTABLE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_new_with_gradients(const bnn_context *context,
                                          const bnn_options *options,
                                          const float *theta0,
                                          size_t n,
                                          bnn_sampler **sampler,
                                          bnn_error *err);

/**
 * Frees a sampler; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_sampler_free(bnn_sampler *sampler);

/**
 * Reports how far a chain would lie from its start if there were no force: with the mass, the step
 * and the friction that it has now.
 *
 * A chain whose rms_move (bnn_movement) is about this has met no force yet that holds it. Where the
 * warm-up looks for a step, or the mass adapts, it is an approximation. [in] first, last: the steps
 * that gave the first and the last sample, those that estimate the mass counted; first at most
 * last. [out] report: rms, root mean square per parameter after the last; cosine, between the
 * displacements after both, NaN where one is 0; relative_sd, the relative standard deviation of one
 * chain's rms. Errors: BNN_ERR_INVALID for normals, for a mass that follows the chain, and past the
 * run.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_free_diffusion(const bnn_sampler *sampler,
                                      uint64_t first,
                                      uint64_t last,
                                      bnn_report *report,
                                      bnn_error *err);

/**
 * Writes the sampler's whole state to a file, in the place of what may be there; the file appears
 * whole or not at all.
 *
 * What was recorded of every step goes into a trace beside it, which only grows: `x.trace` beside
 * `x.bnn`, and a name that ends otherwise has `.trace` added. Keep and move the two together. Until
 * the first save all of that is held in memory. A sampler on gradients of the caller's has no
 * trace.
 *
 * [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO; BNN_ERR_INVALID while draws of vi's step
 * are left; BNN_ERR_NOT_FINITE for a chain that has diverged: what is there stays; BNN_ERR_DATA
 * when the trace that the sampler saved there before is gone or another's.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_save(const bnn_sampler *sampler,
                            const char *path,
                            size_t path_len,
                            bnn_error *err);

/**
 * Makes a sampler on a model's posterior that goes on from a saved state, bit for bit as it would
 * have without the break: one that bnn_sampler_save wrote, or a run's chain_00.bnn with the run's
 * baseline for the model.
 *
 * [in] model, corpus, options: as bnn_sampler_new had them, but that sampling_steps (of fits
 * num_epochs) may be another number that holds the steps made, where no step depends on it: the
 * sampler then goes on as one that was made with it. Steps depend on it under a linear, cosine or
 * cyclical schedule (vi's is linear when unset), with laplace, and with ekf at step_size 0. path:
 * UTF-8, path_len bytes. [out] sampler. temperature_every and llc_every may differ too. The model's
 * parameters are read only where the prior refers to them, and for a file that leaves out where the
 * chain started. A schedule callback is no part of the state: set it again. Errors: those of
 * bnn_sampler_new; BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged or none of bnn's;
 * BNN_ERR_MISMATCH, with what differs (and why it must not), for a state of other settings, another
 * model, start or corpus; BNN_ERR_DATA for a number in it that is not finite, and for a trace that
 * is missing, damaged or another sampler's, with what to do; BNN_ERR_SHAPE and BNN_ERR_BAD_HEADER,
 * with the path, for numbers that no sampler of these settings has.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_load(const bnn_model *model,
                            const bnn_corpus *corpus,
                            const bnn_options *options,
                            const char *path,
                            size_t path_len,
                            bnn_sampler **sampler,
                            bnn_error *err);

/**
 * Makes a sampler on gradients of the caller's that goes on from a saved state, as
 * bnn_sampler_load.
 *
 * [in] options: as bnn_sampler_new_with_gradients had them, but for sampling_steps; n: how many
 * parameters; path: UTF-8, path_len bytes. [out] sampler. Where the next gradient is to be taken,
 * bnn_sampler_get_params says. Errors: those of bnn_sampler_new_with_gradients and
 * bnn_sampler_load; BNN_ERR_SHAPE for another n.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_load_with_gradients(const bnn_context *context,
                                           const bnn_options *options,
                                           size_t n,
                                           const char *path,
                                           size_t path_len,
                                           bnn_sampler **sampler,
                                           bnn_error *err);

/**
 * Sets the number of sampling steps, of a fit that of all its steps.
 *
 * Errors: BNN_ERR_INVALID where a step depends on it (bnn_sampler_load says where), and below the
 * steps made.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_extend(bnn_sampler *sampler,
                              uint64_t steps,
                              bnn_error *err);

/**
 * Called before each step on the calling thread; 0 stops the step, which then returns
 * BNN_ERR_INTERRUPTED and changes nothing, anything else goes on.
 *
 * step: which step of the run this is, counted from 0, as bnn_sampler_report has it.
 * step_size_factor, temperature_factor: 1 at the call; the callback writes what the options'
 * step_size (above 0) and temperature (0 or more) are multiplied by. A call into the same sampler
 * from inside returns BNN_ERR_BUSY; freeing it there is fine.
 */
typedef int32_t (*bnn_schedule_callback)(void *user_data,
                                         uint64_t step,
                                         double *step_size_factor,
                                         double *temperature_factor);

/**
 * Sets a schedule of the caller's own, in place of the options'; a NULL callback gives these their
 * place back.
 *
 * The factors stand on the step size and the temperature of chains, from the warm-up on (the steps
 * before it, which estimate the mass, have none), and on vi's rate, whose temperature factor must
 * stay 1; a cyclical schedule's exploration is off meanwhile. With gradients of the caller's it is
 * asked before each call of a step. Errors: BNN_ERR_INVALID for ekf and laplace, which have no
 * schedule; BNN_ERR_STATE with auto_step before sampling begins. The step that gets a factor out of
 * range fails so and is not made.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_set_schedule(bnn_sampler *sampler,
                                    bnn_schedule_callback callback,
                                    void *user_data,
                                    bnn_error *err);

/**
 * Sets the diagonal mass of a chain on gradients of the caller's, before sampling begins. [in]
 * mass: n positive floats. The momenta are drawn anew. Errors: BNN_ERR_INVALID for normals and for
 * a model's posterior, whose options have a preconditioner.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_set_mass(bnn_sampler *sampler,
                                const float *mass,
                                size_t n,
                                bnn_error *err);

/**
 * Sets a dense mass (L L^T)^-1 of a chain on gradients of the caller's, before sampling begins: L
 * is a Cholesky factor of an estimate of the posterior's covariance over the temperature. The
 * momenta are drawn anew. [in] factor: n * n doubles, row by row, lower triangular with a positive
 * diagonal and zeros above it; n: how many parameters, at most 1000. Errors: BNN_ERR_INVALID for
 * another factor, when sampling has begun, for normals, for a model's posterior, and with options
 * adapt or noise_correction; BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_set_mass_cholesky(bnn_sampler *sampler,
                                         const double *factor,
                                         size_t n,
                                         bnn_error *err);

/**
 * Sets the variances of the gradient's noise of a chain on gradients of the caller's, before
 * sampling begins: the step then makes up for their heat. An estimate of them (option
 * noise_correction) ends. [in] variance: n floats of 0 or more. Errors: BNN_ERR_INVALID for methods
 * but baoa and ccadl and for a model's posterior, whose options have noise_correction.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_set_gradient_noise(bnn_sampler *sampler,
                                          const float *variance,
                                          size_t n,
                                          bnn_error *err);

/* Samplers: steps -------------------------------------------------------------------------------*/
/* One at a time, or all. */

/**
 * Makes one step on a batch of the corpus, which is a function of (seed, chain, step).
 *
 * [out] phase: BNN_PHASE_… of the next step: normals are in BNN_PHASE_WARMUP until all steps are
 * made; sample_due: 1 when the parameters are now a sample to keep, else 0, as always with normals.
 * Errors: BNN_ERR_DONE when every step was made; BNN_ERR_INVALID with gradients of the caller's;
 * BNN_ERR_NOT_FINITE with step and tensor when it diverges; BNN_ERR_INTERRUPTED when the schedule's
 * callback stopped it.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_step(bnn_sampler *sampler,
                            int32_t *phase,
                            int32_t *sample_due,
                            bnn_error *err);

/**
 * Makes one step on the caller's batch. [in] x, y: (B, T), batch_size * window tokens each; n: how
 * many. The rest is as in bnn_sampler_step; besides BNN_ERR_INVALID with the place of a token out
 * of range.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_step_tokens(bnn_sampler *sampler,
                                   const uint32_t *x,
                                   const uint32_t *y,
                                   size_t n,
                                   int32_t *phase,
                                   int32_t *sample_due,
                                   bnn_error *err);

/**
 * Makes one step of a chain or of vi, given the log posterior at the sampler's parameters and its
 * gradient (not divided by the temperature).
 *
 * [in] grad: n floats; log_post. [out] params: n floats, where the next gradient is to be taken;
 * phase: BNN_PHASE_… of the next step; sample_due: 1 when params are a sample to keep. vi's first
 * gradient is to be taken where bnn_sampler_get_params says, and vi_n_samples calls make one of its
 * steps. Errors: BNN_ERR_NOT_FINITE: for the gradient or log_post the sampler is as before;
 * BNN_ERR_INVALID for ekf and laplace, and for a model's posterior; BNN_ERR_DONE when every step
 * was made; BNN_ERR_INTERRUPTED when the schedule's callback stopped it. With option adapt the
 * warm-up also asks for gradients where no sample lies, and there one that is not finite, but at
 * the start, is a point too far and no error.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_step_gradient(bnn_sampler *sampler,
                                     const float *grad,
                                     size_t n,
                                     double log_post,
                                     float *params,
                                     int32_t *phase,
                                     int32_t *sample_due,
                                     bnn_error *err);

/**
 * Makes one step of ekf or laplace, given what a batch of observations says at the sampler's
 * parameters.
 *
 * [in] grad: n floats, the mean of the gradients of the observations' log likelihoods; squares: n
 * floats, the mean of the squares of those gradients, elementwise; log_lik: the mean log
 * likelihood. The prior has no part in them. [out] params, phase, sample_due: as
 * bnn_sampler_step_gradient. Errors: BNN_ERR_NOT_FINITE: the sampler is as before; BNN_ERR_INVALID
 * for chains and vi, for a model's posterior, and when every step was made.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_step_squares(bnn_sampler *sampler,
                                    const float *grad,
                                    const float *squares,
                                    size_t n,
                                    double log_lik,
                                    float *params,
                                    int32_t *phase,
                                    int32_t *sample_due,
                                    bnn_error *err);

/**
 * Makes one step of a chain on a model's posterior from the gradient of a mean loss that the caller
 * has computed at bnn_sampler_get_params' parameters, such as the mean of bnn_evaluator_gradient's
 * over several machines: the prior is added here, and num_data stands before the likelihood.
 *
 * [in] grad: n floats, of the mean loss, not of its negative; loss: that loss, nats. The rest is as
 * in bnn_sampler_step, and for the batch of the step the bits are. Errors besides: BNN_ERR_INVALID
 * for normals, on gradients of the caller's, and with preconditioner fisher or live's
 * preconditioner_gamma.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_step_loss_gradient(bnn_sampler *sampler,
                                          const float *grad,
                                          size_t n,
                                          double loss,
                                          int32_t *phase,
                                          int32_t *sample_due,
                                          bnn_error *err);

/**
 * Makes one step on a gradient of the caller's in double, as bnn_sampler_step_gradient: it is
 * rounded to float, as the parameters are kept.
 *
 * [in] grad: n doubles. [out] params: n doubles, or NULL. Errors besides: BNN_ERR_NOT_FINITE for a
 * number that float does not hold.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_step_gradient_f64(bnn_sampler *sampler,
                                         const double *grad,
                                         size_t n,
                                         double log_post,
                                         double *params,
                                         int32_t *phase,
                                         int32_t *sample_due,
                                         bnn_error *err);

/**
 * Reports a chain's step as it is now, and its name in an optimiser's language. With auto_step it
 * changes during the warm-up and is then frozen.
 *
 * [out] report: step_size: h or epsilon, before any schedule; alpha: the friction that goes with it
 * (of a thermostat the noise's); learning_rate: on the mean loss, of a parameter with mass M_i = 1;
 * under a mass that of parameter i is learning_rate / M_i (live: M_i of the last step); on
 * gradients of the caller's it is for a log posterior of likelihood_weight times num_data (options;
 * num_data 1 when unset) times a mean; momentum: of SGD with v = momentum v - gradient, theta +=
 * learning_rate v, with the friction that the chain has now (a thermostat's is its xi: momentum is
 * above 1 while that is below 0); error: what auto_step found in its last whole window, relative,
 * at the step size that it had then, NaN without a search and before. Errors: BNN_ERR_INVALID for
 * normals.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_step_size(const bnn_sampler *sampler,
                                 bnn_report *report,
                                 bnn_error *err);

/**
 * Copies out the batch of a step of a sampler on a model's posterior, which is a function of (seed,
 * chain, step).
 *
 * [in] step: from 0; n: how many tokens there is room for. [out] x, y: (B, T), batch_size * window
 * tokens each; b, t: its shape. Errors: BNN_ERR_SHAPE for another n; BNN_ERR_INVALID without a
 * text. With n = 0 the shape alone is given.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_batch(const bnn_sampler *sampler,
                             uint64_t step,
                             uint32_t *x,
                             uint32_t *y,
                             size_t n,
                             size_t *b,
                             size_t *t,
                             bnn_error *err);

/**
 * Makes all steps of a sampler that are left, on batches of its corpus, as bnn_sampler_step makes
 * them one by one. Each sample that falls due is stored, and the state is written to a file now and
 * then and after the last step, with the one before it kept beside (x.bnn as x.previous.bnn): what
 * was killed or ended by the callback goes on from there with bnn_sampler_load and this call, bit
 * for bit.
 *
 * [in] store: where samples go, which must be of the sampler's model; NULL keeps none; path: of the
 * file, UTF-8, path_len bytes; every: steps between two writings of the state, 0 for none but the
 * last; callback: NULL or called before each step with the steps that are made and all there are.
 * [out] drawn: how many samples fell due, those among them that were stored already. Errors: those
 * of bnn_sampler_step, bnn_store_append and bnn_sampler_save; BNN_ERR_INVALID where the store has
 * another sample in a sample's place; BNN_ERR_INTERRUPTED when the callback or the schedule's ended
 * it: the state is then in the file. Where every step is made already, nothing is done.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_run(bnn_sampler *sampler,
                           bnn_store *store,
                           const char *path,
                           size_t path_len,
                           uint64_t every,
                           bnn_progress_callback callback,
                           void *user_data,
                           size_t *drawn,
                           bnn_error *err);

/* Samplers: what they are at --------------------------------------------------------------------*/
/* Parameters, mass, draws, and what is measured on the way. */

/**
 * Copies out L of a chain's mass (L L^T)^-1, which bnn_sampler_set_mass_cholesky has set or option
 * adapt has found: of a diagonal mass M the diagonal 1 / sqrt(M). [out] factor: n * n doubles, row
 * by row. Errors: BNN_ERR_INVALID for normals, a model's posterior and more than 1000 parameters,
 * BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_get_mass_cholesky(const bnn_sampler *sampler,
                                         double *factor,
                                         size_t n,
                                         bnn_error *err);

/**
 * Copies the parameters out where the next gradient is taken: a chain's, vi's draw on gradients of
 * the caller's, else a fit's mean. [out] params: n floats. Errors: BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_get_params(const bnn_sampler *sampler,
                                  float *params,
                                  size_t n,
                                  bnn_error *err);

/**
 * Copies a chain's momenta out. [out] momenta: n floats. Errors: BNN_ERR_INVALID for normals and
 * methods without momenta, BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_get_momenta(const bnn_sampler *sampler,
                                   float *momenta,
                                   size_t n,
                                   bnn_error *err);

/**
 * Copies a chain's diagonal mass out: what bnn_sampler_set_mass, a preconditioner or option adapt
 * has set, and 1 where nothing has; of a dense mass the one that each parameter has on its own, 1 /
 * (L L^T)_ii. [out] mass: n floats. Errors: BNN_ERR_INVALID for normals, BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_get_mass(const bnn_sampler *sampler,
                                float *mass,
                                size_t n,
                                bnn_error *err);

/**
 * Copies out the mean and the standard deviations of what ekf, vi, laplace, swag, ivon, ema or
 * snapshots have fitted so far.
 *
 * [out] mean, sd: n floats each; sd is infinite where laplace has no precision. Errors:
 * BNN_ERR_INVALID for a chain, BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_get_normals(const bnn_sampler *sampler,
                                   float *mean,
                                   float *sd,
                                   size_t n,
                                   bnn_error *err);

/**
 * Draws from what ekf, vi, laplace, swag, ivon, ema or snapshots have fitted so far, at any time.
 *
 * [in] index: which draw of the seed: the same index gives the same draw; of snapshots the state of
 * that number, from 0, where it is kept already; of ema always the average. [out] params: n floats.
 * Errors: BNN_ERR_INVALID for a chain and for a snapshot that there is not, BNN_ERR_SHAPE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_draw(const bnn_sampler *sampler,
                            uint64_t index,
                            float *params,
                            size_t n,
                            bnn_error *err);

/**
 * Reports what the last step found.
 *
 * [out] report: step, counted from 0, those that estimate the mass included; phase of that step:
 * warmup, sampling or exploration; log_lik: mean of the batch, nats; log_prior; log_post: num_data
 * * log_lik + log prior (ekf, laplace: without the prior); kinetic_temperature,
 * configurational_temperature; xi: the thermostat's friction after the step; sample_due. NaN for
 * what there is not: log_lik and log_prior of a chain on gradients of the caller's, temperatures
 * while the mass is estimated, without momenta and of normals. Errors: BNN_ERR_STATE before the
 * first step, also of a sampler that was loaded.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_report(const bnn_sampler *sampler,
                              bnn_report *report,
                              bnn_error *err);

/**
 * Reports how noisy a chain's gradients are, where that was given or is estimated, and what heat of
 * it is left at the chain's step and temperature.
 *
 * [out] report: noise_per_mass: mean of the noise's variance over the mass, v / M'; damped: share
 * of the parameters whose noise is all of their fluctuation, and sets their friction; clamped:
 * share of those whose noise is more than the strongest friction takes out; residual_heating: mean
 * heating that is left, as a share of T; worst_tensor: of a model's the tensor with the most heat
 * left, empty without one; worst_heating: the heating there. Errors: BNN_ERR_INVALID for normals,
 * and where the noise is not known.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_gradient_noise(const bnn_sampler *sampler,
                                      bnn_report *report,
                                      bnn_error *err);

/**
 * Forecasts how far a chain can get with the step as it is now. Call it before the first step: a
 * chain that ends before its momentum is forgotten once moves along one straight line, and its
 * samples are worth about one.
 *
 * [out] report: physical_time: sum of the step sizes of the whole run; friction_times: how often
 * the momentum is forgotten in that time, NaN without momenta; optimizer_learning_rate,
 * optimizer_momentum: what an optimiser on the mean loss would call the step, at unit mass;
 * one_line: 1 where the run ends before the momentum is forgotten once. Errors: BNN_ERR_INVALID for
 * normals.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_forecast(const bnn_sampler *sampler,
                                bnn_report *report,
                                bnn_error *err);

/**
 * Reports the temperatures of one tensor, or of one of bnn_sampler_watch's ranges, over the
 * sampling steps so far: taken every temperature_every (an option) of them, or as often as the
 * ranges are watched. Each must show the options' temperature by itself: a mean over all can hide a
 * hot one behind a cold one. Under a schedule of the temperature each value is times the options'
 * temperature over that of its step.
 *
 * [in] index: as bnn_model_tensor has it, or the range's. [out] report: kinetic.mean, kinetic.sd,
 * kinetic.std_error: the mean of m^2 / M' over the momenta: mean over the steps, standard deviation
 * of one step's value, standard error of the mean by batch means (NaN with fewer than 2 and 10
 * values; all NaN without momenta); kinetic.expected: what that mean is in equilibrium; with
 * `thermostat` = tensor xi.mean, .sd, .std_error: those of the friction of the tensor's own
 * thermostat; configurational.mean, .sd, .std_error: those of minus the mean of (theta - theta_0) *
 * grad; equilibrium_sd: of one step's value if the target were Gaussian about the start and the
 * chain in equilibrium, T sqrt(2 / d); count: how often they were taken. Errors: BNN_ERR_INVALID
 * for normals, where none are taken, and past the last.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_temperature(const bnn_sampler *sampler,
                                   size_t index,
                                   bnn_report *report,
                                   bnn_error *err);

/**
 * Takes the temperatures of ranges of a chain's parameters from now on, every so many sampling
 * steps, in place of those that were watched before.
 *
 * [in] every: 0 takes none any more; offsets, lens: k ranges, none of them empty. They are no part
 * of a saved state. Errors: BNN_ERR_INVALID for normals, under a dense mass, for a range that is
 * empty or outside, and on a model's posterior whose temperature_every is not 0.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_watch(bnn_sampler *sampler,
                             uint64_t every,
                             const size_t *offsets,
                             const size_t *lens,
                             size_t k,
                             bnn_error *err);

/**
 * Reports the local learning coefficient of the parameters that the chain started at, from what it
 * looked at so far: n beta times the mean loss over that of the start, each of one batch (Lau et
 * al. 2023; docs/alive.md says what it is biased by).
 *
 * The options say how often it looks (llc_every); it needs a prior centred at the start
 * (prior_center pretrained) and a temperature above 0 and the same all the while: under
 * temperature_schedule, or a callback's factors on the temperature, its n_beta is not the chain's.
 *
 * [out] report: value: no unit; below 0 where the start is no minimum of the loss; std_error: by
 * batch means along the chain, NaN with fewer than 10 looks; excess_loss: mean, nats; n_beta: the
 * number of data, weighted, over the options' temperature; looks: how many. Errors: BNN_ERR_INVALID
 * for normals, without looks (with the reason), and when a loss was not finite.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_llc(const bnn_sampler *sampler,
                           bnn_report *report,
                           bnn_error *err);

/**
 * Reports the energies of a chain on a model's posterior while it sampled, over its temperature, as
 * bnn_energy.
 *
 * Errors: BNN_ERR_INVALID for normals, on gradients of the caller's, with fewer than 40 sampling
 * steps, and at temperature 0.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_energy(const bnn_sampler *sampler,
                              bnn_report *report,
                              bnn_error *err);

/**
 * Reports what the marginal likelihood says of laplace's prior, a normal about 0 with one
 * precision, from what was fitted so far: with laplace_fit_prior (MacKay 1992).
 *
 * [out] report: precision: the one with the largest marginal likelihood, which draws and standard
 * deviations have in place of prior_std^-2; effective_parameters: how many the data determine;
 * log_evidence: what of the log marginal likelihood depends on the precision, nats. Errors:
 * BNN_ERR_INVALID for a chain, without laplace_fit_prior, and where there is no such precision.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_prior_fit(const bnn_sampler *sampler,
                                 bnn_report *report,
                                 bnn_error *err);

/**
 * A caller's log posterior's gradient, asked for on the calling thread; 0 stops the call that asks,
 * which then returns BNN_ERR_INTERRUPTED, anything else goes on.
 *
 * params: n floats, where; grad: n floats for the callback to write, not divided by the
 * temperature. It must be the same function at every call. A call into the same sampler from inside
 * returns BNN_ERR_BUSY; freeing it there is fine.
 */
typedef int32_t (*bnn_gradient_callback)(void *user_data,
                                         const float *params,
                                         size_t n,
                                         float *grad);

/* Stores ----------------------------------------------------------------------------------------*/
/* Samples on disk, and what mends them. */

/**
 * Begins a store in a folder, which is made where it does not exist, or goes on with the samples
 * there, if they are of the same model, corpus, baseline, seed and data type.
 *
 * [in] model: its parameters now are the baseline that the samples are kept with (of a model from
 * bnn_model_untie, with its head as it came: those of the tied one); corpus: NULL where every batch
 * was the caller's; options: seed, sample_dtype; NULL for defaults; path: UTF-8, path_len bytes.
 * [out] store: to be freed with bnn_store_free. Errors: BNN_ERR_MISMATCH with the first difference;
 * BNN_ERR_IO; BNN_ERR_BAD_… for a damaged file; BNN_ERR_INVALID for a corpus with other characters
 * than the model's.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_new(const bnn_model *model,
                         const bnn_corpus *corpus,
                         const bnn_options *options,
                         const char *path,
                         size_t path_len,
                         bnn_store **store,
                         bnn_error *err);

/**
 * Opens the samples in a folder, at least one: those of bnn_store_new, or `samples` of a run's
 * folder.
 *
 * [in] model: its shape; corpus: the text that it was trained on, NULL compares none; path: UTF-8,
 * path_len bytes. [out] store: to be freed with bnn_store_free. The baseline is not compared.
 * Errors: BNN_ERR_MISMATCH for samples of another model, text or vocabulary; BNN_ERR_DATA for a
 * folder without samples; BNN_ERR_IO; BNN_ERR_BAD_… for a damaged file.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_open(const bnn_model *model,
                          const bnn_corpus *corpus,
                          const char *path,
                          size_t path_len,
                          bnn_store **store,
                          bnn_error *err);

/**
 * Frees a store; NULL is fine. The files stay.
 *
 * Since 0.1.0.
 */
void bnn_store_free(bnn_store *store);

/**
 * Gives how many samples there are. [out] n.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_len(const bnn_store *store, size_t *n, bnn_error *err);

/**
 * Adds a sample; its file appears whole or not at all, and survives a power failure when the call
 * has returned.
 *
 * [in] chain: which; step: how many steps it had made, one more than bnn_sampler_report's step;
 * params: n floats, n = the model's n_params, all finite. A sample that is there already with the
 * same parameters is left. Errors: BNN_ERR_SHAPE; BNN_ERR_NOT_FINITE; BNN_ERR_INVALID for a
 * parameter that is too large for bf16 (sample_dtype); BNN_ERR_MISMATCH when other parameters are
 * there for that chain and step; BNN_ERR_IO. The store is then as it was.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_append(bnn_store *store,
                            uint32_t chain,
                            uint64_t step,
                            const float *params,
                            size_t n,
                            bnn_error *err);

/**
 * Copies a sample out, checked on the way.
 *
 * [in] index: from 0, in the order of chains, then steps. [out] chain, step: which it is; params: n
 * floats, n = the model's n_params (bf16 widened). Errors: BNN_ERR_INVALID past the last sample,
 * BNN_ERR_SHAPE, BNN_ERR_IO, BNN_ERR_BAD_… for a file that was damaged since, BNN_ERR_MISMATCH for
 * one that was replaced by that of another chain or step, BNN_ERR_DATA for a parameter in it that
 * is not finite.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_get(const bnn_store *store,
                         size_t index,
                         uint32_t *chain,
                         uint64_t *step,
                         float *params,
                         size_t n,
                         bnn_error *err);

/**
 * Gives the indices of some of the samples, spread evenly over the chains and over the steps of
 * each; the last sample of a chain is among those that it gives.
 *
 * [in] n: how many, 0 for all. [out] indices: for bnn_store_get, ascending, capacity numbers;
 * needed: how many there are, n at most. Errors: BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_spread(const bnn_store *store,
                            size_t n,
                            size_t *indices,
                            size_t capacity,
                            size_t *needed,
                            bnn_error *err);

/**
 * Reads and checks every sample, without keeping any. Errors: those of bnn_store_get for the first
 * that cannot be read, with its file.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_verify(const bnn_store *store,
                            bnn_error *err);

/**
 * Keeps the last samples of each chain and deletes the files of the others.
 *
 * [in] n: how many of each chain; 0 deletes all. [out] deleted: how many files. Errors: BNN_ERR_IO
 * with the file that could not be deleted; that one and those behind it are then still there.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_keep_last(bnn_store *store,
                               size_t n,
                               size_t *deleted,
                               bnn_error *err);

/**
 * Keeps every k-th sample of each chain, from its first one on, and deletes the files of the
 * others. It counts what is there: calling it again thins again.
 *
 * [in] k: at least 1. [out] deleted: how many files. Errors: BNN_ERR_INVALID for k = 0; BNN_ERR_IO
 * as bnn_store_keep_last.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_keep_every(bnn_store *store,
                                size_t k,
                                size_t *deleted,
                                bnn_error *err);

/**
 * Reads every sample in a folder whole, also where bnn_store_open refuses the folder, and mends
 * what can be mended.
 *
 * [in] path: the folder, UTF-8, path_len bytes; repair: 0 changes nothing; else damaged samples are
 * moved to the folder `damaged` beside it, with a number where their name is taken there, and what
 * killed processes left of unfinished samples is taken away: no other process may write the samples
 * meanwhile. [out] report: whole: 1 when every sample was read and none is damaged, after the
 * repair, also where there is none; samples: that are whole; damaged, unreadable, foreign,
 * leftovers: how many files of each there are, foreign ones being no samples and passed over;
 * message: what is wrong with samples, a line each; repaired: what was done, a line each. Whether
 * the samples belong together, bnn_store_open says, and which are missing, bnn_sampler_missing.
 * Errors: BNN_ERR_IO, also where there is no such folder; BNN_ERR_INVALID for a repair while the
 * system refuses to read a sample, which says nothing of damage: nothing was changed then.
 *
 * Since 0.1.0.
 */
bnn_status bnn_check_samples(const char *path,
                             size_t path_len,
                             int32_t repair,
                             bnn_report *report,
                             bnn_error *err);

/**
 * Reads what bnn_sampler_save wrote whole, with its trace, also where bnn_sampler_load refuses it,
 * and lets a chain go on from what is left.
 *
 * A generation before it counts too, where there is one: `x.previous.bnn` beside `x.bnn`, as the
 * command keeps it. [in] path: UTF-8, path_len bytes; repair: 0 changes nothing; else what is
 * damaged is moved to the folder `damaged` beside the file, and the generation before takes its
 * place. So it does for a file that is whole but whose trace is not, where its own trace is; where
 * neither is, the chain goes on without the series of the steps that it has made, and the file that
 * named them is kept in `damaged`. No other process may write the files meanwhile. [out] report:
 * whole: 1 when a chain can go on and nothing is damaged or missing, after the repair; can_go_on;
 * steps that the newest whole file holds; damaged, without_trace, unreadable: how many files, at
 * most 2; leftovers of killed processes, which a repair takes away; message: what is wrong, a line
 * for each file; repaired: what was done, a line each. Where there is no file, nothing is whole,
 * and that is no error. Errors: those of bnn_check_samples; BNN_ERR_MISMATCH for a sample or a
 * baseline and BNN_ERR_BAD_MAGIC for what is no file of bnn's: nothing was changed then.
 *
 * Since 0.1.0.
 */
bnn_status bnn_check_checkpoint(const char *path,
                                size_t path_len,
                                int32_t repair,
                                bnn_report *report,
                                bnn_error *err);

/**
 * Says which samples a chain has taken by now that a store does not hold: whoever goes on with both
 * asks this first, so that no hole stays unseen.
 *
 * [in] sampler: made or loaded, of the store's model and settings; store, as it was opened and
 * appended to since. [out] report: missing: how many; first: the file name of the first, empty when
 * none is missing. Samples that the store has from later steps than the sampler's are no holes:
 * they are drawn again, and bnn_store_append compares them. None is missing of ekf, vi, laplace,
 * swag, ivon, ema and snapshots, whose samples are drawn at the end. Errors: BNN_ERR_SHAPE for a
 * sampler of another number of parameters, BNN_ERR_MISMATCH for another seed (other settings are
 * not compared); BNN_ERR_INVALID for more than a million, which no chain has lost: its file was
 * forged.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_missing(const bnn_sampler *sampler,
                               const bnn_store *store,
                               bnn_report *report,
                               bnn_error *err);

/* Ensembles -------------------------------------------------------------------------------------*/
/* What the average of samples predicts. */

/**
 * Makes an empty ensemble. [out] ensemble: to be freed with bnn_ensemble_free.
 *
 * Since 0.1.0.
 */
bnn_status bnn_ensemble_new(const bnn_model *model, bnn_ensemble **ensemble, bnn_error *err);

/**
 * Frees an ensemble; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_ensemble_free(bnn_ensemble *ensemble);

/**
 * Adds a sample. [in] params: n finite floats, n = the model's n_params, copied. Errors:
 * BNN_ERR_SHAPE, BNN_ERR_INVALID.
 *
 * Since 0.1.0.
 */
bnn_status bnn_ensemble_add(bnn_ensemble *ensemble,
                            const float *params,
                            size_t n,
                            bnn_error *err);

/**
 * Adds samples of a folder, that of bnn_store_new or `samples` of a run's; folders of several runs
 * may follow each other.
 *
 * [in] path: UTF-8, path_len bytes; samples: how many, spread evenly over the chains and their
 * steps (bnn_store_spread), 0 for all; memory: bytes of parameters that may be kept, 4 times
 * n_params per sample: the samples that fit are read now, the others each time that they are used,
 * checked then, but for bnn_generator_new, which reads and holds all. [out] added: how many.
 * Errors: those of bnn_store_open without a corpus. A sample whose file is gone or damaged later is
 * an error of the call that reads it.
 *
 * Since 0.1.0.
 */
bnn_status bnn_ensemble_add_stored(bnn_ensemble *ensemble,
                                   const char *path,
                                   size_t path_len,
                                   size_t samples,
                                   size_t memory,
                                   size_t *added,
                                   bnn_error *err);

/**
 * Gives how many samples there are. [out] n.
 *
 * Since 0.1.0.
 */
bnn_status bnn_ensemble_len(const bnn_ensemble *ensemble, size_t *n, bnn_error *err);

/**
 * Scores the average of the samples' probabilities on a whole split, consecutive windows of the
 * block's length; nats per token.
 *
 * [in] split: BNN_SPLIT_…; callback: NULL or called after each batch of windows. [out] report:
 * loss, of the averaged prediction; loss_mean, the mean of the samples' losses, and loss_of_each;
 * entropy.mean, .min, .max, of the averaged prediction; expected_entropy; mutual_information.mean,
 * .min, .max; ece, expected calibration error, 15 bins; brier, mean Brier score, 0 to 2; accuracy,
 * how often the likeliest token came; tokens; samples. Errors: BNN_ERR_INVALID without a sample;
 * BNN_ERR_INTERRUPTED. Takes 64 MB, however long the split is. Reproducible to the bit whatever the
 * number of threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_ensemble_evaluate(const bnn_ensemble *ensemble,
                                 const bnn_corpus *corpus,
                                 int32_t split,
                                 bnn_progress_callback callback,
                                 void *user_data,
                                 bnn_report *report,
                                 bnn_error *err);

/**
 * Scores what the average of the samples says of a text, token by token: of each after the first,
 * given those before it in its window. Windows are consecutive and of the block's length, as
 * bnn_ensemble_evaluate has them, the last one shorter where the text does not fill it.
 *
 * [in] tokens: n, at least 2, as bnn_corpus_encode or bnn_corpus_tokens gives them. [out]
 * log_probs, entropy, mutual_information: n - 1 numbers each, nats, entry i of token i + 1. A model
 * alone is an ensemble of its parameters. Errors: BNN_ERR_INVALID without a sample, for too few
 * tokens, and for one out of range. Takes 8 bytes times the vocabulary a token. Reproducible to the
 * bit whatever the number of threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_ensemble_score(const bnn_ensemble *ensemble,
                              const uint32_t *tokens,
                              size_t n,
                              double *log_probs,
                              double *entropy,
                              double *mutual_information,
                              bnn_error *err);

/**
 * Scores the average of a store's samples on a whole split, reading one sample after the other, and
 * compares it with the model's own parameters token by token.
 *
 * [in] model: of the samples' shape, its parameters now are what is compared with; corpus: whose
 * characters the model knows; split: BNN_SPLIT_…; samples: how many are averaged, those of
 * bnn_store_spread, 0 takes all; seed: of the bootstrap's resamples; callback: NULL or called after
 * each batch of windows. [out] report: the rows of bnn_ensemble_evaluate; those of the model's
 * parameters under baseline.…; against_baseline.difference, nats per token, below 0 where the
 * average is better, with .std_error, .z (above 0 where it is better), .low and .high, the ends of
 * the 95 % interval, .block and .resamples. Errors: BNN_ERR_INVALID without a sample; BNN_ERR_SHAPE
 * for samples of another shape; those of bnn_store_get; BNN_ERR_BUSY; BNN_ERR_INTERRUPTED. Takes 64
 * MB beside the samples, however long the split is. Reproducible to the bit whatever the number of
 * threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_score(const bnn_store *store,
                           const bnn_model *model,
                           const bnn_corpus *corpus,
                           int32_t split,
                           size_t samples,
                           uint64_t seed,
                           bnn_progress_callback callback,
                           void *user_data,
                           bnn_report *report,
                           bnn_error *err);

/* Text ------------------------------------------------------------------------------------------*/
/* Written by an ensemble, with each token's uncertainty. */

/** What bnn_generator_advance gives of a text that has ended, in place of a token. */
#define BNN_NO_TOKEN UINT32_MAX

/**
 * Called for each new token on the calling thread; 0 stops the text, anything else goes on.
 *
 * entropy: of the averaged prediction, nats; mutual_information: what the samples disagree about;
 * log_prob: of the token under the averaged prediction: all at temperature 1 and before top_k,
 * whatever the options' mode. A call into the same generator from inside returns BNN_ERR_BUSY.
 */
typedef int32_t (*bnn_token_callback)(void *user_data,
                                      uint32_t token,
                                      double entropy,
                                      double mutual_information,
                                      double log_prob);

/**
 * Called with every token of several texts: prompt is the index of the prompt that the token's text
 * goes on from, and the other values are those of bnn_token_callback. Returning 0 stops that text
 * alone.
 */
typedef int32_t (*bnn_batch_token_callback)(void *user_data,
                                            size_t prompt,
                                            uint32_t token,
                                            double entropy,
                                            double mutual_information,
                                            double log_prob);

/**
 * Makes a generator from the samples that the ensemble has now.
 *
 * [in] corpus: whose characters the model knows; NULL where prompts are tokens, or the model came
 * from a file with its characters; options: weights; NULL for defaults. [out] generator: to be
 * freed with bnn_generator_free. Errors: BNN_ERR_INVALID without a sample or when the corpus has
 * other characters than the model.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_new(const bnn_ensemble *ensemble,
                             const bnn_corpus *corpus,
                             const bnn_options *options,
                             bnn_generator **generator,
                             bnn_error *err);

/**
 * Frees a generator; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_generator_free(bnn_generator *generator);

/**
 * Goes on from a prompt.
 *
 * [in] prompt: UTF-8, prompt_len bytes, at least one character; options: max_new_tokens,
 * generation_temperature, top_k, mode, context, seed (NULL for defaults); number: which text of the
 * seed; callback: NULL or called for each token. [out] chars: the new text, UTF-8 without NUL,
 * capacity bytes; needed: its bytes (4 * max_new_tokens is always enough); mean_entropy,
 * mean_mutual_information: nats per token. Errors: BNN_ERR_DATA or BNN_ERR_INVALID for a character
 * that the corpus does not have, BNN_ERR_TOO_SMALL (bnn_generator_text gives the text),
 * BNN_ERR_NOT_FINITE. The same seed gives the same text, whatever the number of threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_generate(bnn_generator *generator,
                                  const char *prompt,
                                  size_t prompt_len,
                                  const bnn_options *options,
                                  uint64_t number,
                                  bnn_token_callback callback,
                                  void *user_data,
                                  char *chars,
                                  size_t capacity,
                                  size_t *needed,
                                  double *mean_entropy,
                                  double *mean_mutual_information,
                                  bnn_error *err);

/**
 * Goes on from tokens, as bnn_generator_generate from a text.
 *
 * [in] prompt: n tokens, at least one; options, number, callback: as there. [out] tokens: the new
 * ones, capacity of them; needed: how many there are, max_new_tokens at most; mean_entropy,
 * mean_mutual_information: nats per token. Errors: BNN_ERR_INVALID for a token out of range, with
 * its place; BNN_ERR_TOO_SMALL; BNN_ERR_NOT_FINITE.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_generate_tokens(bnn_generator *generator,
                                         const uint32_t *prompt,
                                         size_t n,
                                         const bnn_options *options,
                                         uint64_t number,
                                         bnn_token_callback callback,
                                         void *user_data,
                                         uint32_t *tokens,
                                         size_t capacity,
                                         size_t *needed,
                                         double *mean_entropy,
                                         double *mean_mutual_information,
                                         bnn_error *err);

/**
 * Goes on from several prompts at once: each sample's weights are read once per token for all of
 * them.
 *
 * Text i is number first + i (modulo 2^64) of the seed: the same bytes as bnn_generator_generate
 * writes from prompt i alone with that number. The generator keeps caches for as many texts as it
 * ever wrote at once.
 *
 * [in] prompts, prompt_lens: n texts, UTF-8, with their lengths in bytes, each at least one
 * character; n: 0 writes nothing; options: as bnn_generator_generate; callback: NULL or called for
 * each token, text by text for the first tokens, then for the second, and so on. [out] chars: the
 * new texts one after the other, UTF-8 without NUL, capacity bytes; needed: their bytes (4 * n *
 * max_new_tokens is always enough); offsets: n + 1 numbers, text i is bytes offsets[i] to offsets[i
 * + 1] of chars; mean_entropy, mean_mutual_information: n each, nats per token, 0 for a text
 * without one. Errors: those of bnn_generator_generate, with the prompt's index.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_generate_batch(bnn_generator *generator,
                                        const char *const *prompts,
                                        const size_t *prompt_lens,
                                        size_t n,
                                        const bnn_options *options,
                                        uint64_t first,
                                        bnn_batch_token_callback callback,
                                        void *user_data,
                                        char *chars,
                                        size_t capacity,
                                        size_t *needed,
                                        size_t *offsets,
                                        double *mean_entropy,
                                        double *mean_mutual_information,
                                        bnn_error *err);

/**
 * Begins n texts that are written token by token, after prompts of tokens; texts that were written
 * before are forgotten. Text i is number first + i (modulo 2^64) of the seed: until the caller puts
 * a token, it has the tokens that bnn_generator_generate_tokens writes for that number.
 *
 * [in] prompts, prompt_lens: n arrays of tokens with their lengths, each at least one token;
 * options: as bnn_generator_generate: max_new_tokens bounds each text. Errors: BNN_ERR_INVALID for
 * an empty prompt and for a token out of range, with its prompt and place.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_begin(bnn_generator *generator,
                               const uint32_t *const *prompts,
                               const size_t *prompt_lens,
                               size_t n,
                               const bnn_options *options,
                               uint64_t first,
                               bnn_error *err);

/**
 * Begins texts as bnn_generator_begin, after prompts of characters.
 *
 * [in] prompts, prompt_lens: n texts, UTF-8, with their lengths in bytes, each at least one
 * character. Errors: BNN_ERR_DATA or BNN_ERR_INVALID for a character that the corpus does not have.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_begin_texts(bnn_generator *generator,
                                     const char *const *prompts,
                                     const size_t *prompt_lens,
                                     size_t n,
                                     const bnn_options *options,
                                     uint64_t first,
                                     bnn_error *err);

/**
 * Writes the next token of every text that goes on.
 *
 * [out] tokens: n of them, the number of texts that were begun, BNN_NO_TOKEN for a text that has
 * ended; entropy, mutual_information, log_probs: n numbers each, of the averaged prediction at
 * temperature 1 and before top_k, nats, NaN for a text that has ended. Errors: BNN_ERR_STATE before
 * bnn_generator_begin; BNN_ERR_DONE when every text has ended; BNN_ERR_SHAPE for another n;
 * BNN_ERR_NOT_FINITE, which gives the texts up.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_advance(bnn_generator *generator,
                                 uint32_t *tokens,
                                 double *entropy,
                                 double *mutual_information,
                                 double *log_probs,
                                 size_t n,
                                 bnn_error *err);

/**
 * Gives what the average of the samples predicts for the next token of a text. It changes no text:
 * what is drawn is what would have been.
 *
 * [in] text: its index among those that were begun. [out] log_probs: v numbers, the vocabulary's
 * size, nats, at temperature 1 and before top_k; entropy, mutual_information: nats. Errors:
 * BNN_ERR_STATE before bnn_generator_begin and for a text that has ended; BNN_ERR_INVALID for
 * another index; BNN_ERR_SHAPE for another v; BNN_ERR_NOT_FINITE, which gives the texts up.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_predict(bnn_generator *generator,
                                 size_t text,
                                 double *log_probs,
                                 size_t v,
                                 double *entropy,
                                 double *mutual_information,
                                 bnn_error *err);

/**
 * Puts a token in place of the one that would be drawn: bnn_generator_advance writes it next. A
 * second call for one text before that takes the place of the first.
 *
 * [in] text: its index; token: below the vocabulary's size. Errors: those of bnn_generator_predict,
 * and BNN_ERR_INVALID for a token out of range.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_put(bnn_generator *generator,
                             size_t text,
                             uint32_t token,
                             bnn_error *err);

/**
 * Ends a text; the others go on. A text that has ended stays so. [in] text: its index. Errors:
 * BNN_ERR_STATE before bnn_generator_begin; BNN_ERR_INVALID for another index.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_stop(bnn_generator *generator,
                              size_t text,
                              bnn_error *err);

/**
 * Gives the tokens that a text has by now, without its prompt: of texts that were begun, and of
 * what the last call wrote whole, also where the caller's buffer was too small for it.
 *
 * [in] text: its index. [out] tokens: capacity of them; needed: how many there are. Errors:
 * BNN_ERR_STATE before any text; BNN_ERR_INVALID for another index; BNN_ERR_TOO_SMALL.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_tokens(bnn_generator *generator,
                                size_t text,
                                uint32_t *tokens,
                                size_t capacity,
                                size_t *needed,
                                bnn_error *err);

/**
 * Gives what bnn_generator_tokens does as characters.
 *
 * [out] chars: UTF-8 without NUL, capacity bytes; needed: its bytes. Errors: those of
 * bnn_generator_tokens, and BNN_ERR_INVALID where the model's characters are not known.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_text(bnn_generator *generator,
                              size_t text,
                              char *chars,
                              size_t capacity,
                              size_t *needed,
                              bnn_error *err);

/**
 * Writes texts from prompts that are drawn from a split, and scores them against what follows
 * there.
 *
 * [in] split: BNN_SPLIT_…; texts: how many at most, fewer where the split has not 100 starts for
 * each; prompt, length: characters of a prompt and of what is written, at least 1 each; options:
 * generation_temperature, mode, seed; NULL for defaults; callback: NULL or called for each token.
 * [out] report: texts; bleu, corpus BLEU of up to 4 characters; rouge1, rouge2, rouge_l, means over
 * the texts; all 0 to 1. Errors: BNN_ERR_DATA where the split is too short for a text; those of
 * bnn_generator_generate. The texts are a function of the samples, the split, the numbers and the
 * seed.
 *
 * Since 0.1.0.
 */
bnn_status bnn_generator_score_texts(bnn_generator *generator,
                                     int32_t split,
                                     size_t texts,
                                     size_t prompt,
                                     size_t length,
                                     const bnn_options *options,
                                     bnn_progress_callback callback,
                                     void *user_data,
                                     bnn_report *report,
                                     bnn_error *err);

/* Judgement -------------------------------------------------------------------------------------*/
/* What draws are worth: whether chains agree, and how far they moved. */

/**
 * Chooses tokens of a split, in windows of the block's length spread evenly over it.
 *
 * [in] split: BNN_SPLIT_…; tokens: at least 1; at most what the split's windows have are taken.
 * [out] probe: to be freed with bnn_probe_free. Errors: BNN_ERR_INVALID, BNN_ERR_DATA when the
 * split is shorter than a window. The tokens are a function of corpus, block and number.
 *
 * Since 0.1.0.
 */
bnn_status bnn_probe_new(const bnn_model *model,
                         const bnn_corpus *corpus,
                         int32_t split,
                         size_t tokens,
                         bnn_probe **probe,
                         bnn_error *err);

/**
 * Frees a probe; NULL is fine.
 *
 * Since 0.1.0.
 */
void bnn_probe_free(bnn_probe *probe);

/**
 * Gives how many tokens are scored. [out] n.
 *
 * Since 0.1.0.
 */
bnn_status bnn_probe_len(const bnn_probe *probe, size_t *n, bnn_error *err);

/**
 * Computes the log-probabilities of the tokens, each given those before it in its window, at
 * parameters such as bnn_sampler_get_params gives.
 *
 * [in] params: n floats, n = the model's n_params. [out] log_probs: capacity doubles, nats; needed:
 * how many there are. Errors: BNN_ERR_SHAPE, BNN_ERR_TOO_SMALL, BNN_ERR_INVALID when one is not
 * finite. Reproducible to the bit whatever the number of threads.
 *
 * Since 0.1.0.
 */
bnn_status bnn_probe_log_probs(bnn_probe *probe,
                               const float *params,
                               size_t n,
                               double *log_probs,
                               size_t capacity,
                               size_t *needed,
                               bnn_error *err);

/**
 * Says whether chains agree on many quantities at once, what their draws are worth, and one
 * judgement of it: what `bnn diagnose` says of runs (docs/diagnostics.md).
 *
 * [in] draws: (chains, n, quantities) doubles, the quantities of a draw side by side, such as
 * bnn_probe_log_probs' numbers; chains: at least 1; n: at least 4; quantities: at least 1;
 * gradients: how many all chains took, warm-up among them, at least 1; seconds: that they took, NaN
 * where unknown. [out] report: verdict, a sentence; rhat_by_chance, what one quantity in 20 exceeds
 * though all draws are independent; chains; draws; quantities; constant, how many never changed and
 * are left out of the rest; rhat.worst, .median; share_under_1_01, share_under_1_05,
 * share_under_1_1; ess_bulk.draws.worst, .median, .per_gradient.…, .per_second.…; ess_tail.…;
 * mcse_mean.worst, .median. Where every quantity is constant there are no rows after draws. Errors:
 * BNN_ERR_INVALID, also for a draw that is not finite.
 *
 * Since 0.1.0.
 */
bnn_status bnn_agreement(const bnn_context *context,
                         const double *draws,
                         size_t chains,
                         size_t n,
                         size_t quantities,
                         uint64_t gradients,
                         double seconds,
                         bnn_report *report,
                         bnn_error *err);

/**
 * Says whether chains agree on one scalar quantity, and how many independent draws they are worth
 * (Vehtari et al. 2021).
 *
 * [in] draws: (chains, n), the draws of one chain after the other, all finite; chains: at least 1;
 * n: draws of each chain, at least 4. [out] report: rhat, rank-normalised split R-hat, about 1
 * where the halves of all chains agree; NaN for a constant quantity; ess_bulk, ess_tail, effective
 * sample sizes of the middle and of the 5 % and 95 % quantiles; ess_mean, of the mean; mcse_mean,
 * Monte Carlo standard error of the mean; mean, sd, q05, q50, q95: mean, standard deviation and
 * quantiles of all draws; the last six in the quantity's unit. Errors: BNN_ERR_INVALID for too few
 * chains or draws, and for a draw that is not finite.
 *
 * Since 0.1.0.
 */
bnn_status bnn_chain_diagnostics(const double *draws,
                                 size_t chains,
                                 size_t n,
                                 bnn_report *report,
                                 bnn_error *err);

/**
 * Says how far the samples of a chain lie from its start, and whether they are worth more than
 * about one.
 *
 * [in] samples: how many there are; start, first, last: n parameters each, of the start and of the
 * first and the last sample; n: at least 1. [out] report: rms_move, root mean square per parameter
 * of the last sample's displacement; relative_move, its norm over the start's; cosine_first_last,
 * between the first and the last sample's displacement, NaN for a single sample; worth_about_one, 1
 * where the samples lie on one ray (a cosine above 0.99) or have not moved at all; reach, what the
 * displacement says of the force, a word; verdict, a sentence; samples; free.rms, free.cosine,
 * over_free and prior_sd, which are NaN here: bnn_sampler_free_diffusion has what rms_move is to be
 * compared with. Errors: BNN_ERR_SHAPE for n = 0.
 *
 * Since 0.1.0.
 */
bnn_status bnn_movement(size_t samples,
                        const float *start,
                        const float *first,
                        const float *last,
                        size_t n,
                        bnn_report *report,
                        bnn_error *err);

/**
 * Says how far the stored samples of a chain lie from its start, in the rows of bnn_movement.
 *
 * [in] chain: which; start: n parameters, n = the model's n_params. Errors: BNN_ERR_SHAPE; those of
 * bnn_store_get for a sample that cannot be read.
 *
 * Since 0.1.0.
 */
bnn_status bnn_store_movement(const bnn_store *store,
                              uint32_t chain,
                              const float *start,
                              size_t n,
                              bnn_report *report,
                              bnn_error *err);

/**
 * Says whether a chain's temperatures are the target's: of all its parameters or of some.
 *
 * [in] series: a temperature per sampling step, as bnn_sampler_report gives them, n of them, at
 * least 20; temperature: what their mean is in equilibrium: the target's, and for momenta
 * kinetic.expected of bnn_sampler_temperature; parameters: how many they are of, at least 1. [out]
 * report: mean; std_error, from 20 batches; expected, the temperature that was given;
 * equilibrium_sd, the standard deviation of one step's value in equilibrium; off, 1 where the mean
 * is further from it than five standard errors and 5 %, 0 at temperature 0. Errors:
 * BNN_ERR_INVALID.
 *
 * Since 0.1.0.
 */
bnn_status bnn_temperature_band(const double *series,
                                size_t n,
                                double temperature,
                                size_t parameters,
                                bnn_report *report,
                                bnn_error *err);

/**
 * Reports the energies of a chain while it sampled, over its temperature, from what
 * bnn_sampler_report gave after each sampling step.
 *
 * [in] log_post: n numbers, at least 40; kinetic: n temperatures, or NULL for a method without
 * momenta; n_params: d; temperature: T, above 0 and the same all the while. [out] report: for each
 * a .mean and a .std_error, from 20 batches: potential, -log_post / T; kinetic, d/2 times the
 * temperature over T: d/2 in equilibrium, NaN without; total, their sum; drift, the second half's
 * mean minus the first's: 0 in equilibrium. Errors: BNN_ERR_INVALID for too few steps and numbers
 * out of range.
 *
 * Since 0.1.0.
 */
bnn_status bnn_energy(const double *log_post,
                      const double *kinetic,
                      size_t n,
                      size_t n_params,
                      double temperature,
                      bnn_report *report,
                      bnn_error *err);

/**
 * Says in two or three sentences what samples are, what their average gains, and what to try next:
 * what a run's summary begins with.
 *
 * [in] names, name_lens, values: n facts, each a name with its number; what is not known is left
 * out. temperature; chains; samples; sampling_steps; auto_step, 1 where the warm-up has looked for
 * the step; recorded, 1 where probes were recorded; fit, 1 for draws from a fitted normal; rhat and
 * ess, the worst that was recorded (rhat.worst, and the smaller of ess_bulk.draws.worst and
 * ess_tail.draws.worst of bnn_agreement); kinetic and configurational, mean temperatures over the
 * expected ones, kinetic_off and configurational_off, 0 or 1 (bnn_temperature_band); over_free,
 * rms_move of bnn_movement over rms of bnn_sampler_free_diffusion; one_ray, 1 where all samples lie
 * on one ray; mutual_information, nats per token; single.loss, single.models, single.difference and
 * single.std_error, of the best single model (the average's loss minus its); control.loss, .models,
 * .difference, .std_error, of the best control of equal cost. sampler, single, control: what these
 * are called; a length of 0 is a name of the library's. [out] report: text, the sentences; next,
 * what to try; passes, 1 where every check is known and passes; check.*, of each check 1 or 0, NaN
 * where it is not known, with the numbers as its meaning. Errors: BNN_ERR_INVALID for an unknown
 * name and a number that is not finite.
 *
 * Since 0.1.0.
 */
bnn_status bnn_verdict(const char *const *names,
                       const size_t *name_lens,
                       const double *values,
                       size_t n,
                       const char *sampler,
                       size_t sampler_len,
                       const char *single,
                       size_t single_len,
                       const char *control,
                       size_t control_len,
                       bnn_report *report,
                       bnn_error *err);

/**
 * Reports extreme curvatures per mass at a chain's parameters: eigenvalues of M^-1/2 H M^-1/2, H
 * the Hessian of minus the log posterior, by Lanczos' recurrence on gradients. The chain goes on as
 * if nothing had been asked.
 *
 * Of few data the largest is above that of all data; it is what a step of the chain on such batches
 * feels, and a scale for the step, no proof.
 *
 * [in] products: with H, at least 1, two gradients a batch each: some 10 are usual; batches: 1 to
 * 1024, those of the chain's next steps, whose mean is taken; callback: NULL or called now and
 * then. [out] report: largest, smallest: the ends that were found (smallest is below 0 where the
 * log posterior is not concave); residual: how far the largest is off an eigenvalue at most;
 * products: taken, fewer when the space was exhausted; step_limit: the largest stable step size in
 * that direction (on a quadratic), for the friction that the chain has now (a thermostat's is its
 * xi, and while that is below 0, no step is stable: 0); infinite where nothing limits it. Without a
 * mass (preconditioner none, or while it is estimated) M is 1; of a mass that follows the chain
 * (live) it is the last step's. Takes room for five vectors of parameters. Errors: BNN_ERR_INVALID
 * for normals, on gradients of the caller's, numbers out of range, and when a curvature is not
 * finite; BNN_ERR_INTERRUPTED.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_curvature(bnn_sampler *sampler,
                                 uint64_t products,
                                 size_t batches,
                                 bnn_progress_callback callback,
                                 void *user_data,
                                 bnn_report *report,
                                 bnn_error *err);

/**
 * Reports extreme curvatures as bnn_sampler_curvature, with gradients of the caller's.
 *
 * [in] products: at least 1, two calls each; gradient: of the log posterior. [out] report: as
 * there. Errors: BNN_ERR_INVALID for normals, 0 products, and when a gradient or a curvature is not
 * finite; BNN_ERR_INTERRUPTED when the callback stopped it; BNN_ERR_NULL without one.
 *
 * Since 0.1.0.
 */
bnn_status bnn_sampler_curvature_with_gradients(bnn_sampler *sampler,
                                                uint64_t products,
                                                bnn_gradient_callback gradient,
                                                void *user_data,
                                                bnn_report *report,
                                                bnn_error *err);

/* Metrics ---------------------------------------------------------------------------------------*/
/* Of texts and predictions of any model. */

/** n-grams of characters, white space too. */
#define BNN_UNIT_CHAR 0

/** n-grams of what stands between white space. */
#define BNN_UNIT_WORD 1

/**
 * Computes corpus BLEU: unsmoothed, brevity penalty, one reference per text.
 *
 * [in] references, predictions: n texts, UTF-8, with their lengths in bytes; unit: BNN_UNIT_…;
 * max_order: 1 to 4. [out] score: 0 to 1. Errors: BNN_ERR_INVALID for the unit or the order,
 * BNN_ERR_SHAPE for no texts.
 *
 * Since 0.1.0.
 */
bnn_status bnn_bleu(const char *const *references,
                    const size_t *reference_lens,
                    const char *const *predictions,
                    const size_t *prediction_lens,
                    size_t n,
                    int32_t unit,
                    size_t max_order,
                    double *score,
                    bnn_error *err);

/**
 * Computes the mean ROUGE-1, ROUGE-2 and ROUGE-L F-measures, of texts given as to bnn_bleu. [out]
 * report: rouge1, rouge2, rouge_l, 0 to 1.
 *
 * The time grows with the product of the lengths of a text and its reference, counted in units;
 * above 10^10, two texts of 100,000 characters, it is refused. Errors: BNN_ERR_INVALID, for that
 * too; BNN_ERR_SHAPE for no texts.
 *
 * Since 0.1.0.
 */
bnn_status bnn_rouge(const char *const *references,
                     const size_t *reference_lens,
                     const char *const *predictions,
                     const size_t *prediction_lens,
                     size_t n,
                     int32_t unit,
                     bnn_report *report,
                     bnn_error *err);

/**
 * Computes the mean Brier score of predictions: the squared distance between the probabilities and
 * the outcome.
 *
 * [in] probabilities: (n, v), those of one prediction after the other; outcomes: n, each below v;
 * n, v: at least 1. [out] score: 0 to 2, 0 the best. Errors: BNN_ERR_INVALID for an outcome or a
 * probability that is not 0 to 1, with its place; BNN_ERR_SHAPE for no predictions.
 *
 * Since 0.1.0.
 */
bnn_status bnn_brier_score(const double *probabilities,
                           const uint32_t *outcomes,
                           size_t n,
                           size_t v,
                           double *score,
                           bnn_error *err);

/**
 * Computes the expected calibration error: the gap between mean confidence and accuracy, averaged
 * over bins of equal width.
 *
 * [in] confidence: n, each prediction's highest probability, above 0 and at most 1; correct: n,
 * nonzero where that outcome came; bins: at least 1. [out] ece: 0 to 1. Errors: BNN_ERR_INVALID for
 * a confidence and no bins, BNN_ERR_NO_MEMORY for more bins than memory holds, BNN_ERR_SHAPE for no
 * predictions.
 *
 * Since 0.1.0.
 */
bnn_status bnn_calibration_error(const double *confidence,
                                 const int32_t *correct,
                                 size_t n,
                                 size_t bins,
                                 double *ece,
                                 bnn_error *err);

/**
 * Compares two series of losses of the same tokens in the order of the text, by a circular block
 * bootstrap of their difference a - b.
 *
 * [in] a, b: n losses each, finite; block: tokens that are drawn together, 1 to n / 2, longer than
 * the context that neighbours share (256 is usual); resamples: at least 2, of 8 bytes each. [out]
 * report: mean, of a - b, below 0 where a loses less; std_error, its standard error; z, mean /
 * std_error, 0 where the mean is 0; low, high, the ends of the 95 % interval. Errors:
 * BNN_ERR_INVALID; BNN_ERR_NO_MEMORY for more resamples than memory holds. The result is a function
 * of the losses and the seed.
 *
 * Since 0.1.0.
 */
bnn_status bnn_paired_bootstrap(const double *a,
                                const double *b,
                                size_t n,
                                size_t block,
                                size_t resamples,
                                uint64_t seed,
                                bnn_report *report,
                                bnn_error *err);

#ifdef __cplusplus
}
#endif

#endif /* BNN_H */
