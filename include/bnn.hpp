/* bnn.hpp: bnn.h for C++17, in this header alone. Handles free themselves and can be moved; a status other than BNN_OK is thrown as bnn::error.
 *
 * Each function says which one of bnn.h it calls; shapes, units and errors are documented there. Results of several numbers are a bnn::report. What a callback
 * throws ends the call and comes out of it. Threads and lifetimes are as in docs/c-api.md. */
#ifndef BNN_HPP
#define BNN_HPP

#include "bnn.h"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace bnn {

/// What a call throws: its status, and in what() the library's message.
class error : public std::runtime_error {
 public:
  error(bnn_status status, const char *message) : std::runtime_error(message), code(status) {}
  bnn_status status() const noexcept { return code; }
  const char *name() const noexcept { return bnn_status_name(code); }  ///< Calls bnn_status_name.

 private:
  bnn_status code;
};

/// Elements of somebody else's, n of them: made from a vector, an array, or a pointer with a size.
template <class T> class span {
  template <class C> using pointer = std::remove_reference_t<decltype(std::data(std::declval<C &>()))>;

 public:
  span() = default;
  span(T *data, std::size_t size) : at(data), n(size) {}
  template <class C, class = std::enable_if_t<std::is_convertible_v<pointer<C>, T *>>> span(C &&c) : at(std::data(c)), n(std::size(c)) {}
  T *data() const noexcept { return at; }
  std::size_t size() const noexcept { return n; }
  T *begin() const noexcept { return at; }
  T *end() const noexcept { return at + n; }
  T &operator[](std::size_t i) const { return at[i]; }

 private:
  T *at = nullptr;
  std::size_t n = 0;
};
using floats = span<const float>;
using doubles = span<const double>;
using tokens = span<const std::uint32_t>;
/// How far a long call is: what is done, and of how much, 0 where that is not known; false ends it.
using progress = std::function<bool(std::uint64_t, std::uint64_t)>;

class report;

namespace detail {

/// Throws what is not BNN_OK.
inline void check(bnn_status status, const bnn_error &e) {
  if (status != BNN_OK) throw error(status, e.message);
}

/// Throws where an array has not the length that the call takes it to have.
inline void sized(const char *what, std::size_t got, std::size_t want) {
  if (got == want) return;
  const std::string message = std::string(what) + " has " + std::to_string(got) + " elements, expected " + std::to_string(want);
  throw error(BNN_ERR_SHAPE, message.c_str());
}

template <class T, class = void> struct is_array : std::false_type {};
template <class T> struct is_array<T, std::void_t<decltype(std::declval<T>().data()), decltype(std::declval<T>().size())>> : std::true_type {};
template <class T, class = void> struct is_handle : std::false_type {};
template <class T> struct is_handle<T, std::void_t<decltype(std::declval<T>().get())>> : std::true_type {};

/// Returns an argument as C takes it: an object as its handle, a text or an array as its pointer and its length.
template <class T> auto flat(const T &a) {
  if constexpr (is_handle<T>::value) return std::make_tuple(a.get());
  else if constexpr (is_array<T>::value) return std::make_tuple(a.data(), a.size());
  else return std::make_tuple(a);
}

/// Calls a function of bnn.h, whose last parameter is the error, and returns the status.
template <class F, class... A> bnn_status status(bnn_error &e, F f, const A &...a) {
  return std::apply(f, std::tuple_cat(flat(a)..., std::make_tuple(&e)));
}

/// Calls a function and throws its error.
template <class F, class... A> void call(F f, const A &...a) {
  bnn_error e = {};
  check(status(e, f, a...), e);
}

/// Calls a function whose last parameter but the error is a number that comes out, and returns that.
template <class T, class F, class... A> T number(F f, const A &...a) {
  T value = {};
  call(f, a..., &value);
  return value;
}

/// Calls a function that ends with a buffer, its capacity and the length needed, and returns what it writes: a string or a vector.
template <class C, class F, class... A> C grown(F f, const A &...a) {
  C to(64, {});
  std::size_t needed = 0;
  bnn_error e = {};
  bnn_status s = status(e, f, a..., to.data(), to.size(), &needed);
  if (s == BNN_ERR_TOO_SMALL) {
    to.resize(needed);
    s = status(e, f, a..., to.data(), to.size(), &needed);
  }
  check(s, e);
  to.resize(needed);
  return to;
}

/// A function of the caller's that C calls; what it throws is kept until the call of C's has returned.
template <class... A> class hook {
 public:
  using pointer = std::int32_t (*)(void *, A...);
  explicit hook(std::function<bool(A...)> function) : f(std::move(function)) {}
  pointer c() const { return f ? run : pointer(nullptr); }
  /// Calls a function of C's that may call this one.
  template <class F, class... B> void call(F function, const B &...b) {
    bnn_error e = {};
    const bnn_status s = status(e, function, b...);
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
    check(s, e);
  }

 private:
  static std::int32_t run(void *self, A... a) noexcept {
    hook &h = *static_cast<hook *>(self);
    try {
      return h.f(a...) ? 1 : 0;
    } catch (...) {
      h.thrown = std::current_exception();
      return 0;
    }
  }
  std::function<bool(A...)> f;
  std::exception_ptr thrown;
};

/// An owned handle of C's; get() gives it to functions of bnn.h. After a move from it, it is NULL, which they refuse.
template <class T, void (*Free)(T *)> class handle {
 public:
  T *get() const noexcept { return own.get(); }

 protected:
  explicit handle(T *p) : own(p) {}
  /// Calls a constructor, whose last parameter but the error is the handle.
  template <class F, class... A> static T *make(F f, const A &...a) { return detail::number<T *>(f, a...); }
  /// These call a function whose first parameter is this object.
  template <class F, class... A> void call(F f, const A &...a) const { detail::call(f, get(), a...); }
  template <class N, class F, class... A> N number(F f, const A &...a) const { return detail::number<N>(f, get(), a...); }
  template <class C, class F, class... A> C grown(F f, const A &...a) const { return detail::grown<C>(f, get(), a...); }
  /// Returns the report that such a function makes.
  template <class R = report, class F, class... A> R reported(F f, const A &...a) const { return R::of(f, get(), a...); }
  /// Returns the report of a long call, which asks `on` whether it goes on.
  template <class R = report, class F, class... A> R watched(progress on, F f, const A &...a) const {
    hook<std::uint64_t, std::uint64_t> h(std::move(on));
    R r;
    h.call(f, get(), a..., h.c(), &h, r);
    return r;
  }

 private:
  struct freer {
    void operator()(T *p) const noexcept { Free(p); }
  };
  std::unique_ptr<T, freer> own;
};

/// Texts as bnn.h takes them.
struct texts {
  std::vector<const char *> at;
  std::vector<std::size_t> lens;
  explicit texts(span<const std::string_view> from) {
    for (std::string_view s : from) at.push_back(s.data()), lens.push_back(s.size());
  }
};

}  // namespace detail

