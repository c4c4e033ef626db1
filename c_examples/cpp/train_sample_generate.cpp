/* The main job from C++, line for line what train_sample_generate.c does and prints.
 *
 *   c++ -std=c++17 -I include c_examples/cpp/train_sample_generate.cpp -L target/release -lbnn -o train_sample_generate_cpp
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./train_sample_generate_cpp [iters] [sampling_steps] [FILE]
 */
#include "bnn.hpp"

#include <cstdio>
#include <cstdlib>

static void run(int argc, char **argv) {
  const std::uint64_t iters = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300;
  const std::uint64_t steps = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 200;
  bnn::check_abi();
  std::printf("bnn %s\n", bnn::version().c_str());
  const bnn::context context;
  const bnn::corpus corpus = argc > 3 ? bnn::corpus::from_file(argv[3]) : bnn::corpus::embedded();
  bnn::options options;
  options.set("shape", "tiny").set("seed", 7).set("sampler", "baoa");
  options.set("baseline_iters", iters).set("baseline_warmup_iters", iters / 10).set("baseline_learning_rate", 3e-3);
  options.set("sampling_steps", steps).set("thinning", steps / 10 ? steps / 10 : 1);
  options.set("warmup_steps", steps / 4).set("preconditioner_steps", steps / 4 + 1);
  const auto [vocab_size, n_train, n_val] = corpus.sizes();
  const bnn::model model(context, options, vocab_size);
  std::printf("%zu training tokens, %zu characters, %zu parameters\n", n_train, vocab_size, model.n_params());
  (void)n_val;

  // The baseline.
  bnn::trainer trainer(model, corpus, options);
  for (std::uint64_t i = 0; i < iters; ++i) trainer.step();
  trainer.finish();
  std::printf("baseline             %.4f nats a token\n", model.loss(corpus, BNN_SPLIT_VAL));

  // The chain: one batch a step, a copy of the parameters whenever a sample is due.
  bnn::ensemble ensemble(model);
  bnn::sampler sampler(model, corpus, options);
  for (bool done = false; !done;) {
    const auto made = sampler.step();
    if (made.sample_due) ensemble.add(sampler.params());
    done = made.done();
  }
  const bnn::report scores = ensemble.evaluate(corpus, BNN_SPLIT_VAL);
  std::printf("mean of the samples  %.4f\naveraged prediction  %.4f\n", scores["loss_mean"], scores["loss"]);
  std::printf("entropy %.4f, of it the samples disagree about %.4f; calibration error %.4f, Brier %.4f, accuracy %.4f\n", scores["entropy.mean"],
              scores["mutual_information.mean"], scores["ece"], scores["brier"], scores["accuracy"]);

  // Text, with a count of the tokens whose samples disagree by more than a tenth of a nat.
  int uncertain = 0;
  options.set("max_new_tokens", 200).set("generation_temperature", 0.7);
  bnn::generator generator(ensemble, corpus);
  const auto written = generator.generate("The ", options, 0, [&](std::uint32_t, double, double mutual_information, double) {
    if (mutual_information > 0.1) ++uncertain;
    return true;
  });
  std::printf("--- text ---\nThe %s\n--- entropy %.4f, mutual information %.4f, %d uncertain tokens ---\n", written.text.c_str(), written.mean_entropy,
              written.mean_mutual_information, uncertain);
}

int main(int argc, char **argv) {
  try {
    run(argc, argv);
  } catch (const bnn::error &e) {
    std::fprintf(stderr, "%s (%s)\n", e.what(), e.name());
    return 1;
  }
  return 0;
}
