/* A model of one's own from C++, Bayesian logistic regression: line for line what own_model.c does and prints, the schedule a lambda.
 *
 *   c++ -std=c++17 -I include c_examples/cpp/own_model.cpp -L target/release -lbnn -o own_model_cpp
 *   ln -sf libbnn.so target/release/libbnn.so.6
 *   LD_LIBRARY_PATH=target/release ./own_model_cpp STATE_FILE [steps]
 */
#include "bnn.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

constexpr std::size_t D = 2; // parameters: a slope and an intercept
constexpr std::size_t CHAINS = 2;
using point = std::array<float, D>;

/// 400 observations; the truth that made them has slope 1 and intercept -2.
struct data {
  std::array<double, 400> x, y;
  data() {
    std::uint64_t state = 1;
    auto uniform = [&] {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return double(state >> 11) / 9007199254740992.0;
    };
    for (std::size_t n = 0; n < x.size(); ++n) {
      x[n] = 6 * uniform() - 3;
      y[n] = uniform() < 1 / (1 + std::exp(2 - x[n]));
    }
  }
};

/// log_lik + log_prior of the whole data, and its gradient; the prior is N(0, 3^2).
static double log_posterior(const data &of, const point &theta, point &grad) {
  double log_post = 0, g[D] = {0};
  for (std::size_t n = 0; n < of.x.size(); ++n) {
    const double z = theta[0] * of.x[n] + theta[1], p = 1 / (1 + std::exp(-z));
    log_post += of.y[n] > 0 ? std::log(p) : std::log1p(-p);
    g[0] += (of.y[n] - p) * of.x[n], g[1] += of.y[n] - p;
  }
  for (std::size_t i = 0; i < D; ++i) {
    log_post -= theta[i] * theta[i] / 18;
    grad[i] = float(g[i] - theta[i] / 9);
  }
  return log_post;
}

static void run(const char *path, std::uint64_t steps) {
  const data of;
  const std::size_t kept = std::size_t(std::min<std::uint64_t>(steps / 4, 1000));
  const bnn::context context(1);
  bnn::options options;
  options.set("sampler", "baoa").set("step_size", 0.1).set("temperature", 1.0).set("sampling_steps", steps).set("thinning", 4);
  // The step falls from its full size to a half.
  const auto falling = [](std::uint64_t step, double &step_size, double &) {
    step_size = 0.5 + 0.5 / (1 + double(step) / 100);
    return true;
  };
  const auto step = [&](bnn::sampler &sampler, point &theta) {
    point grad;
    const double log_post = log_posterior(of, theta, grad);
    return sampler.step_gradient(grad, log_post, theta);
  };
  std::vector<double> draws[D]; // (chains, kept) each
  for (std::size_t chain = 0; chain < CHAINS; ++chain) {
    point theta;
    theta.fill(chain ? 2.0f : -2.0f); // from afar
    bnn::sampler sampler(context, options.set("chain", chain), theta);
    sampler.set_schedule(falling);
    bool done = false;
    for (std::uint64_t made = 1; !done; ++made) {
      if (made == steps / 2) { // as if the program had ended here
        sampler.save(path);
        sampler = bnn::sampler::load(context, options, D, path);
        sampler.set_schedule(falling);
        const std::vector<float> params = sampler.params();
        std::copy(params.begin(), params.end(), theta.begin());
      }
      const auto now = step(sampler, theta);
      for (std::size_t i = 0; now.sample_due && i < D; ++i)
        if (draws[i].size() < (chain + 1) * kept) draws[i].push_back(theta[i]);
      done = now.done();
    }
  }
  double worst = 0;
  for (std::size_t i = 0; i < D; ++i) {
    const bnn::report r = bnn::chain_diagnostics(draws[i], CHAINS, kept);
    double mean = 0;
    for (double draw : draws[i]) mean += draw / double(CHAINS * kept);
    std::printf("theta %d %.4f +- %.4f (R-hat %.4f, effective draws: bulk %.0f, tail %.0f)\n", int(i), mean, r["mcse_mean"], r["rhat"], r["ess_bulk"],
                r["ess_tail"]);
    worst = std::max(worst, r["rhat"]);
  }
  std::printf("largest R-hat %.4f\n", worst);

  point theta = {0, 0};
  bnn::sampler vi(context, options.set("sampler", "vi").set("step_size", 0.02), theta);
  const std::vector<float> first = vi.params(); // where the first gradient is taken
  std::copy(first.begin(), first.end(), theta.begin());
  while (!step(vi, theta).done()) {}
  const auto fit = vi.normals();
  for (std::size_t i = 0; i < D; ++i) std::printf("vi    %d %.4f (deviation %.4f)\n", int(i), fit.mean[i], fit.sd[i]);
}

int main(int argc, char **argv) {
  try {
    run(argc > 1 ? argv[1] : "own_model.bnn", argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 4000);
  } catch (const bnn::error &e) {
    std::fprintf(stderr, "%s (%s)\n", e.what(), e.name());
    return 1;
  }
  return 0;
}
