// A step of Adam on the CPU (Kingma and Ba 2015), all parameters in one pass over memory.
//
//   m <- beta1 m + (1 - beta1) g
//   v <- beta2 v + (1 - beta2) g^2
//   w <- w - learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)
//
// On CUDA optim.Adam calls torch's, which has one kernel for all parameters there.
#include <torch/library.h>

#include <cmath>
#include <vector>

#include "../common/vectors.h"
#include "adam_check.h"

namespace pyneural::adam {
namespace {

// What a parameter's number of steps makes of the options.
struct Rates {
  double step, inverse_root;  // learning_rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
};

template <class T>
void step(T* w, const T* g, T* m, T* v, int64_t count, Rates rates, const Arguments& options) {
  using V = Vec<T>;
  const V rate(static_cast<T>(rates.step)), inverse_root(static_cast<T>(rates.inverse_root)),
      rest1(static_cast<T>(1 - options.beta1)), beta2(static_cast<T>(options.beta2)),
      rest2(static_cast<T>(1 - options.beta2)), epsilon(static_cast<T>(options.epsilon)),
      decay(static_cast<T>(options.weight_decay)),
      kept(
          static_cast<T>(options.decoupled ? 1 - options.learning_rate * options.weight_decay : 1));
  // Without a penalty nothing is added: 0 times an infinite weight is not 0.
  const bool penalised = options.weight_decay != 0 && !options.decoupled;
  for (int64_t i = 0; i < count; i += lanes<T>()) {
    const auto some = static_cast<int>(std::min(lanes<T>(), count - i));
    const V weight = V::loadu(w + i, some);
    V gradient = V::loadu(g + i, some);
    if (penalised) gradient = at::vec::fmadd(decay, weight, gradient);
    const V before = V::loadu(m + i, some);
    const V average = at::vec::fmadd(rest1, gradient - before, before);
    const V square = at::vec::fmadd(beta2, V::loadu(v + i, some), rest2 * gradient * gradient);
    average.store(m + i, some);
    square.store(v + i, some);
    const V root = at::vec::fmadd(square.sqrt(), inverse_root, epsilon);
    (kept * weight - rate * average / root).store(w + i, some);
  }
}

template <class T>
void step_all(const Arguments& a, const std::vector<Rates>& rates) {
  for_chunks_of_all<T>(a.parameters, [&](size_t i, int64_t begin, int64_t end) {
    step(a.parameters[i].data_ptr<T>() + begin, a.gradients[i].const_data_ptr<T>() + begin,
         a.averages[i].data_ptr<T>() + begin, a.squares[i].data_ptr<T>() + begin, end - begin,
         rates[i], a);
  });
}

void adam_(const Arguments& a) {
  check_adam_(a);
  std::vector<Rates> rates;
  rates.reserve(a.steps.size());
  for (const at::Tensor& count : a.steps) {
    const double t = count_step(count);
    rates.push_back(
        {a.learning_rate / (1 - std::pow(a.beta1, t)), 1 / std::sqrt(1 - std::pow(a.beta2, t))});
  }
  step_all<float>(a, rates);
  step_all<double>(a, rates);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { m.impl("adam_", FlatOp<adam_, Signature>::call); }

}  // namespace pyneural::adam