inline std::string version() { return bnn_version_string(); }           ///< Calls bnn_version_string.
inline std::uint32_t version_number() { return bnn_version_number(); }  ///< Calls bnn_version_number.
/// Calls bnn_abi and bnn_abi_minor, and throws BNN_ERR_UNSUPPORTED where the library is not one that this header's programs run with.
inline void check_abi() {
  const std::uint32_t abi = BNN_ABI, minor = BNN_ABI_MINOR;
  if (bnn_abi() != abi || bnn_abi_minor() < minor) throw error(BNN_ERR_UNSUPPORTED, "the library has another ABI than the header");
}

/// What a row of a report holds.
using value = std::variant<double, std::uint64_t, std::string, std::vector<double>>;

/// The named rows of one result, in their order. BNN_ERR_INVALID names the nearest row where there is none of a name.
class report : public detail::handle<bnn_report, bnn_report_free> {
 public:
  report() : handle(make(bnn_report_new)) {}  ///< Calls bnn_report_new.
  /// Returns the result of a function of bnn.h whose last parameter but the error is the report.
  template <class F, class... A> static report of(F f, const A &...a) {
    report r;
    detail::call(f, a..., r);
    return r;
  }
  /// Calls bnn_report_get_f64: a number, or a count.
  double operator[](std::string_view name) const { return number<double>(bnn_report_get_f64, name); }
  std::uint64_t u64(std::string_view name) const { return number<std::uint64_t>(bnn_report_get_u64, name); }  ///< Calls bnn_report_get_u64.
  std::string str(std::string_view name) const { return grown<std::string>(bnn_report_get_str, name); }  ///< Calls bnn_report_get_str.
  std::vector<double> f64s(std::string_view name) const { return grown<std::vector<double>>(bnn_report_get_f64s, name); }  ///< Calls bnn_report_get_f64s.
  /// Calls bnn_report_describe: a row's type (BNN_TYPE_…), and its meaning with the unit.
  std::pair<std::int32_t, std::string> describe(std::string_view name) const {
    std::int32_t type = 0;
    std::string meaning = grown<std::string>(bnn_report_describe, name, &type);
    return {type, std::move(meaning)};
  }
  /// Returns a row, whatever it holds.
  value at(std::string_view name) const {
    switch (describe(name).first) {
      case BNN_TYPE_F64: return (*this)[name];
      case BNN_TYPE_U64: return u64(name);
      case BNN_TYPE_STR: return str(name);
      default: return f64s(name);
    }
  }
  std::size_t size() const { return number<std::size_t>(bnn_report_count); }  ///< Calls bnn_report_count.
  std::string name(std::size_t index) const { return grown<std::string>(bnn_report_name, index); }  ///< Calls bnn_report_name.
  /// Returns all rows, for a loop over names and values.
  std::vector<std::pair<std::string, value>> rows() const {
    std::vector<std::pair<std::string, value>> all;
    for (std::size_t i = 0; i < size(); ++i) all.emplace_back(name(i), at(name(i)));
    return all;
  }
};

/// Settings by name (docs/settings.md). Made without any, all are at their defaults. They alone of all handles can be copied too.
class options : public detail::handle<bnn_options, bnn_options_free> {
 public:
  options() : handle(make(bnn_options_new)) {}  ///< Calls bnn_options_new.
  options(const options &other) : handle(make(bnn_options_copy, other)) {}  ///< Calls bnn_options_copy.
  options(options &&) = default;
  options &operator=(options other) {
    handle::operator=(std::move(other));
    return *this;
  }
  options &set(std::string_view name, double to) { return with(bnn_options_set_f64, name, to); }  ///< Calls bnn_options_set_f64.
  options &set(std::string_view name, std::string_view to) { return with(bnn_options_set_str, name, to); }  ///< Calls bnn_options_set_str.
  options &set(std::string_view name, const char *to) { return set(name, std::string_view(to)); }
  /// Calls bnn_options_set_u64 for unsigned integers and bool, and set_text for signed ones, so that 1 serves an option that takes a double.
  template <class T, class = std::enable_if_t<std::is_integral_v<T>>> options &set(std::string_view name, T to) {
    if constexpr (std::is_unsigned_v<T>) return with(bnn_options_set_u64, name, std::uint64_t(to));
    else return set_text(name, std::to_string(to));
  }
  /// Calls bnn_options_set_text: an option of any type, as a flag or a file of settings has it.
  options &set_text(std::string_view name, std::string_view to) { return with(bnn_options_set_text, name, to); }
  options &unset(std::string_view name) { return with(bnn_options_unset, name); }  ///< Calls bnn_options_unset.
  double f64(std::string_view name) const { return number<double>(bnn_options_get_f64, name); }  ///< Calls bnn_options_get_f64.
  std::uint64_t u64(std::string_view name) const { return number<std::uint64_t>(bnn_options_get_u64, name); }  ///< Calls bnn_options_get_u64.
  std::string str(std::string_view name) const { return grown<std::string>(bnn_options_get_str, name); }  ///< Calls bnn_options_get_str.
  report unread(std::string_view reader) const { return reported(bnn_options_unread, reader); }  ///< Calls bnn_options_unread.
  static std::size_t count() { return bnn_options_count(); }  ///< Calls bnn_options_count.
  /// Calls bnn_options_describe.
  static std::string describe(std::size_t index, std::string_view field) { return detail::grown<std::string>(bnn_options_describe, index, field); }

