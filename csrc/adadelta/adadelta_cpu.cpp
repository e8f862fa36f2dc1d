// A step of Adadelta on the CPU (Zeiler 2012), all parameters in one pass over memory.
//
//   s <- rho s + (1 - rho) g^2
//   d  = sqrt((u + epsilon) / (s + epsilon)) g
//   u <- rho u + (1 - rho) d^2
//   w <- w - learning_rate d
#include <ATen/ATen.h>
#include <torch/library.h>

#include <vector>

#include "../common/matmul.h"
#include "../common/shares.h"

namespace pyneural::adadelta {
namespace {

// Elements worth waking a thread for.
constexpr int64_t kShare = 1 << 14;

struct Numbers {
  double learning_rate, rho, epsilon, weight_decay;
};

void check_list(const char* argument, at::TensorList tensors, at::TensorList parameters) {
  TORCH_CHECK_VALUE(tensors.size() == parameters.size(), "adadelta_: ", argument, ": expected ",
                    parameters.size(), " tensors, as many as parameters, got ", tensors.size(),
                    "; give one for each");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor &tensor = tensors[i], &parameter = parameters[i];
    TORCH_CHECK_VALUE(
        tensor.scalar_type() == parameter.scalar_type() && tensor.sizes() == parameter.sizes() &&
            tensor.layout() == at::kStrided && tensor.is_cpu() && tensor.is_contiguous(),
        "adadelta_: ", argument, "[", i, "]: expected a contiguous ", parameter.scalar_type(),
        " tensor on the CPU of shape ", parameter.sizes(), ", got ", tensor.scalar_type(), " ",
        tensor.sizes(), " on ", tensor.device(), "; torch.optim.Adadelta takes any");
  }
}

template <class T>
void step(T* w, const T* g, T* s, T* u, int64_t count, const Numbers& numbers) {
  using V = Vec<T>;
  const V rate(static_cast<T>(numbers.learning_rate)), rho(static_cast<T>(numbers.rho)),
      rest(static_cast<T>(1 - numbers.rho)), epsilon(static_cast<T>(numbers.epsilon)),
      decay(static_cast<T>(numbers.weight_decay));
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

// Tensors of one dtype, each thread a contiguous share of all their elements.
template <class T>
void step_all(at::TensorList parameters, at::TensorList gradients, at::TensorList squares,
              at::TensorList changes, const Numbers& numbers) {
  std::vector<int64_t> starts{0};
  for (const at::Tensor& parameter : parameters)
    starts.push_back(starts.back() + (parameter.scalar_type() == c10::CppTypeToScalarType<T>::value
                                          ? parameter.numel()
                                          : 0));
  const int64_t total = starts.back();
  const int64_t threads = std::clamp<int64_t>(total / kShare, 1, at::get_num_threads());
  for_shares(total, threads, [&](int64_t, int64_t begin, int64_t end) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const int64_t first = std::max(begin, starts[i]), last = std::min(end, starts[i + 1]);
      if (first >= last) continue;
      const int64_t at = first - starts[i];
      step(parameters[i].data_ptr<T>() + at, gradients[i].const_data_ptr<T>() + at,
           squares[i].data_ptr<T>() + at, changes[i].data_ptr<T>() + at, last - first, numbers);
    }
  });
}

void adadelta_(at::TensorList parameters, at::TensorList gradients, at::TensorList squares,
               at::TensorList changes, double learning_rate, double rho, double epsilon,
               double weight_decay) {
  check_list("parameters", parameters, parameters);
  check_list("gradients", gradients, parameters);
  check_list("squares", squares, parameters);
  check_list("changes", changes, parameters);
  for (const at::Tensor& parameter : parameters)
    TORCH_CHECK_VALUE(
        parameter.scalar_type() == at::kFloat || parameter.scalar_type() == at::kDouble,
        "adadelta_: parameters: expected float32 or float64, got ", parameter.scalar_type(),
        "; torch.optim.Adadelta takes any");
  const Numbers numbers{learning_rate, rho, epsilon, weight_decay};
  step_all<float>(parameters, gradients, squares, changes, numbers);
  step_all<double>(parameters, gradients, squares, changes, numbers);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { m.impl("adadelta_", adadelta_); }

}  // namespace pyneural::adadelta
