// A step of Adadelta on the CPU (Zeiler 2012), all parameters in one pass over memory.
//
//   s <- rho s + (1 - rho) g^2
//   d  = sqrt((u + epsilon) / (s + epsilon)) g
//   u <- rho u + (1 - rho) d^2
//   w <- w - learning_rate d
#include <torch/library.h>

#include "../common/vectors.h"
#include "adadelta_check.h"

namespace pyneural::adadelta {
namespace {

template <class T>
void step(T* w, const T* g, T* s, T* u, int64_t count, const Arguments& options) {
  using V = Vec<T>;
  const V rate(static_cast<T>(options.learning_rate)), rho(static_cast<T>(options.rho)),
      rest(static_cast<T>(1 - options.rho)), epsilon(static_cast<T>(options.epsilon)),
      decay(static_cast<T>(options.weight_decay));
  // Without a penalty nothing is added: 0 times an infinite weight is not 0.
  const bool penalised = options.weight_decay != 0;
  for (int64_t i = 0; i < count; i += lanes<T>()) {
    const auto some = static_cast<int>(std::min(lanes<T>(), count - i));
    const V weight = V::loadu(w + i, some);
    V gradient = V::loadu(g + i, some);
    if (penalised) gradient = at::vec::fmadd(decay, weight, gradient);
    const V square = at::vec::fmadd(rho, V::loadu(s + i, some), rest * gradient * gradient);
    const V before = V::loadu(u + i, some);
    const V change = ((before + epsilon) / (square + epsilon)).sqrt() * gradient;
    square.store(s + i, some);
    at::vec::fmadd(rho, before, rest * change * change).store(u + i, some);
    (weight - rate * change).store(w + i, some);
  }
}

template <class T>
void step_all(const Arguments& a) {
  for_chunks_of_all<T>(a.parameters, [&](size_t i, int64_t begin, int64_t end) {
    step(a.parameters[i].data_ptr<T>() + begin, a.gradients[i].const_data_ptr<T>() + begin,
         a.squares[i].data_ptr<T>() + begin, a.changes[i].data_ptr<T>() + begin, end - begin, a);
  });
}

void adadelta_(const Arguments& a) {
  check_adadelta_(a);
  step_all<float>(a);
  step_all<double>(a);
  for (const at::Tensor& step : a.steps) count_step(step);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { m.impl("adadelta_", FlatOp<adadelta_, Signature>::call); }

}  // namespace pyneural::adadelta