 private:
  template <class F, class... A> options &with(F f, const A &...a) {
    call(f, a...);
    return *this;
  }
};

/// A device with its threads. Shareable between threads.
class context : public detail::handle<bnn_context, bnn_context_free> {
 public:
  /// Calls bnn_context_new; 0 takes as many threads as the machine has.
  explicit context(std::size_t threads = 0) : handle(make(bnn_context_new, threads)) {}
  std::size_t threads() const { return number<std::size_t>(bnn_context_threads); }  ///< Calls bnn_context_threads.
  report info() const { return reported(bnn_context_info); }  ///< Calls bnn_context_info.
};

/// Tokens in two splits. Shareable between threads.
class corpus : public detail::handle<bnn_corpus, bnn_corpus_free> {
 public:
  struct lengths {
    std::size_t vocab_size, n_train, n_val;
  };
  /// No text, for the calls whose tokens are all the caller's: NULL in bnn.h, and what is left where a corpus was moved from.
  corpus() : handle(nullptr) {}
  static corpus embedded() { return corpus(make(bnn_corpus_embedded)); }  ///< Calls bnn_corpus_embedded.
  static corpus from_file(std::string_view path) { return corpus(make(bnn_corpus_from_file, path)); }  ///< Calls bnn_corpus_from_file.
  static corpus from_text(std::string_view chars) { return corpus(make(bnn_corpus_from_text, chars)); }  ///< Calls bnn_corpus_from_text.
  /// Calls bnn_corpus_from_tokens.
  static corpus from_tokens(bnn::tokens train, bnn::tokens val, std::size_t vocab_size) {
    return corpus(make(bnn_corpus_from_tokens, train, val, vocab_size));
  }
  /// Calls bnn_corpus_from_nanogpt.
  static corpus from_nanogpt(std::string_view path, std::size_t vocab_size = 0) { return corpus(make(bnn_corpus_from_nanogpt, path, vocab_size)); }
  std::string vocabulary() const { return grown<std::string>(bnn_corpus_vocabulary); }  ///< Calls bnn_corpus_vocabulary.
  /// Calls bnn_corpus_sizes.
  lengths sizes() const {
    lengths s = {};
    call(bnn_corpus_sizes, &s.vocab_size, &s.n_train, &s.n_val);
    return s;
  }
  /// Calls bnn_corpus_tokens.
  std::vector<std::uint32_t> tokens(std::int32_t split) const { return grown<std::vector<std::uint32_t>>(bnn_corpus_tokens, split); }
  /// Calls bnn_corpus_encode.
  std::vector<std::uint32_t> encode(std::string_view chars) const { return grown<std::vector<std::uint32_t>>(bnn_corpus_encode, chars); }
  std::string decode(bnn::tokens t) const { return grown<std::string>(bnn_corpus_decode, t); }  ///< Calls bnn_corpus_decode.

 private:
  explicit corpus(bnn_corpus *p) : handle(p) {}
};

/// A named tensor's shape and its place in the parameters.
struct tensor {
  std::string name;
  std::size_t dims, rows, columns, offset, len;
};

/// A GPT with its parameters. Shareable between threads.
class model : public detail::handle<bnn_model, bnn_model_free> {
 public:
  model(const context &c, const options &o, std::size_t vocab_size) : handle(make(bnn_model_new, c, o, vocab_size)) {}  ///< Calls bnn_model_new.
  /// Calls bnn_model_load.
  static model load(const context &c, std::string_view path, const options &o = options()) { return model(make(bnn_model_load, c, o, path)); }
  model untie() const { return model(make(bnn_model_untie, *this)); }  ///< Calls bnn_model_untie.
  model copy() const { return model(make(bnn_model_copy, *this)); }  ///< Calls bnn_model_copy.
  /// Calls bnn_model_sizes: the length of the parameter vector.
  std::size_t n_params() const { return sizes().first; }
  /// Calls bnn_model_sizes: the longest context.
  std::size_t block_size() const { return sizes().second; }
  /// Calls bnn_model_get_params.
  std::vector<float> params() const {
    std::vector<float> p(n_params());
    call(bnn_model_get_params, p.data(), p.size());
    return p;
  }
  void set_params(floats params) { call(bnn_model_set_params, params); }  ///< Calls bnn_model_set_params.
  /// Calls bnn_model_tensor.
  bnn::tensor tensor(std::size_t index) const {
    bnn::tensor t = {};
    t.name = grown<std::string>([&](const bnn_model *m, char *name, std::size_t capacity, std::size_t *needed, bnn_error *e) {
      return bnn_model_tensor(m, index, name, capacity, needed, &t.dims, &t.rows, &t.columns, &t.offset, &t.len, e);
    });
    return t;
  }
  /// Calls bnn_model_find_tensor: the index of a name.
  std::size_t find_tensor(std::string_view name) const { return number<std::size_t>(bnn_model_find_tensor, name); }
  report info() const { return reported(bnn_model_info); }  ///< Calls bnn_model_info.
  /// Calls bnn_model_loss: nats per token.
  double loss(const corpus &text, std::int32_t split) const { return number<double>(bnn_model_loss, text, split); }
  /// Calls bnn_model_save.
  void save(std::string_view path, const corpus &text = corpus(), std::uint64_t steps = 0) const { call(bnn_model_save, text, steps, path); }
  void save_safetensors(std::string_view path) const { call(bnn_model_save_safetensors, path); }  ///< Calls bnn_model_save_safetensors.
  void read_safetensors(std::string_view path) { call(bnn_model_read_safetensors, path); }  ///< Calls bnn_model_read_safetensors.
  /// Calls bnn_model_train_once; on_step(step, loss) returns false to end.
  report train_once(const corpus &text, const options &o, std::string_view folder, std::function<bool(std::uint64_t, double)> on_step = nullptr) {
    detail::hook<std::uint64_t, double> h(std::move(on_step));
    report r;
    h.call(bnn_model_train_once, *this, text, o, folder, h.c(), &h, r);
    return r;
  }

