// The schemas of all ops, once for every device, and the Python module `pyneural._C`.
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>
#include <torch/version.h>

#include "adadelta/adadelta_check.h"
#include "adam/adam_check.h"
#include "attention/attention_check.h"
#include "autoregressive/autoregressive_check.h"
#include "build.h"
#include "common/activation.h"
#include "common/direct_call.h"
#include "common/optimizer_lists.h"
#include "common/same_objects.h"
#include "dense/dense_check.h"
#include "jet/jet_autograd.h"
#include "jet/residual_functions.h"
#include "masked_dense/masked_dense_check.h"
#include "mlp/mlp_check.h"
#include "rnn/rnn_check.h"
#include "spline/spline_check.h"

namespace pyneural {
namespace {

constexpr const char* kSchemas[] = {
    "jet_mlp(Tensor x, Tensor[] weights, Tensor[] biases, str activation, int[] derivatives,"
    " float[] operator_coefficients) -> Tensor",
    "jet_mlp_backward(Tensor grad_output, Tensor x, Tensor[] weights, Tensor[] biases,"
    " str activation, int[] derivatives, float[] operator_coefficients, bool[2] output_mask)"
    " -> (Tensor, Tensor)",
    "jet_mlp_jacobian(Tensor x, Tensor[] weights, Tensor[] biases, str activation,"
    " int[] derivatives, float[] operator_coefficients) -> Tensor",
    "jet_mlp_loss(Tensor x, Tensor[] weights, Tensor[] biases, str activation, int[] derivatives,"
    " float[] operator_coefficients, int[] residual, float[] constants, Tensor coefficients,"
    " Tensor? columns, bool[3] output_mask) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "jet_mlp_residual(Tensor x, Tensor[] weights, Tensor[] biases, str activation,"
    " int[] derivatives, float[] operator_coefficients, int[] residual, float[] constants,"
    " Tensor coefficients, Tensor? columns) -> Tensor",
    "jet_mlp_residual_backward(Tensor grad_output, Tensor x, Tensor[] weights, Tensor[] biases,"
    " str activation, int[] derivatives, float[] operator_coefficients, int[] residual,"
    " float[] constants, Tensor coefficients, Tensor? columns, bool[3] output_mask)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    "jet_mlp_residual_jacobian(Tensor x, Tensor[] weights, Tensor[] biases, str activation,"
    " int[] derivatives, float[] operator_coefficients, int[] residual, float[] constants,"
    " Tensor coefficients, Tensor? columns) -> (Tensor, Tensor)",
    "jet_mlp_gram(Tensor x, Tensor[] weights, Tensor[] biases, str activation,"
    " int[] derivatives, float[] operator_coefficients, int[] residual, float[] constants,"
    " Tensor coefficients, Tensor? columns) -> (Tensor, Tensor, Tensor)",
    "jet_mlp_path(Tensor x, Tensor[] weights, Tensor[] biases, str activation, int[] derivatives,"
    " float[] operator_coefficients, int[] residual, float[] constants, Tensor coefficients,"
    " Tensor? columns, Tensor path) -> Tensor",
    "dense(Tensor x, Tensor weight, Tensor? bias, str activation) -> Tensor",
    "dense_with_preactivation(Tensor x, Tensor weight, Tensor? bias, str activation)"
    " -> (Tensor, Tensor)",
    "dense_backward(Tensor grad_y, Tensor x, Tensor weight, Tensor? bias, Tensor saved,"
    " str activation, bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
    "masked_dense(Tensor x, Tensor values, Tensor starts, Tensor inputs, Tensor? bias,"
    " str activation) -> (Tensor, Tensor)",
    "masked_dense_backward(Tensor grad_y, Tensor x, Tensor values, Tensor starts, Tensor inputs,"
    " Tensor? bias, Tensor saved, str activation, bool with_grad_x) -> (Tensor, Tensor, Tensor)",
    "mlp(Tensor x, Tensor[] weights, Tensor[] biases, str activation, str final_activation)"
    " -> Tensor",
    "mlp_backward(Tensor grad_y, Tensor x, Tensor[] weights, Tensor[] biases, str activation,"
    " str final_activation, bool[2] output_mask) -> (Tensor, Tensor)",
    "autoregressive(Tensor x, Tensor? context, Tensor[] weights, Tensor[] biases,"
    " Tensor[] degrees, str activation, str transform, float bound, float slope, bool inverse)"
    " -> (Tensor, Tensor)",
    "autoregressive_with_saved(Tensor x, Tensor? context, Tensor[] weights, Tensor[] biases,"
    " Tensor[] degrees, str activation, str transform, float bound, float slope, bool inverse)"
    " -> (Tensor, Tensor, Tensor)",
    "autoregressive_backward(Tensor grad_y, Tensor grad_ladj, Tensor x, Tensor? context,"
    " Tensor[] weights, Tensor[] biases, Tensor[] degrees, Tensor saved, str activation,"
    " str transform, float bound, float slope, bool inverse, bool[3] output_mask)"
    " -> (Tensor, Tensor, Tensor)",
    "autoregressive_nll(Tensor x, Tensor? context, Tensor[] weights, Tensor[] biases,"
    " Tensor[] degrees, str activation, str transform, float bound, float slope) -> Tensor",
    "autoregressive_nll_with_gradients(Tensor x, Tensor? context, Tensor[] weights,"
    " Tensor[] biases, Tensor[] degrees, str activation, str transform, float bound, float slope,"
    " bool[3] output_mask) -> Tensor[]",
    "continuous_flow(Tensor x, Tensor? context, Tensor[] weights, Tensor[] biases,"
    " float[] frequencies, str activation, float start, float end, float rtol, float atol,"
    " int steps, int max_steps, bool with_ladj) -> (Tensor, Tensor)",
    "continuous_flow_backward(Tensor grad_y, Tensor grad_ladj, Tensor x, Tensor? context,"
    " Tensor[] weights, Tensor[] biases, float[] frequencies, str activation, float start,"
    " float end, float rtol, float atol, int steps, int max_steps, bool with_ladj,"
    " bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
    "diffusion_sampler(Tensor x, Tensor? condition, Tensor[] weights, Tensor[] biases,"
    " Tensor shifts, Tensor coefficients, Tensor seed, str activation, float guidance) -> Tensor",
    "rnn(Tensor x, Tensor h0, Tensor? c0, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih,"
    " Tensor? bias_hh, Tensor? lengths, str cell, bool reverse) -> (Tensor, Tensor, Tensor)",
    "rnn_with_saved(Tensor x, Tensor h0, Tensor? c0, Tensor weight_ih, Tensor weight_hh,"
    " Tensor? bias_ih, Tensor? bias_hh, Tensor? lengths, str cell, bool reverse)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    "rnn_backward(Tensor grad_y, Tensor grad_h_n, Tensor? grad_c_n, Tensor x, Tensor h0,"
    " Tensor? c0, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh,"
    " Tensor? lengths, Tensor y, Tensor saved, str cell, bool reverse, bool[7] output_mask)"
    " -> Tensor[]",
    "attention(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? seed, bool is_causal,"
    " float dropout_p, float? scale) -> Tensor",
    "attention_with_lse(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? seed, bool is_causal,"
    " float dropout_p, float? scale) -> (Tensor, Tensor)",
    "attention_backward(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor? mask,"
    " Tensor? seed, Tensor out, Tensor lse, bool is_causal, float dropout_p, float? scale,"
    " bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
    "attention_mask_backward(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor mask,"
    " Tensor? seed, bool is_causal, float dropout_p, float? scale) -> Tensor",
    "dropout(Tensor x, Tensor seed, float p) -> Tensor",
    "mse_loss(Tensor prediction, Tensor target) -> Tensor",
    "mse_loss_backward(Tensor grad_loss, Tensor prediction, Tensor target) -> Tensor",
    "kalman_filter(Tensor y, Tensor? offset, Tensor transition, Tensor observation,"
    " Tensor process_noise, Tensor observation_noise, Tensor initial_mean,"
    " Tensor initial_covariance) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "kalman_filter_backward(Tensor[] grads, Tensor y, Tensor? offset, Tensor transition,"
    " Tensor observation, Tensor process_noise, Tensor observation_noise, Tensor initial_mean,"
    " Tensor initial_covariance, Tensor mean, Tensor covariance, Tensor predicted_mean,"
    " Tensor predicted_covariance) -> Tensor[]",
    "kalman_smoother(Tensor transition, Tensor process_noise, Tensor mean, Tensor covariance,"
    " Tensor predicted_mean, Tensor predicted_covariance) -> (Tensor, Tensor, Tensor)",
    "kalman_smoother_backward(Tensor[] grads, Tensor transition, Tensor process_noise,"
    " Tensor mean, Tensor covariance, Tensor predicted_mean, Tensor predicted_covariance,"
    " Tensor smoothed_mean, Tensor smoothed_covariance) -> Tensor[]",
    "rational_quadratic_spline(Tensor x, Tensor widths, Tensor heights, Tensor derivatives,"
    " float bound, float slope, bool inverse) -> (Tensor, Tensor)",
    "rational_quadratic_spline_backward(Tensor grad_y, Tensor grad_ladj, Tensor x, Tensor widths,"
    " Tensor heights, Tensor derivatives, float bound, float slope, bool inverse)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    "attention_keep(Tensor seed, int[] shape, float dropout_p) -> Tensor",
    "adadelta_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] squares,"
    " Tensor(c!)[] changes, Tensor(d!)[] steps, float learning_rate, float rho, float epsilon,"
    " float weight_decay) -> ()",
    "adam_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] averages,"
    " Tensor(c!)[] squares, Tensor(d!)[] steps, float learning_rate, float beta1, float beta2,"
    " float epsilon, float weight_decay, bool decoupled) -> ()",
    "damped_cholesky(Tensor matrix, float damping) -> (Tensor, Tensor)",
    "damped_cholesky_solve(Tensor factor, Tensor right) -> Tensor",
    "multiply_add_probe(str dtype, int threads, float seconds) -> float",
};

constexpr Op<"pyneural::dense", dense::ForwardSignature<at::Tensor>> call_dense;
constexpr Op<"pyneural::masked_dense", masked_dense::ForwardSignature<Two>> call_masked_dense;
constexpr Op<"pyneural::mlp", mlp::ForwardSignature<at::Tensor>> call_mlp;
constexpr Op<"pyneural::autoregressive", autoregressive::ForwardSignature<Two>> call_autoregressive;
constexpr Op<"pyneural::autoregressive_nll", autoregressive::LikelihoodSignature<at::Tensor>>
    call_autoregressive_nll;
constexpr Op<"pyneural::rnn", rnn::ForwardSignature<Three>> call_rnn;
constexpr Op<"pyneural::rational_quadratic_spline", spline::ForwardSignature<Two>> call_spline;
constexpr Op<"pyneural::attention", attention::ForwardSignature<at::Tensor>> call_attention;
constexpr Op<"pyneural::adadelta_", adadelta::Signature> call_adadelta;
constexpr Op<"pyneural::adam_", adam::Signature> call_adam;
constexpr FitsOneCall fits_one_call;

template <auto op, bool is_op = true>
PyMethodDef direct_call(const char* name) {
  const auto call = reinterpret_cast<void*>(DirectCall<op, is_op>::call);
  return {name, reinterpret_cast<PyCFunction>(call), METH_FASTCALL,
          "The function of this name, or NotImplemented; see csrc/common/direct_call.h."};
}

PyMethodDef functions[] = {
    direct_call<call_dense>("dense"),
    direct_call<call_masked_dense>("masked_dense"),
    direct_call<call_mlp>("mlp"),
    direct_call<call_autoregressive>("autoregressive"),
    direct_call<call_autoregressive_nll>("autoregressive_nll"),
    direct_call<call_rnn>("rnn"),
    direct_call<call_spline>("rational_quadratic_spline"),
    direct_call<call_attention>("attention"),
    direct_call<call_adadelta>("adadelta_"),
    direct_call<call_adam>("adam_"),
    direct_call<fits_one_call, false>("fits_one_call"),
    {"hold", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(hold)), METH_FASTCALL,
     "Whether dictionaries hold the same objects as before; see csrc/common/same_objects.h."},
    {},
};

constexpr const char* kCompiler =
#if defined(__clang__)
    __VERSION__;
#else
    "GCC " __VERSION__;
#endif

// How this library was built, for `pyneural info`; the keys are those of the dictionary.
pybind11::dict build_info() {
  pybind11::dict info;
  info["pyneural"] = kBuild.version;
  info["torch"] = TORCH_VERSION;
  info["compiler"] = kCompiler;
  info["cuda"] = *kBuild.cuda ? pybind11::object(pybind11::str(kBuild.cuda)) : pybind11::none();
  info["isas"] = pybind11::str(kBuild.isas).attr("split")();
  return info;
}

// The activations by name, each with what Python needs to know of it.
pybind11::dict activations() {
  pybind11::dict all;
  for (const ActivationProperties& activation : kActivations) {
    pybind11::dict properties;
    properties["is_smooth"] = activation.is_smooth;
    properties["needs_preactivation"] = activation.needs_preactivation;
    all[pybind11::str(std::string(activation.name))] = properties;
  }
  return all;
}

}  // namespace
}  // namespace pyneural

TORCH_LIBRARY(pyneural, m) {
  for (const char* const schema : pyneural::kSchemas) m.def(schema);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.doc() = "Schemas of the pyneural ops, and how the library was built.";
  if (PyModule_AddFunctions(m.ptr(), pyneural::functions) != 0) throw pybind11::error_already_set();
  m.def("build_info", &pyneural::build_info,
        "Versions, compiler and instruction sets of this build.");
  m.def("activations", &pyneural::activations, "Name to properties of every activation.");
  m.def(
      "jet_mlp_loss",
      [](const at::Tensor& x, const std::vector<at::Tensor>& weights,
         const std::vector<at::Tensor>& biases, std::string activation,
         std::vector<int64_t> derivatives, std::vector<double> operator_coefficients,
         std::vector<int64_t> residual, std::vector<double> constants,
         const at::Tensor& coefficients, const pyneural::OptionalTensor& columns) {
        auto plan = c10::make_intrusive<pyneural::jet::LossPlan>();
        plan->activation = std::move(activation);
        plan->derivatives = std::move(derivatives);
        plan->operator_coefficients = std::move(operator_coefficients);
        plan->residual = std::move(residual);
        plan->constants = std::move(constants);
        return pyneural::jet::jet_mlp_loss(x, weights, biases, std::move(plan), coefficients,
                                           columns);
      },
      "The loss of the op of this name under autograd, with less overhead than in Python.");
  m.def(
      "residual_functions",
      [] {
        pybind11::dict functions;
        std::apply(
            [&](const auto&... function) {
              ((functions[pybind11::str(std::string(function.name))] = function.opcode), ...);
            },
            pyneural::jet::kResidualFunctions);
        return functions;
      },
      "The functions of residual programs: name to opcode.");
}
