// A step of Adadelta on the CPU (Zeiler 2012), all parameters in one pass over memory.
//
//   s <- rho s + (1 - rho) g^2
//   d  = sqrt((u + epsilon) / (s + epsilon)) g
//   u <- rho u + (1 - rho) d^2
//   w <- w - learning_rate d
#include <torch/library.h>

#include <vector>

#include "../common/parallel.h"
#include "../common/vectors.h"
#include "adadelta_check.h"
#include "adadelta_steps.h"

namespace pyneural::adadelta {
namespace {

// Elements worth waking a thread for.
constexpr int64_t kElementsPerThread = 1 << 14;

template <class T>
void step(T* w, const T* g, T* s, T* u, int64_t count, const Arguments& options) {
  using V = Vec<T>;
  const V rate(static_cast<T>(options.learning_rate)), rho(static_cast<T>(options.rho)),
      rest(static_cast<T>(1 - options.rho)), epsilon(static_cast<T>(options.epsilon)),
      decay(static_cast<T>(options.weight_decay));
  for (int64_t i = 0; i < count; i += lanes<T>()) {
    const auto some = static_cast<int>(std::min(lanes<T>(), count - i));
    const V weight = V::loadu(w + i, some);
    const V gradient = at::vec::fmadd(decay, weight, V::loadu(g + i, some));
    const V square = at::vec::fmadd(rho, V::loadu(s + i, some), rest * gradient * gradient);
    const V before = V::loadu(u + i, some);
    const V change = ((before + epsilon) / (square + epsilon)).sqrt() * gradient;
    square.store(s + i, some);
    at::vec::fmadd(rho, before, rest * change * change).store(u + i, some);
    (weight - rate * change).store(w + i, some);
  }
}

// Tensors of one dtype, each thread a contiguous chunk of every one: a thread finds in its cache
// what of the newest gradients the backward has left there, and each has as many of them.
template <class T>
void step_all(const Arguments& a) {
  std::vector<size_t> those;
  int64_t total = 0;
  for (size_t i = 0; i < a.parameters.size(); ++i)
    if (a.parameters[i].scalar_type() == c10::CppTypeToScalarType<T>::value) {
      those.push_back(i);
      total += a.parameters[i].numel();
    }
  const int64_t threads = std::clamp<int64_t>(total / kElementsPerThread, 1, at::get_num_threads());
  parallel_chunks(threads, threads, [&](int64_t, int64_t chunk, int64_t) {
    for (const size_t i : those) {
      const int64_t size = a.parameters[i].numel(), first = chunk * size / threads;
      step(a.parameters[i].data_ptr<T>() + first, a.gradients[i].const_data_ptr<T>() + first,
           a.squares[i].data_ptr<T>() + first, a.changes[i].data_ptr<T>() + first,
           (chunk + 1) * size / threads - first, a);
    }
  });
}

void adadelta_(const Arguments& a) {
  check_adadelta_(a);
  step_all<float>(a);
  step_all<double>(a);
  add_one(a.steps);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { m.impl("adadelta_", FlatOp<adadelta_, Signature>::call); }

}  // namespace pyneural::adadelta