 private:
  explicit model(bnn_model *p) : handle(p) {}
  std::pair<std::size_t, std::size_t> sizes() const {
    std::pair<std::size_t, std::size_t> s;
    call(bnn_model_sizes, &s.first, &s.second);
    return s;
  }
};

/// A model in training by AdamW. One thread at a time.
class trainer : public detail::handle<bnn_trainer, bnn_trainer_free> {
 public:
  /// Calls bnn_trainer_new.
  trainer(const model &m, const corpus &text, const options &o, std::int32_t start = BNN_START_FRESH)
      : trainer(make(bnn_trainer_new, m, text, o, start), m.n_params()) {}
  /// Calls bnn_trainer_load.
  static trainer load(const model &m, const corpus &text, const options &o, std::string_view path) {
    return trainer(make(bnn_trainer_load, m, text, o, path), m.n_params());
  }
  void save(std::string_view path) const { call(bnn_trainer_save, path); }  ///< Calls bnn_trainer_save.
  /// Calls bnn_trainer_step: the loss of the batch before the step, nats per token.
  double step() { return number<double>(bnn_trainer_step); }
  /// Calls bnn_trainer_step_tokens.
  double step_tokens(tokens x, tokens y) {
    detail::sized("y", y.size(), x.size());
    return number<double>(bnn_trainer_step_tokens, x.data(), y.data(), x.size());
  }
  std::vector<float> params() const { return copied(bnn_trainer_get_params); }  ///< Calls bnn_trainer_get_params.
  bool keep_best(double score) { return number<std::int32_t>(bnn_trainer_keep_best, score) != 0; }  ///< Calls bnn_trainer_keep_best.
  std::vector<float> best() const { return copied(bnn_trainer_get_best); }  ///< Calls bnn_trainer_get_best.
  bnn::report report() const { return reported(bnn_trainer_report); }  ///< Calls bnn_trainer_report.
  /// Calls bnn_trainer_finish: the parameters go into the model.
  void finish() { call(bnn_trainer_finish); }

 private:
  trainer(bnn_trainer *p, std::size_t n_params) : handle(p), n(n_params) {}
  template <class F> std::vector<float> copied(F f) const {
    std::vector<float> p(n);
    call(f, p.data(), n);
    return p;
  }
  std::size_t n;
};

/// Tokens x and their targets y: (b, t) each, which are b sequences of t tokens.
struct batch {
  tokens x, y;
  std::size_t b, t;
};

/// Losses, gradients and predictions at any parameters. One thread at a time. Without params, they are the model's.
class evaluator : public detail::handle<bnn_evaluator, bnn_evaluator_free> {
 public:
  /// Nats: per position that counts, and over all of them.
  struct losses {
    double mean, total;
  };
  explicit evaluator(const model &m) : handle(make(bnn_evaluator_new, m)), n(m.n_params()) {}  ///< Calls bnn_evaluator_new.
  /// Calls bnn_evaluator_loss.
  losses loss(const batch &z, floats params = {}, bool last_only = false) { return at(bnn_evaluator_loss, z, params, last_only); }
  /// Calls bnn_evaluator_gradient. grad: n_params.
  losses gradient(const batch &z, span<float> grad, floats params = {}, bool last_only = false) {
    detail::sized("grad", grad.size(), n);
    return at(bnn_evaluator_gradient, z, params, last_only, grad.data());
  }
  /// Calls bnn_evaluator_squares. grad, squares: n_params each.
  losses squares(const batch &z, span<float> grad, span<float> squares, floats params = {}, bool last_only = false) {
    detail::sized("grad", grad.size(), n), detail::sized("squares", squares.size(), n);
    return at(bnn_evaluator_squares, z, params, last_only, grad.data(), squares.data());
  }
  /// Calls bnn_evaluator_log_probs: (b, t), nats.
  std::vector<double> log_probs(const batch &z, floats params = {}) {
    std::vector<double> to(fits(z));
    call(bnn_evaluator_log_probs, params, z.x.data(), z.y.data(), z.b, z.t, to.data());
    return to;
  }
  /// Calls bnn_evaluator_logits. x: (b, t); logits: (b, t, vocab_size).
  void logits(tokens x, std::size_t b, std::size_t t, span<float> logits, floats params = {}) {
    detail::sized("x", x.size(), b * t);
    call(bnn_evaluator_logits, params, x.data(), b, t, logits);
  }

 private:
  static std::size_t fits(const batch &z) {
    detail::sized("x", z.x.size(), z.b * z.t), detail::sized("y", z.y.size(), z.b * z.t);
    return z.b * z.t;
  }
  template <class F, class... A> losses at(F f, const batch &z, floats params, bool last_only, const A &...a) {
    fits(z);
    losses l = {};
    call(f, params, z.x.data(), z.y.data(), z.b, z.t, std::int32_t(last_only), &l.mean, &l.total, a...);
    return l;
  }
  std::size_t n;
};

