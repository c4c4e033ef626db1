/* bnn.hpp: each class against bnn.h itself, to the bit; what callbacks throw; moves; lengths that C does not see. Argument: a folder. */
#include "bnn.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>

static int failures = 0;
#define HOLDS(what)                                        \
  do {                                                     \
    if (!(what)) {                                         \
      std::printf("line %d: not %s\n", __LINE__, #what);   \
      ++failures;                                          \
    }                                                      \
  } while (0)

/// The status that is thrown, BNN_OK for none.
template <class F> static bnn_status thrown(F f) {
  try {
    f();
  } catch (const bnn::error &e) {
    HOLDS(std::strlen(e.what()) > 0);
    return e.status();
  }
  return BNN_OK;
}

struct stop {
  int at;
};
/// What the callback threw itself, -1 for nothing.
template <class F> static int stopped(F f) {
  try {
    f();
  } catch (const stop &s) {
    return s.at;
  }
  return -1;
}

static bnn::corpus letters() {
  std::string text;
  for (int i = 0; i < 1200; ++i) text += "abcdefgh"[(i * i / 3 + i) % 8];
  return bnn::corpus::from_text(text);
}

static bnn::options small() {
  bnn::options o;
  o.set("shape", "tiny").set("n_layer", 1).set("n_head", 1).set("n_embd", 8).set("block_size", 8).set("batch_size", 2u).set("seed", 5);
  o.set("warmup_steps", 2).set("sampling_steps", 60).set("thinning", 20).set("preconditioner_steps", 2).set("max_new_tokens", 12);
  return o;
}

static void names_and_options() {
  bnn::check_abi();
  HOLDS(bnn::version() == bnn_version_string() && bnn::version_number() == bnn_version_number());
  bnn::options o;
  // A signed 1 serves an option that takes a double; a bool, one that is a switch.
  o.set("temperature", 1).set("bias", true).set("sampler", "sgld").set("step_size", 0.25).set_text("thinning", "3");
  HOLDS(o.f64("temperature") == 1 && o.u64("bias") == 1 && o.str("sampler") == "sgld" && o.f64("step_size") == 0.25 && o.u64("thinning") == 3);
  bnn::options copy = o;
  copy.unset("thinning").set("sampler", std::string("baoa"));
  HOLDS(o.u64("thinning") == 3 && copy.u64("thinning") != 3 && copy.str("sampler") == "baoa");
  HOLDS(thrown([&] { o.set("stepsize", 1.0); }) == BNN_ERR_INVALID);
  HOLDS(thrown([&] { o.set("thinning", -1); }) == BNN_ERR_INVALID);
  try {
    o.set("stepsize", 1.0);
  } catch (const bnn::error &e) {
    HOLDS(std::strstr(e.what(), "step_size") && std::strcmp(e.name(), "BNN_ERR_INVALID") == 0);
  }
  HOLDS(bnn::options::count() == bnn_options_count() && bnn::options::describe(0, "name").size() > 0);
  // Longer than the first try's buffer.
  std::size_t longest = 0;
  for (std::size_t i = 0; i < bnn::options::count(); ++i) longest = std::max(longest, bnn::options::describe(i, "help").size());
  HOLDS(longest > 64);
  HOLDS(bnn::options().set("num_epochs", 3).unread("generator").size() == 1);
}

static void reports(const bnn::context &context, const bnn::model &model) {
  const bnn::report r = model.info();
  HOLDS(r["n_params"] == double(model.n_params()) && r.u64("block_size") == 8);
  HOLDS(r.rows().size() == r.size() && r.rows()[0].first == r.name(0));
  HOLDS(std::get<std::uint64_t>(r.at("n_params")) == model.n_params() && std::get<std::string>(r.at("precision")) == r.str("precision"));
  HOLDS(r.describe("n_params").first == BNN_TYPE_U64 && r.describe("n_params").second.size() > 0);
  HOLDS(thrown([&] { r["n_param"]; }) == BNN_ERR_INVALID);
  HOLDS(context.info().str("version") == bnn::version() && context.threads() == 1);
}

static void corpora(const bnn::corpus &corpus) {
  HOLDS(corpus.sizes().vocab_size == 8 && corpus.sizes().n_train == 1080 && corpus.vocabulary() == "abcdefgh");
  const auto ids = corpus.tokens(BNN_SPLIT_VAL);
  HOLDS(ids.size() == corpus.sizes().n_val && corpus.encode(corpus.decode(ids)) == ids);
  const std::vector<std::uint32_t> train = {0, 1, 2, 1}, val = {2, 0};
  const auto own = bnn::corpus::from_tokens(train, val, 3);
  HOLDS(own.tokens(BNN_SPLIT_TRAIN) == train && own.sizes().n_val == 2 && own.vocabulary().empty());
  HOLDS(thrown([] { bnn::corpus::from_file("there/is/none"); }) == BNN_ERR_IO);
  HOLDS(thrown([] { bnn::corpus::from_nanogpt("there/is/none"); }) != BNN_OK);
}

static void models(const bnn::context &context, const bnn::corpus &corpus, const std::string &folder) {
  bnn::model model(context, small(), 8);
  const auto first = model.tensor(0);
  HOLDS(first.name == "transformer.wte.weight" && first.dims == 2 && first.rows == 8 && first.columns == 8 && first.offset == 0 && first.len == 64);
  HOLDS(model.find_tensor(first.name) == 0 && model.tensor(model.find_tensor("transformer.wpe.weight")).offset == 64);
  bnn::model copy = model.copy();
  auto params = model.params();
  for (float &p : params) p *= 0.5f;
  copy.set_params(params);
  HOLDS(copy.params() == params && model.params() != params);
  HOLDS(thrown([&] { copy.set_params(bnn::floats(params.data(), 3)); }) == BNN_ERR_SHAPE);
  HOLDS(model.untie().n_params() == model.n_params() + 64);
  HOLDS(model.untie().loss(corpus, BNN_SPLIT_VAL) == model.loss(corpus, BNN_SPLIT_VAL));
  const std::string file = folder + "/cpp_model.bnn", tensors = folder + "/cpp_model.safetensors";
  copy.save(file, corpus, 3);
  HOLDS(bnn::model::load(context, file).params() == params);
  copy.save_safetensors(tensors);
  model.read_safetensors(tensors);
  HOLDS(model.params() == params);
  // What a callback throws comes out, and the training that it ended goes on.
  const bnn::options o = small().set("baseline_iters", 4);
  const auto ended = [](std::uint64_t step, double) -> bool { throw stop{int(step)}; };
  HOLDS(stopped([&] { model.train_once(corpus, o, folder + "/kept", ended); }) == 1);
  HOLDS(thrown([&] { model.train_once(corpus, o, folder + "/kept", [](std::uint64_t, double) { return false; }); }) == BNN_ERR_INTERRUPTED);
  HOLDS(model.params() == params);
  HOLDS(model.train_once(corpus, o, folder + "/kept").u64("steps") == 4 && model.params() != params);
}

static void trainings(const bnn::model &model, const bnn::corpus &corpus, const std::string &folder) {
  const bnn::options o = small().set("baseline_iters", 4);
  const std::string file = folder + "/cpp_trainer.bnn";
  bnn::model own = model.copy();
  bnn::trainer trainer(own, corpus, o);
  trainer.step();
  trainer.save(file);
  bnn::trainer again = bnn::trainer::load(own, corpus, o, file);
  HOLDS(again.step() == trainer.step() && again.params() == trainer.params());
  HOLDS(trainer.keep_best(2.0) && !trainer.keep_best(3.0) && trainer.best() == trainer.params());
  const auto ids = corpus.tokens(BNN_SPLIT_TRAIN);
  const bnn::tokens x(ids.data(), 16), y(ids.data() + 1, 16);
  HOLDS(std::isfinite(trainer.step_tokens(x, y)) && trainer.report().u64("steps") == 3);
  HOLDS(thrown([&] { trainer.step_tokens(x, bnn::tokens(ids.data(), 15)); }) == BNN_ERR_SHAPE);
  trainer.finish();
  HOLDS(own.params() == trainer.params() && own.params() != model.params());
}

/// Against bnn.h's own numbers.
static void evaluators(const bnn::model &model, const bnn::corpus &corpus) {
  const auto ids = corpus.tokens(BNN_SPLIT_TRAIN);
  const std::size_t n = model.n_params();
  const bnn::batch z = {{ids.data(), 12}, {ids.data() + 1, 12}, 2, 6};
  bnn::evaluator evaluator(model);
  bnn_error err;
  double mean = 0, total = 0;
  std::vector<float> want(n), grad(n), squares(n), sums(n), logits(12 * 8);
  HOLDS(bnn_evaluator_gradient(evaluator.get(), nullptr, 0, z.x.data(), z.y.data(), 2, 6, 1, &mean, &total, want.data(), &err) == BNN_OK);
  const auto loss = evaluator.gradient(z, grad, {}, true);
  HOLDS(loss.mean == mean && loss.total == total && grad == want);
  const auto at = model.params();
  HOLDS(evaluator.gradient(z, grad).mean == evaluator.loss(z, at).mean && grad != want);
  HOLDS(bnn_evaluator_squares(evaluator.get(), at.data(), n, z.x.data(), z.y.data(), 2, 6, 0, &mean, &total, want.data(), sums.data(), &err) == BNN_OK);
  HOLDS(evaluator.squares(z, grad, squares, at).mean == mean && want == grad && squares == sums && squares[0] > 0);
  const auto log_probs = evaluator.log_probs(z);
  double sum = 0;
  for (double p : log_probs) sum -= p;
  HOLDS(log_probs.size() == 12 && std::fabs(sum - evaluator.loss(z).total) < 1e-4);
  evaluator.logits(z.x, 2, 6, logits);
  double normaliser = 0;
  for (std::size_t v = 0; v < 8; ++v) normaliser += std::exp(double(logits[v]));
  HOLDS(std::fabs(logits[z.y[0]] - std::log(normaliser) - log_probs[0]) < 1e-5);
  // Lengths that C cannot see.
  HOLDS(thrown([&] { evaluator.gradient(z, bnn::span<float>(grad.data(), n - 1)); }) == BNN_ERR_SHAPE);
  HOLDS(thrown([&] { evaluator.loss({z.x, z.y, 3, 6}); }) == BNN_ERR_SHAPE);
  HOLDS(thrown([&] { evaluator.logits(z.x, 2, 7, logits); }) == BNN_ERR_SHAPE);
}

static void chains(const bnn::model &model, const bnn::corpus &corpus, const std::string &folder) {
  const bnn::options o = small().set("temperature_every", 1);
  const std::string file = folder + "/cpp_chain.bnn";
  bnn::sampler a(model, corpus, o), b(model, corpus, o);
  bnn::store store(model, corpus, o, folder + "/cpp_samples");
  bnn::probe probe(model, corpus, BNN_SPLIT_VAL, 16);
  std::vector<float> grad(model.n_params());
  bnn::evaluator evaluator(model);
  HOLDS(a.forecast()["physical_time"] > 0);
  std::uint64_t steps = 0;
  for (bool done = false; !done; ++steps) {
    // The same step three ways: the corpus's batch, the batch by hand, and its gradient by hand.
    const auto z = b.batch(steps);
    const auto made = a.step();
    const auto params = b.params();
    if (steps < 2 || steps % 2) b.step_tokens(z.x, z.y);
    else b.step_loss_gradient(grad, evaluator.gradient(z, grad, params).mean);
    HOLDS(a.params() == b.params());
    if (steps == 30) {
      a.save(file);
      bnn::sampler moved = std::move(a);
      HOLDS(a.get() == nullptr && thrown([&] { a.step(); }) == BNN_ERR_NULL);
      HOLDS(moved.params() == b.params());
      a = bnn::sampler::load(model, corpus, o, file);
    }
    if (made.sample_due) store.append(0, a.report().u64("step") + 1, a.params());
    done = made.done();
  }
  HOLDS(steps == 64 || steps == 62);
  HOLDS(thrown([&] { a.step(); }) == BNN_ERR_DONE && a.missing(store).u64("missing") == 0);
  // In one call, which is ended and goes on from its file.
  const std::string run = folder + "/cpp_run.bnn";
  bnn::store driven(model, corpus, o, folder + "/cpp_driven");
  bnn::sampler c(model, corpus, o);
  const auto until_33 = [](std::uint64_t done, std::uint64_t total) { return total >= 62 && done < 33; };
  HOLDS(thrown([&] { c.run(&driven, run, 10, until_33); }) == BNN_ERR_INTERRUPTED);
  bnn::sampler gone_on = bnn::sampler::load(model, corpus, o, run);
  HOLDS(gone_on.run(&driven, run, 10) == 2 && gone_on.run(&driven, run) == 0 && driven.size() == store.size());
  for (std::size_t i = 0; i < store.size(); ++i) HOLDS(driven.at(i).params == store.at(i).params && driven.at(i).step == store.at(i).step);
  HOLDS(gone_on.params() == b.params() && bnn::check_checkpoint(run, false).u64("whole") == 1);
  HOLDS(bnn::check_checkpoint(folder + "/cpp_run.previous.bnn", false).u64("steps") == 60);
  bnn::sampler alone(model, corpus, o);
  HOLDS(alone.run(nullptr, folder + "/cpp_alone.bnn") == 3 && alone.params() == b.params());
  HOLDS(a.momenta().size() == a.mass().size() && a.mass()[0] > 0 && a.step_size()["step_size"] > 0);
  HOLDS(a.temperature(0).u64("count") == 60 && a.energy()["kinetic.mean"] > 0 && a.curvature(2, std::size_t(1))["largest"] > 0);
  HOLDS(a.free_diffusion(20, 60)["rms"] > 0);
  HOLDS(thrown([&] { a.llc(); }) == BNN_ERR_INVALID && thrown([&] { a.prior_fit(); }) == BNN_ERR_INVALID);
  HOLDS(thrown([&] { a.normals(); }) == BNN_ERR_INVALID && thrown([&] { a.draw(0); }) == BNN_ERR_INVALID);
  a.extend(80);
  HOLDS(!a.step().done());

  const auto sample = store.at(1);
  HOLDS(store.size() == 3 && sample.chain == 0 && sample.params.size() == model.n_params() && store.spread(2).size() == 2);
  store.verify();
  HOLDS(store.movement(0, model.params()).u64("samples") == 3);
  HOLDS(store.score(model, corpus, BNN_SPLIT_VAL, 0, 1).u64("samples") == 3);
  bnn::ensemble ensemble(model);
  for (std::size_t i = 0; i < store.size(); ++i) ensemble.add(store.at(i).params);
  HOLDS(ensemble.size() == 3 && ensemble.evaluate(corpus, BNN_SPLIT_VAL)["loss"] == store.score(model, corpus, BNN_SPLIT_VAL)["loss"]);
  HOLDS(ensemble.evaluate(corpus, BNN_SPLIT_VAL).f64s("loss_of_each").size() == 3);
  std::uint64_t told = 0, of = 0;
  HOLDS(ensemble.evaluate(corpus, BNN_SPLIT_VAL, [&](std::uint64_t done, std::uint64_t total) { return told = done, of = total, true; })["samples"] == 3);
  HOLDS(told > 0 && told == of);
  HOLDS(thrown([&] { store.score(model, corpus, BNN_SPLIT_VAL, 0, 0, [](std::uint64_t, std::uint64_t) { return false; }); }) == BNN_ERR_INTERRUPTED);
  bnn::ensemble streamed(model);
  HOLDS(streamed.add_stored(folder + "/cpp_samples") == 3 && streamed.evaluate(corpus, BNN_SPLIT_VAL)["loss"] == ensemble.evaluate(corpus, BNN_SPLIT_VAL)["loss"]);
  const auto ids = corpus.tokens(BNN_SPLIT_VAL);
  const auto scores = ensemble.score(ids);
  HOLDS(scores.log_probs.size() == ids.size() - 1 && scores.entropy[0] > 0 && scores.mutual_information[0] > -1e-6);
  HOLDS(probe.size() == 16 && probe.log_probs(sample.params).size() == 16 && probe.log_probs(sample.params)[0] < 0);
  HOLDS(bnn::check_samples(folder + "/cpp_samples", false).u64("samples") == 3 && bnn::check_checkpoint(file, false).u64("whole") == 1);
  HOLDS(bnn::store::open(model, corpus, folder + "/cpp_samples").size() == 3 && store.keep_last(2) == 1 && store.keep_every(2) == 1);
}

/// A normal of mean 3: its schedule, its curvature, fits of it.
static void own(const bnn::context &context) {
  bnn::options o;
  o.set("sampler", "baoa").set("step_size", 0.5).set("alpha", 1).set("warmup_steps", 0).set("sampling_steps", 50).set("thinning", 1);
  const float start[2] = {0, 1};
  const auto gradient = [](bnn::floats at, bnn::span<float> grad) {
    for (std::size_t i = 0; i < at.size(); ++i) grad[i] = -2 * (at[i] - 3);
  };
  bnn::sampler one(context, o, start), two(context, o, start);
  HOLDS(std::fabs(one.curvature(2, gradient)["largest"] - 2) < 1e-3);
  HOLDS(stopped([&] { one.curvature(2, [](bnn::floats, bnn::span<float>) { throw stop{7}; }); }) == 7);
  int asked = 0;
  one.set_schedule([&](std::uint64_t step, double &size, double &) {
    if (step == 3 && asked < 4) throw stop{asked = 4};
    size = 0.5;
    return true;
  });
  bnn::sampler moved = std::move(one); // the schedule goes with it
  float theta[2] = {0, 1}, grad[2];
  double wide[2] = {0, 1}, wide_grad[2];
  two.set_schedule([](std::uint64_t, double &size, double &) { return size = 0.5, true; });
  for (int step = 0; step < 10; ++step) {
    gradient(theta, grad);
    for (int i = 0; i < 2; ++i) wide_grad[i] = -2 * (wide[i] - 3);
    const auto make = [&] { return moved.step_gradient(grad, 0.0, theta); };
    if (step == 3) HOLDS(stopped(make) == 4);
    HOLDS(!make().done());
    two.step_gradient(bnn::doubles(wide_grad), 0.0, bnn::span<double>(wide));
    HOLDS(float(wide[0]) == theta[0] && float(wide[1]) == theta[1]);
  }
  HOLDS(asked == 4 && moved.report().u64("step") == 9);
  two.set_schedule([](std::uint64_t, double &, double &) { return false; });
  HOLDS(thrown([&] { two.step_gradient(grad, 0.0, theta); }) == BNN_ERR_INTERRUPTED);
  two.set_schedule(nullptr);
  two.step_gradient(grad, 0.0, theta);
  HOLDS(thrown([&] { two.step_gradient(grad, 0.0, bnn::span<float>(theta, 1)); }) == BNN_ERR_SHAPE);

  bnn::sampler watched(context, o, start);
  const std::vector<std::size_t> offsets = {0, 1}, lens = {1, 1};
  const float mass[2] = {4, 1}, noise[2] = {0, 0};
  watched.watch(1, offsets, lens), watched.set_mass(mass), watched.set_gradient_noise(noise);
  watched.step_gradient(grad, 0.0, theta);
  HOLDS(watched.mass()[0] == 4 && watched.temperature(1).u64("count") == 1 && watched.gradient_noise()["noise_per_mass"] == 0);

  bnn::sampler dense(context, o, start);
  const std::vector<double> factor = {2, 0, 0.5, 1};
  dense.set_mass_cholesky(factor);
  HOLDS(dense.mass_cholesky() == factor && thrown([&] { dense.set_mass_cholesky(bnn::doubles(factor.data(), 3)); }) == BNN_ERR_SHAPE);
  bnn::sampler fit(context, bnn::options().set("sampler", "laplace").set("sampling_steps", 1).set("num_data", 10).set("laplace_fit_prior", true), start);
  const float g[2] = {0, 0}, q[2] = {2, 3};
  HOLDS(fit.step_squares(g, q, -1.0, theta).done() && fit.normals().mean == std::vector<float>(start, start + 2));
  HOLDS(fit.normals().sd[0] > fit.normals().sd[1] && fit.draw(0).size() == 2 && fit.draw(0) == fit.draw(0));
}

static void texts(const bnn::context &context, const bnn::corpus &corpus) {
  const bnn::options o = small();
  const bnn::model model(context, o, 8);
  bnn::ensemble ensemble(model);
  ensemble.add(model.params());
  bnn::generator generator(ensemble, corpus, o);
  const auto alone = generator.generate("abc", o, 4);
  int came = 0;
  const auto ended = generator.generate("abc", o, 4, [&](std::uint32_t, double, double, double) { return ++came < 5; });
  HOLDS(alone.text.size() == 12 && ended.text == alone.text.substr(0, 5) && alone.mean_entropy > 0);
  HOLDS(stopped([&] { generator.generate("abc", o, 4, [](std::uint32_t, double, double, double) -> bool { throw stop{2}; }); }) == 2);
  const auto ids = generator.generate_tokens(corpus.encode("abc"), o, 4);
  HOLDS(corpus.decode(ids.text) == alone.text && ids.mean_mutual_information == alone.mean_mutual_information);
  const std::vector<std::string_view> prompts = {"bcd", "abc"};
  const auto both = generator.generate_batch(prompts, o, 3);
  HOLDS(both.size() == 2 && both[1].text == alone.text && both[1].mean_entropy == alone.mean_entropy && both[0].text.size() == 12);
  const auto second = [](std::size_t prompt, std::uint32_t, double, double, double) -> bool {
    if (prompt == 1) throw stop{1};
    return true;
  };
  HOLDS(stopped([&] { generator.generate_batch(prompts, o, 3, second); }) == 1);
  HOLDS(generator.score_texts(BNN_SPLIT_VAL, 1, 4, 8, o)["bleu"] >= 0);
  HOLDS(stopped([&] { generator.score_texts(BNN_SPLIT_VAL, 1, 4, 8, o, [](std::uint64_t, std::uint64_t) -> bool { throw stop{3}; }); }) == 3);
  /* Pulled: what is written whole, and a token of ours. */
  const std::vector<std::string_view> pulled = {"abc", "c"};
  generator.begin(pulled, o, 4);
  const std::size_t v = corpus.sizes().vocab_size;
  HOLDS(generator.predict(1, v).log_probs.size() == v);
  generator.stop(1);
  while (!generator.advance().empty()) {
  }
  HOLDS(generator.text_of(0) == alone.text && generator.text_of(1).empty() && generator.tokens_of(0) == ids.text);
  const std::vector<std::vector<std::uint32_t>> prompts_of_tokens = {corpus.encode("abc")};
  generator.begin(prompts_of_tokens, o, 4);
  const auto seen = generator.predict(0, v);
  generator.put(0, 1);
  const auto came_next = generator.advance();
  HOLDS(came_next.size() == 1 && came_next[0].token == 1 && came_next[0].log_prob == seen.log_probs[1] && came_next[0].entropy == seen.entropy);
  // The numbers of a score against itself, and the metrics that need no model.
  HOLDS(bnn::bleu(prompts, prompts, BNN_UNIT_CHAR, 2) == 1 && bnn::rouge(prompts, prompts, BNN_UNIT_CHAR)["rouge1"] == 1);
  const std::vector<double> sure = {1, 0, 0, 1};
  const std::vector<std::uint32_t> outcomes = {0, 1};
  const std::vector<std::int32_t> correct = {1, 1};
  HOLDS(bnn::brier_score(sure, outcomes, 2) == 0 && bnn::calibration_error(std::vector<double>{1, 1}, correct, 5) == 0);
  HOLDS(thrown([&] { bnn::brier_score(sure, outcomes, 3); }) == BNN_ERR_SHAPE);
  std::vector<double> a(400), b(400);
  for (std::size_t i = 0; i < 400; ++i) a[i] = double(i * 7 % 11), b[i] = a[i] - 0.5;
  HOLDS(std::fabs(bnn::paired_bootstrap(a, b, 10, 50, 1)["mean"] - 0.5) < 1e-12);
  HOLDS(bnn::chain_diagnostics(a, 2, 200)["mean"] == bnn::chain_diagnostics(a, 4, 100)["mean"]);
  HOLDS(bnn::agreement(context, a, 2, 100, 2, 100, 1.0).u64("quantities") == 2);
  HOLDS(bnn::temperature_band(b, 4.5, 10)["expected"] == 4.5);
  HOLDS(std::isnan(bnn::energy(a, {}, 4, 1.0)["kinetic.mean"]) && bnn::energy(a, b, 4, 1.0)["potential.mean"] < 0);
  const float zero[2] = {0, 0}, one[2] = {1, 0};
  HOLDS(bnn::movement(2, zero, one, one)["rms_move"] == std::sqrt(0.5));
  const std::vector<std::pair<std::string_view, double>> facts = {{"temperature", 0.1}, {"chains", 1}, {"samples", 25}};
  HOLDS(bnn::verdict(facts, "baoa").str("text").size() > 10);
}

int main(int argc, char **argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  const bnn::context context(1);
  const bnn::corpus corpus = letters();
  const bnn::model model(context, small(), 8);
  names_and_options();
  reports(context, model);
  corpora(corpus);
  models(context, corpus, folder);
  trainings(model, corpus, folder);
  evaluators(model, corpus);
  chains(model, corpus, folder);
  own(context);
  texts(context, corpus);
  if (failures == 0) std::printf("all as documented\n");
  return failures != 0;
}
