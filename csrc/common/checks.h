// What the ops ask of their arguments before memory is touched, the same on every device. An error
// names the op and the argument, what was expected, what came, and the remedy.
//
// Remedies are given in parts, which are joined only where a check fails.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/DimVector.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "activation.h"
#include "signatures.h"

namespace pyneural {

// An argument in a message: "dense: bias" or, with its place in a list, "mlp: weights[2]".
struct Argument {
  const char* op;
  const char* name;
  int64_t index = -1;
  const char* letters = nullptr;  // its shape as the documentation writes it, "[N, H]"
};

inline std::ostream& operator<<(std::ostream& out, const Argument& argument) {
  out << argument.op << ": " << argument.name;
  return argument.index < 0 ? out : out << '[' << argument.index << ']';
}

// The tensor whose dtype and device others of the call must have, and its name in messages.
struct Like {
  const char* name;
  const at::Tensor& tensor;
};

// That a tensor is there: None in a call from Python is one without a type or a device.
inline void check_given(const Argument& argument, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.defined(), argument,
                    ": expected a tensor, got None; only optional arguments may be left out");
}

template <class... Remedy>
void check_shape(const Argument& argument, const at::Tensor& tensor, at::IntArrayRef shape,
                 const Remedy&... remedy) {
  check_given(argument, tensor);
  TORCH_CHECK_VALUE(tensor.sizes() == shape, argument, ": expected shape ",
                    argument.letters ? argument.letters : "", argument.letters ? " = " : "", shape,
                    ", got ", tensor.sizes(), "; ", remedy...);
}

// Also the dtype and the device.
template <class... Remedy>
void check_like(const Argument& argument, const at::Tensor& tensor, at::IntArrayRef shape,
                const Like& like, const Remedy&... remedy) {
  check_shape(argument, tensor, shape, remedy...);
  TORCH_CHECK_VALUE(tensor.scalar_type() == like.tensor.scalar_type(), argument, ": expected ",
                    like.tensor.scalar_type(), " like ", like.name, ", got ", tensor.scalar_type(),
                    "; convert one of them with .to(dtype)");
  TORCH_CHECK_VALUE(tensor.device() == like.tensor.device(), argument, ": expected ",
                    like.tensor.device(), " like ", like.name, ", got ", tensor.device(),
                    "; move it with .to(device)");
}

// The rows of x [..., columns] with its leading dimensions joined.
inline int64_t joined_rows(const at::Tensor& x) {
  int64_t rows = 1;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) rows *= x.size(d);
  return rows;
}

// The shape of x [..., columns] with other columns: that of a layer's output.
inline c10::DimVector with_columns(const at::Tensor& x, int64_t columns) {
  c10::DimVector shape(x.sizes());
  shape.back() = columns;
  return shape;
}

// An output of a layer for x, or the gradient of one.
inline void check_output_like(const char* op, const char* name, const at::Tensor& tensor,
                              const at::Tensor& x, int64_t columns) {
  check_like({op, name}, tensor, with_columns(x, columns), {"x", x}, "it must fit x, ", x.sizes(),
             ", and the layer's outputs");
}

// float32 and float64, or also bfloat16 and float16.
enum class Precisions { full, with_reduced };

template <class... Remedy>
void check_dtype(const Argument& argument, const at::Tensor& tensor, Precisions allowed,
                 const Remedy&... remedy) {
  check_given(argument, tensor);
  const at::ScalarType type = tensor.scalar_type();
  const bool with_reduced = allowed == Precisions::with_reduced;
  const bool is_reduced = type == at::kBFloat16 || type == at::kHalf;
  TORCH_CHECK_VALUE(type == at::kFloat || type == at::kDouble || (with_reduced && is_reduced),
                    argument, ": expected ",
                    with_reduced ? "float32, float64, bfloat16 or float16" : "float32 or float64",
                    ", got ", type, "; ", remedy...);
}

// "tanh, sin or silu": the names of all activations, or of the smooth ones.
inline std::string list_activations(bool only_smooth = false) {
  std::vector<std::string_view> names;
  for (const ActivationProperties& activation : kActivations)
    if (activation.is_smooth || !only_smooth) names.push_back(activation.name);
  std::string list;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) list += i + 1 < names.size() ? ", " : " or ";
    list += names[i];
  }
  return list;
}

inline ActivationKind check_activation(const Argument& argument, std::string_view name) {
  ActivationKind kind{};
  TORCH_CHECK_VALUE(find_activation(name, &kind), argument, ": expected one of ",
                    list_activations(), ", got \"", name, "\"; choose one of these");
  return kind;
}

inline void check_layer_count(const char* op, at::TensorList weights, at::TensorList biases) {
  TORCH_CHECK_VALUE(!weights.empty(), op,
                    ": weights: expected at least one layer, got none; give [weight] with its "
                    "[bias]");
  TORCH_CHECK_VALUE(weights.size() == biases.size(), op, ": biases: expected ", weights.size(),
                    " as there are weights, got ", biases.size(), "; give every layer a bias");
}

// What can be said of a network's layers before sizes are known.
inline void check_layers(const char* op, const at::Tensor& x, at::TensorList weights,
                         at::TensorList biases, const char* letters) {
  TORCH_CHECK_VALUE(x.dim() == 2, op, ": x: expected shape ", letters, ", got ", x.sym_sizes(),
                    "; a single row is x[None]");
  check_layer_count(op, weights, biases);
}

// The sizes of a network: weights[l] [width[l + 1], width[l]] and biases[l] [width[l + 1]], l < L.
struct NetworkSizes {
  std::vector<int64_t> width;  // [L + 1]
  int64_t parameters = 0;      // P, flat in the order weights[0], biases[0], weights[1], ...

  int64_t layers() const { return static_cast<int64_t>(width.size()) - 1; }
};

// For x [..., width[0]], whose other dimensions the caller has checked, and the number of layers.
// Widths are at least `narrowest`; letters: the shape of x for a message.
inline NetworkSizes check_layer_sizes(const char* op, const at::Tensor& x, at::TensorList weights,
                                      at::TensorList biases, const char* letters,
                                      int64_t narrowest = 0) {
  TORCH_CHECK_VALUE(x.size(-1) >= narrowest, op, ": x: expected shape ", letters,
                    " with at least one column, got ", x.sizes(), "; give it the inputs");
  NetworkSizes sizes{{x.size(-1)}};
  for (size_t l = 0; l < weights.size(); ++l) {
    const auto index = static_cast<int64_t>(l);
    TORCH_CHECK_VALUE(weights[l].dim() == 2 && weights[l].size(0) >= narrowest,
                      Argument{op, "weights", index}, ": expected shape [outputs, inputs], got ",
                      weights[l].sizes(), "; give it as torch.nn.Linear stores it");
    const int64_t in = sizes.width.back(), out = weights[l].size(0);
    const char* const remedy = "a layer's inputs are the outputs of the one before";
    check_like({op, "weights", index}, weights[l], {out, in}, {"x", x}, remedy);
    check_like({op, "biases", index}, biases[l], {out}, {"x", x}, remedy);
    sizes.width.push_back(out);
    sizes.parameters += out * (in + 1);
  }
  return sizes;
}

// The same for x [rows, width[0]].
inline NetworkSizes check_network(const char* op, const at::Tensor& x, at::TensorList weights,
                                  at::TensorList biases, const char* letters,
                                  int64_t narrowest = 0) {
  check_dtype({op, "x"}, x, Precisions::full, "convert it with x.float()");
  check_layers(op, x, weights, biases, letters);
  return check_layer_sizes(op, x, weights, biases, letters, narrowest);
}

}  // namespace pyneural