/// Samples of one model in a folder. One thread at a time.
class store : public detail::handle<bnn_store, bnn_store_free> {
 public:
  struct sample {
    std::uint32_t chain;
    std::uint64_t step;
    std::vector<float> params;
  };
  /// Calls bnn_store_new: begins a folder or goes on with it.
  store(const model &m, const corpus &text, const options &o, std::string_view path)
      : store(make(bnn_store_new, m, text, o, path), m.n_params()) {}
  /// Calls bnn_store_open.
  static store open(const model &m, const corpus &text, std::string_view path) { return store(make(bnn_store_open, m, text, path), m.n_params()); }
  std::size_t size() const { return number<std::size_t>(bnn_store_len); }  ///< Calls bnn_store_len.
  void append(std::uint32_t chain, std::uint64_t step, floats params) { call(bnn_store_append, chain, step, params); }  ///< Calls bnn_store_append.
  /// Calls bnn_store_get.
  sample at(std::size_t index) const {
    sample s = {0, 0, std::vector<float>(n)};
    call(bnn_store_get, index, &s.chain, &s.step, s.params.data(), n);
    return s;
  }
  /// Calls bnn_store_spread.
  std::vector<std::size_t> spread(std::size_t count) const { return grown<std::vector<std::size_t>>(bnn_store_spread, count); }
  void verify() const { call(bnn_store_verify); }  ///< Calls bnn_store_verify.
  /// Calls bnn_store_keep_last: how many files it deleted.
  std::size_t keep_last(std::size_t count) { return number<std::size_t>(bnn_store_keep_last, count); }
  /// Calls bnn_store_keep_every: how many files it deleted.
  std::size_t keep_every(std::size_t k) { return number<std::size_t>(bnn_store_keep_every, k); }
  report movement(std::uint32_t chain, floats start) const { return reported(bnn_store_movement, chain, start); }  ///< Calls bnn_store_movement.
  /// Calls bnn_store_score.
  report score(const model &m, const corpus &text, std::int32_t split, std::size_t samples = 0, std::uint64_t seed = 0, progress on = nullptr) const {
    return watched(std::move(on), bnn_store_score, m, text, split, samples, seed);
  }

 private:
  store(bnn_store *p, std::size_t n_params) : handle(p), n(n_params) {}
  std::size_t n;
};

