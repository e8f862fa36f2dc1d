// An op as a function of Python that does not pass through `torch.ops`, whose parser of arguments,
// made for any schema, takes as long as a layer of 64 x 64.
//
// It returns NotImplemented, upon which `torch.ops` is to be called, where more than the dispatcher
// decides what the call does: for tensors of a subclass, arguments of another type, under a
// transformation of torch.func, forward-mode differentiation, __torch_function__ modes and
// torch.jit.trace.
#pragma once

#include <ATen/PythonTorchFunctionTLS.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/utils/pybind.h>

#include "find_op.h"
#include "signatures.h"

namespace pyneural {

namespace detail {

// What an argument of type T is made from: `fits` says whether the object is of the type.
template <class T>
struct FromPython;
template <>
struct FromPython<at::Tensor> {
  static bool fits(PyObject* object) { return THPVariable_CheckExact(object); }
  // A copy: another thread may give the object another tensor during the call.
  static at::Tensor make(PyObject* object) { return THPVariable_Unpack(object); }
};
template <>
struct FromPython<OptionalTensor> {
  static bool fits(PyObject* object) {
    return object == Py_None || FromPython<at::Tensor>::fits(object);
  }
  static OptionalTensor make(PyObject* object) {
    if (object == Py_None) return std::nullopt;
    return FromPython<at::Tensor>::make(object);
  }
};
template <>
struct FromPython<at::TensorList> {
  static bool fits(PyObject* object) {
    if (!PyList_CheckExact(object) && !PyTuple_CheckExact(object)) return false;
    PyObject** const items = PySequence_Fast_ITEMS(object);
    return std::all_of(items, items + PySequence_Fast_GET_SIZE(object),
                       FromPython<at::Tensor>::fits);
  }
  static std::vector<at::Tensor> make(PyObject* object) {
    PyObject** const items = PySequence_Fast_ITEMS(object);
    std::vector<at::Tensor> tensors;
    tensors.reserve(PySequence_Fast_GET_SIZE(object));
    std::transform(items, items + PySequence_Fast_GET_SIZE(object), std::back_inserter(tensors),
                   FromPython<at::Tensor>::make);
    return tensors;
  }
};
template <>
struct FromPython<std::string_view> {
  static bool fits(PyObject* object) {
    return PyUnicode_CheckExact(object) && PyUnicode_IS_COMPACT_ASCII(object);
  }
  static std::string_view make(PyObject* object) {
    return {static_cast<const char*>(PyUnicode_DATA(object)),
            static_cast<size_t>(PyUnicode_GET_LENGTH(object))};
  }
};
template <>
struct FromPython<bool> {
  static bool fits(PyObject* object) { return PyBool_Check(object); }
  static bool make(PyObject* object) { return object == Py_True; }
};
template <>
struct FromPython<double> {
  static bool fits(PyObject* object) { return PyFloat_CheckExact(object); }
  static double make(PyObject* object) { return PyFloat_AS_DOUBLE(object); }
};
template <>
struct FromPython<std::optional<double>> {
  static bool fits(PyObject* object) {
    return object == Py_None || FromPython<double>::fits(object);
  }
  static std::optional<double> make(PyObject* object) {
    if (object == Py_None) return std::nullopt;
    return FromPython<double>::make(object);
  }
};

inline PyObject* to_python(bool value) { return PyBool_FromLong(value); }
inline PyObject* to_python(const at::Tensor& tensor) { return THPVariable_Wrap(tensor); }
template <class... Tensors>
PyObject* to_python(const std::tuple<Tensors...>& tensors) {
  return pybind11::cast(tensors).release().ptr();
}

inline bool dispatcher_decides() {
  return !at::impl::torch_function_mode_enabled() && !torch::jit::tracer::isTracing() &&
         !c10::impl::tls_is_dispatch_key_included(
             c10::DispatchKey::FuncTorchDynamicLayerFrontMode) &&
         !torch::autograd::ForwardADLevel::try_get_by_idx(0);
}

}  // namespace detail

// The call of an op as PyMethodDef takes it, with METH_FASTCALL; or that of another function, which
// looks at the transformations itself where they matter.
template <auto op, bool is_op = true, class Signature = typename decltype(op)::Signature>
struct DirectCall;
template <auto op, bool is_op, class Result, class... Args>
struct DirectCall<op, is_op, Result(Args...)> {
  static PyObject* call(PyObject*, PyObject* const* objects, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    if (count != sizeof...(Args) || (is_op && !detail::dispatcher_decides()))
      Py_RETURN_NOTIMPLEMENTED;
    return [&]<size_t... I>(std::index_sequence<I...>) -> PyObject* {
      if (!(From<Args>::fits(objects[I]) && ...)) Py_RETURN_NOTIMPLEMENTED;
      const std::tuple<decltype(From<Args>::make(nullptr))...> arguments{
          From<Args>::make(objects[I])...};
      const auto result_of_op = [&] {
        const pybind11::gil_scoped_release other_threads_may_run;
        return op(std::get<I>(arguments)...);
      };
      if constexpr (std::is_void_v<Result>) {
        result_of_op();
        Py_RETURN_NONE;
      } else {
        return detail::to_python(result_of_op());
      }
    }(std::index_sequence_for<Args...>());
    END_HANDLE_TH_ERRORS
  }

 private:
  template <class T>
  using From = detail::FromPython<std::remove_cvref_t<T>>;
};

}  // namespace pyneural