/// A chain or a fit of normals. One thread at a time.
class sampler : public detail::handle<bnn_sampler, bnn_sampler_free> {
 public:
  /// What the next step's phase is (BNN_PHASE_…), and whether the parameters are a sample to keep.
  struct made {
    std::int32_t phase;
    bool sample_due;
    bool done() const { return phase == BNN_PHASE_DONE; }
  };
  struct owned_batch {
    std::vector<std::uint32_t> x, y;
    std::size_t b, t;
    operator bnn::batch() const { return {x, y, b, t}; }
  };
  struct normals_of {
    std::vector<float> mean, sd;
  };
  /// step, step_size_factor, temperature_factor; false stops the step.
  using schedule = std::function<bool(std::uint64_t, double &, double &)>;
  /// Calls bnn_sampler_new: on a model's posterior.
  sampler(const model &m, const corpus &text, const options &o)
      : sampler(make(bnn_sampler_new, m, text, o), m.n_params()) {}
  /// Calls bnn_sampler_new_with_gradients: on a log posterior of the caller's.
  sampler(const context &c, const options &o, floats theta0)
      : sampler(make(bnn_sampler_new_with_gradients, c, o, theta0), theta0.size()) {}
  /// Calls bnn_sampler_load.
  static sampler load(const model &m, const corpus &text, const options &o, std::string_view path) {
    return sampler(make(bnn_sampler_load, m, text, o, path), m.n_params());
  }
  /// Calls bnn_sampler_load_with_gradients.
  static sampler load(const context &c, const options &o, std::size_t n, std::string_view path) {
    return sampler(make(bnn_sampler_load_with_gradients, c, o, n, path), n);
  }
  void save(std::string_view path) const { call(bnn_sampler_save, path); }  ///< Calls bnn_sampler_save.
  void extend(std::uint64_t steps) { call(bnn_sampler_extend, steps); }  ///< Calls bnn_sampler_extend.
  /// Calls bnn_sampler_set_schedule; an empty function gives the options' schedules their place back.
  void set_schedule(schedule f) {
    std::function<bool(std::uint64_t, double *, double *)> g;
    if (f) g = [f = std::move(f)](std::uint64_t step, double *size, double *temperature) { return f(step, *size, *temperature); };
    auto next = std::make_unique<asked_before_steps>(std::move(g));
    call(bnn_sampler_set_schedule, next->c(), next.get());
    asked = std::move(next);
  }
  void set_mass(floats mass) { call(bnn_sampler_set_mass, mass); }  ///< Calls bnn_sampler_set_mass.
  /// Calls bnn_sampler_set_mass_cholesky. factor: (n, n), row by row.
  void set_mass_cholesky(doubles factor) {
    detail::sized("factor", factor.size(), n * n);
    call(bnn_sampler_set_mass_cholesky, factor.data(), n);
  }
  void set_gradient_noise(floats variance) { call(bnn_sampler_set_gradient_noise, variance); }  ///< Calls bnn_sampler_set_gradient_noise.
  made step() { return stepped(bnn_sampler_step); }  ///< Calls bnn_sampler_step.
  /// Calls bnn_sampler_step_tokens.
  made step_tokens(tokens x, tokens y) {
    detail::sized("y", y.size(), x.size());
    return stepped(bnn_sampler_step_tokens, x.data(), y.data(), x.size());
  }
  /// Calls bnn_sampler_step_gradient. theta: where the next gradient is to be taken.
  made step_gradient(floats grad, double log_post, span<float> theta) {
    detail::sized("theta", theta.size(), grad.size());
    return stepped(bnn_sampler_step_gradient, grad, log_post, theta.data());
  }
  /// Calls bnn_sampler_step_gradient_f64.
  made step_gradient(doubles grad, double log_post, span<double> theta) {
    detail::sized("theta", theta.size(), grad.size());
    return stepped(bnn_sampler_step_gradient_f64, grad, log_post, theta.data());
  }
  /// Calls bnn_sampler_step_squares.
  made step_squares(floats grad, floats squares, double log_lik, span<float> theta) {
    detail::sized("squares", squares.size(), grad.size()), detail::sized("theta", theta.size(), grad.size());
    return stepped(bnn_sampler_step_squares, grad.data(), squares.data(), grad.size(), log_lik, theta.data());
  }
  /// Calls bnn_sampler_step_loss_gradient.
  made step_loss_gradient(floats grad, double loss) { return stepped(bnn_sampler_step_loss_gradient, grad, loss); }
  std::vector<float> params() const { return copied(bnn_sampler_get_params); }  ///< Calls bnn_sampler_get_params.
  /// Calls bnn_sampler_batch.
  owned_batch batch(std::uint64_t step) const {
    owned_batch z = {};
    call(bnn_sampler_batch, step, nullptr, nullptr, 0, &z.b, &z.t);
    z.x.resize(z.b * z.t), z.y.resize(z.b * z.t);
    call(bnn_sampler_batch, step, z.x.data(), z.y.data(), z.x.size(), nullptr, nullptr);
    return z;
  }
  std::vector<float> momenta() const { return copied(bnn_sampler_get_momenta); }  ///< Calls bnn_sampler_get_momenta.
  std::vector<float> mass() const { return copied(bnn_sampler_get_mass); }  ///< Calls bnn_sampler_get_mass.
  /// Calls bnn_sampler_get_mass_cholesky: (n, n), row by row.
  std::vector<double> mass_cholesky() const {
    std::vector<double> factor(n * n);
    call(bnn_sampler_get_mass_cholesky, factor.data(), n);
    return factor;
  }
  /// Calls bnn_sampler_get_normals.
  normals_of normals() const {
    normals_of f = {std::vector<float>(n), std::vector<float>(n)};
    call(bnn_sampler_get_normals, f.mean.data(), f.sd.data(), n);
    return f;
  }
  /// Calls bnn_sampler_draw.
  std::vector<float> draw(std::uint64_t index) const {
    std::vector<float> p(n);
    call(bnn_sampler_draw, index, p.data(), n);
    return p;
  }
  bnn::report report() const { return reported(bnn_sampler_report); }  ///< Calls bnn_sampler_report.
  bnn::report step_size() const { return reported(bnn_sampler_step_size); }  ///< Calls bnn_sampler_step_size.
  bnn::report gradient_noise() const { return reported(bnn_sampler_gradient_noise); }  ///< Calls bnn_sampler_gradient_noise.
  bnn::report forecast() const { return reported(bnn_sampler_forecast); }  ///< Calls bnn_sampler_forecast.
  /// Calls bnn_sampler_free_diffusion.
  bnn::report free_diffusion(std::uint64_t first, std::uint64_t last) const { return reported(bnn_sampler_free_diffusion, first, last); }
  bnn::report temperature(std::size_t index) const { return reported(bnn_sampler_temperature, index); }  ///< Calls bnn_sampler_temperature.
  /// Calls bnn_sampler_watch.
  void watch(std::uint64_t every, span<const std::size_t> offsets, span<const std::size_t> lens) {
    detail::sized("lens", lens.size(), offsets.size());
    call(bnn_sampler_watch, every, offsets.data(), lens);
  }
  bnn::report llc() const { return reported(bnn_sampler_llc); }  ///< Calls bnn_sampler_llc.
  bnn::report energy() const { return reported(bnn_sampler_energy); }  ///< Calls bnn_sampler_energy.
  bnn::report prior_fit() const { return reported(bnn_sampler_prior_fit); }  ///< Calls bnn_sampler_prior_fit.
  /// Calls bnn_sampler_curvature.
  bnn::report curvature(std::uint64_t products, std::size_t batches, progress on = nullptr) {
    return watched<bnn::report>(std::move(on), bnn_sampler_curvature, products, batches);
  }
  /// Calls bnn_sampler_curvature_with_gradients; gradient(params, grad) throws to stop it.
  bnn::report curvature(std::uint64_t products, const std::function<void(floats, span<float>)> &gradient) {
    detail::hook<const float *, std::size_t, float *> h([&](const float *at, std::size_t d, float *grad) {
      gradient({at, d}, {grad, d});
      return true;
    });
    bnn::report r;
    h.call(bnn_sampler_curvature_with_gradients, *this, products, h.c(), &h, r);
    return r;
  }
  /// Calls bnn_sampler_run: how many samples fell due. Without a store none are kept.
  std::size_t run(store *samples, std::string_view path, std::uint64_t every = 0, progress on = nullptr) {
    detail::hook<std::uint64_t, std::uint64_t> h(std::move(on));
    std::size_t drawn = 0;
    bnn_store *to = samples ? samples->get() : nullptr;
    h.call(bnn_sampler_run, *this, to, path, every, h.c(), &h, &drawn);
    return drawn;
  }
  bnn::report missing(const store &s) const { return reported(bnn_sampler_missing, s); }  ///< Calls bnn_sampler_missing.

 private:
  using asked_before_steps = detail::hook<std::uint64_t, double *, double *>;
  sampler(bnn_sampler *p, std::size_t n_params) : handle(p), n(n_params) {}
  template <class F> std::vector<float> copied(F f) const {
    std::vector<float> p(n);
    call(f, p.data(), n);
    return p;
  }
  template <class F, class... A> made stepped(F f, const A &...a) {
    std::int32_t phase = BNN_PHASE_WARMUP, due = 0;
    if (asked) asked->call(f, *this, a..., &phase, &due);
    else call(f, a..., &phase, &due);
    return {phase, due != 0};
  }
  std::size_t n;
  std::unique_ptr<asked_before_steps> asked;
};

/// Tokens of a corpus to be scored again and again. One thread at a time.
class probe : public detail::handle<bnn_probe, bnn_probe_free> {
 public:
  /// Calls bnn_probe_new.
  probe(const model &m, const corpus &text, std::int32_t split, std::size_t count)
      : handle(make(bnn_probe_new, m, text, split, count)) {}
  std::size_t size() const { return number<std::size_t>(bnn_probe_len); }  ///< Calls bnn_probe_len.
  /// Calls bnn_probe_log_probs.
  std::vector<double> log_probs(floats params) {
    std::vector<double> to(size());
    call(bnn_probe_log_probs, params, to.data(), to.size(), nullptr);
    return to;
  }
};

/// Parameter vectors of one model. One thread at a time.
class ensemble : public detail::handle<bnn_ensemble, bnn_ensemble_free> {
 public:
  /// Nats, entry i of token i + 1.
  struct scores {
    std::vector<double> log_probs, entropy, mutual_information;
  };
  explicit ensemble(const model &m) : handle(make(bnn_ensemble_new, m)) {}  ///< Calls bnn_ensemble_new.
  void add(floats params) { call(bnn_ensemble_add, params); }  ///< Calls bnn_ensemble_add.
  std::size_t size() const { return number<std::size_t>(bnn_ensemble_len); }  ///< Calls bnn_ensemble_len.
  /// Calls bnn_ensemble_add_stored: how many samples of a folder were added.
  std::size_t add_stored(std::string_view path, std::size_t samples = 0, std::size_t memory = 0) {
    return number<std::size_t>(bnn_ensemble_add_stored, path, samples, memory);
  }
  /// Calls bnn_ensemble_evaluate.
  report evaluate(const corpus &text, std::int32_t split, progress on = nullptr) const {
    return watched(std::move(on), bnn_ensemble_evaluate, text, split);
  }
  /// Calls bnn_ensemble_score.
  scores score(tokens t) const {
    const std::vector<double> room(t.size() > 0 ? t.size() - 1 : 0);
    scores s = {room, room, room};
    call(bnn_ensemble_score, t, s.log_probs.data(), s.entropy.data(), s.mutual_information.data());
    return s;
  }
};

/// A writer with a cache for each sample. One thread at a time.
class generator : public detail::handle<bnn_generator, bnn_generator_free> {
 public:
  /// A text, as characters or tokens, with the means of its tokens' entropy and mutual information in nats.
  template <class C> struct written {
    C text;
    double mean_entropy, mean_mutual_information;
  };
  /// token, entropy, mutual information and log-probability, in nats; false ends the text.
  using on_token = std::function<bool(std::uint32_t, double, double, double)>;
  /// The index of the prompt, then what on_token is given; false ends that text alone.
  using on_batch_token = std::function<bool(std::size_t, std::uint32_t, double, double, double)>;
  /// Calls bnn_generator_new.
  explicit generator(const ensemble &e, const corpus &text = corpus(), const options &o = options())
      : handle(make(bnn_generator_new, e, text, o)) {}
  /// Calls bnn_generator_generate.
  written<std::string> generate(std::string_view prompt, const options &o = options(), std::uint64_t number = 0, on_token f = nullptr) {
    return write<std::string>(bnn_generator_generate, 4, prompt, o, number, std::move(f));
  }
  /// Calls bnn_generator_generate_tokens.
  written<std::vector<std::uint32_t>> generate_tokens(tokens prompt, const options &o = options(), std::uint64_t number = 0, on_token f = nullptr) {
    return write<std::vector<std::uint32_t>>(bnn_generator_generate_tokens, 1, prompt, o, number, std::move(f));
  }
  /// Calls bnn_generator_generate_batch.
  std::vector<written<std::string>> generate_batch(span<const std::string_view> prompts, const options &o = options(), std::uint64_t first = 0,
                                                   on_batch_token f = nullptr) {
    const detail::texts all(prompts);
    const std::size_t count = prompts.size();
    std::string chars(4 * count * std::size_t(o.u64("max_new_tokens")), '\0');
    std::vector<std::size_t> offsets(count + 1);
    std::vector<double> h(count), mi(count);
    detail::hook<std::size_t, std::uint32_t, double, double, double> k(std::move(f));
    k.call(bnn_generator_generate_batch, *this, all.at.data(), all.lens.data(), count, o, first, k.c(), &k, chars.data(), chars.size(), nullptr,
           offsets.data(), h.data(), mi.data());
    std::vector<written<std::string>> to;
    for (std::size_t i = 0; i < count; ++i) to.push_back({chars.substr(offsets[i], offsets[i + 1] - offsets[i]), h[i], mi[i]});
    return to;
  }
  /// Calls bnn_generator_score_texts.
  report score_texts(std::int32_t split, std::size_t texts, std::size_t prompt, std::size_t length, const options &o = options(), progress on = nullptr) {
    return watched(std::move(on), bnn_generator_score_texts, split, texts, prompt, length, o);
  }

  /// What advance gives of a text: its next token with its numbers in nats, or BNN_NO_TOKEN.
  struct next {
    std::uint32_t token;
    double entropy, mutual_information, log_prob;
  };
  /// What predict gives: (v) log-probabilities, nats.
  struct prediction {
    std::vector<double> log_probs;
    double entropy, mutual_information;
  };
  /// Calls bnn_generator_begin.
  void begin(span<const std::vector<std::uint32_t>> prompts, const options &o = options(), std::uint64_t first = 0) {
    std::vector<const std::uint32_t *> at;
    std::vector<std::size_t> lens;
    for (const auto &p : prompts) at.push_back(p.data()), lens.push_back(p.size());
    call(bnn_generator_begin, at.data(), lens.data(), at.size(), o, first);
    begun = at.size();
  }
  /// Calls bnn_generator_begin_texts.
  void begin(span<const std::string_view> prompts, const options &o = options(), std::uint64_t first = 0) {
    const detail::texts all(prompts);
    call(bnn_generator_begin_texts, all.at.data(), all.lens.data(), prompts.size(), o, first);
    begun = prompts.size();
  }
  /// Calls bnn_generator_advance: an entry per text, none when every text has ended.
  std::vector<next> advance() {
    std::vector<std::uint32_t> t(begun);
    std::vector<double> h(begun), mi(begun), lp(begun);
    bnn_error e = {};
    const bnn_status s = detail::status(e, bnn_generator_advance, *this, t.data(), h.data(), mi.data(), lp.data(), begun);
    std::vector<next> to;
    if (s == BNN_ERR_DONE) return to;
    detail::check(s, e);
    for (std::size_t i = 0; i < begun; ++i) to.push_back({t[i], h[i], mi[i], lp[i]});
    return to;
  }
  /// Calls bnn_generator_predict.
  prediction predict(std::size_t text, std::size_t vocab_size) {
    prediction p = {std::vector<double>(vocab_size), 0, 0};
    call(bnn_generator_predict, text, p.log_probs.data(), vocab_size, &p.entropy, &p.mutual_information);
    return p;
  }
  void put(std::size_t text, std::uint32_t token) { call(bnn_generator_put, text, token); }  ///< Calls bnn_generator_put.
  void stop(std::size_t text) { call(bnn_generator_stop, text); }  ///< Calls bnn_generator_stop.
  /// Calls bnn_generator_tokens.
  std::vector<std::uint32_t> tokens_of(std::size_t text) const { return detail::grown<std::vector<std::uint32_t>>(bnn_generator_tokens, *this, text); }
  /// Calls bnn_generator_text.
  std::string text_of(std::size_t text) const { return detail::grown<std::string>(bnn_generator_text, *this, text); }

 private:
  std::size_t begun = 0;
  /// Gives room for `each` elements per new token, which is always enough.
  template <class C, class F, class P> written<C> write(F f, std::size_t each, P prompt, const options &o, std::uint64_t number, on_token callback) {
    written<C> w = {C(each * std::size_t(o.u64("max_new_tokens")), {}), 0, 0};
    std::size_t needed = 0;
    detail::hook<std::uint32_t, double, double, double> h(std::move(callback));
    h.call(f, *this, prompt, o, number, h.c(), &h, w.text.data(), w.text.size(), &needed, &w.mean_entropy,
           &w.mean_mutual_information);
    w.text.resize(needed);
    return w;
  }
};

/// Calls bnn_bleu.
inline double bleu(span<const std::string_view> references, span<const std::string_view> predictions, std::int32_t unit, std::size_t max_order) {
  detail::sized("predictions", predictions.size(), references.size());
  const detail::texts r(references), p(predictions);
  return detail::number<double>(bnn_bleu, r.at.data(), r.lens.data(), p.at.data(), p.lens.data(), r.at.size(), unit, max_order);
}
/// Calls bnn_rouge.
inline report rouge(span<const std::string_view> references, span<const std::string_view> predictions, std::int32_t unit) {
  detail::sized("predictions", predictions.size(), references.size());
  const detail::texts r(references), p(predictions);
  return report::of(bnn_rouge, r.at.data(), r.lens.data(), p.at.data(), p.lens.data(), r.at.size(), unit);
}
/// Calls bnn_brier_score. probabilities: (outcomes, v).
inline double brier_score(doubles probabilities, tokens outcomes, std::size_t v) {
  detail::sized("probabilities", probabilities.size(), outcomes.size() * v);
  return detail::number<double>(bnn_brier_score, probabilities.data(), outcomes, v);
}
/// Calls bnn_calibration_error.
inline double calibration_error(doubles confidence, span<const std::int32_t> correct, std::size_t bins) {
  detail::sized("correct", correct.size(), confidence.size());
  return detail::number<double>(bnn_calibration_error, confidence.data(), correct.data(), confidence.size(), bins);
}
/// Calls bnn_paired_bootstrap.
inline report paired_bootstrap(doubles a, doubles b, std::size_t block, std::size_t resamples, std::uint64_t seed) {
  detail::sized("b", b.size(), a.size());
  return report::of(bnn_paired_bootstrap, a.data(), b.data(), a.size(), block, resamples, seed);
}
/// Calls bnn_chain_diagnostics. draws: (chains, n).
inline report chain_diagnostics(doubles draws, std::size_t chains, std::size_t n) {
  detail::sized("draws", draws.size(), chains * n);
  return report::of(bnn_chain_diagnostics, draws.data(), chains, n);
}
/// Calls bnn_agreement. draws: (chains, n, quantities).
inline report agreement(const context &c, doubles draws, std::size_t chains, std::size_t n, std::size_t quantities, std::uint64_t gradients,
                        double seconds) {
  detail::sized("draws", draws.size(), chains * n * quantities);
  return report::of(bnn_agreement, c, draws.data(), chains, n, quantities, gradients, seconds);
}
/// Calls bnn_movement.
inline report movement(std::size_t samples, floats start, floats first, floats last) {
  detail::sized("first", first.size(), start.size()), detail::sized("last", last.size(), start.size());
  return report::of(bnn_movement, samples, start.data(), first.data(), last.data(), start.size());
}
/// Calls bnn_temperature_band.
inline report temperature_band(doubles series, double temperature, std::size_t parameters) {
  return report::of(bnn_temperature_band, series, temperature, parameters);
}
/// Calls bnn_energy; without kinetic, there are no momenta.
inline report energy(doubles log_post, doubles kinetic, std::size_t n_params, double temperature) {
  if (kinetic.data()) detail::sized("kinetic", kinetic.size(), log_post.size());
  return report::of(bnn_energy, log_post.data(), kinetic.data(), log_post.size(), n_params, temperature);
}
/// Calls bnn_verdict.
inline report verdict(span<const std::pair<std::string_view, double>> facts, std::string_view sampler = {}, std::string_view single = {},
                      std::string_view control = {}) {
  std::vector<std::string_view> names;
  std::vector<double> values;
  for (const auto &fact : facts) names.push_back(fact.first), values.push_back(fact.second);
  const detail::texts t(names);
  return report::of(bnn_verdict, t.at.data(), t.lens.data(), values, sampler, single, control);
}
/// Calls bnn_check_samples.
inline report check_samples(std::string_view path, bool repair) { return report::of(bnn_check_samples, path, std::int32_t(repair)); }
/// Calls bnn_check_checkpoint.
inline report check_checkpoint(std::string_view path, bool repair) { return report::of(bnn_check_checkpoint, path, std::int32_t(repair)); }

}  // namespace bnn

#endif  /* BNN_HPP */
