// Whether dictionaries of Python hold what they held before.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace pyneural {

// Whether the values of a dictionary are those of a tuple, the same objects in the same order.
inline bool holds(PyObject* dictionary, PyObject* values) {
  if (PyDict_Size(dictionary) != PyTuple_GET_SIZE(values)) return false;
  Py_ssize_t position = 0;
  PyObject *key, *value;
  for (Py_ssize_t i = 0; PyDict_Next(dictionary, &position, &key, &value); ++i)
    if (value != PyTuple_GET_ITEM(values, i)) return false;
  return true;
}

// hold(dictionaries, values), as PyMethodDef takes it with METH_FASTCALL: whether each dictionary
// of a tuple still holds the values of the tuple beside it.
inline PyObject* hold(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  const auto is_tuple = [&](Py_ssize_t i) { return i < count && PyTuple_CheckExact(arguments[i]); };
  if (count != 2 || !is_tuple(0) || !is_tuple(1) ||
      PyTuple_GET_SIZE(arguments[0]) != PyTuple_GET_SIZE(arguments[1])) {
    PyErr_SetString(PyExc_TypeError, "hold: expected a tuple of dictionaries and one of tuples");
    return nullptr;
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arguments[0]); ++i) {
    PyObject* const dictionary = PyTuple_GET_ITEM(arguments[0], i);
    PyObject* const values = PyTuple_GET_ITEM(arguments[1], i);
    if (!PyDict_Check(dictionary) || !PyTuple_CheckExact(values)) {
      PyErr_SetString(PyExc_TypeError, "hold: expected dictionaries, and a tuple for each");
      return nullptr;
    }
    if (!holds(dictionary, values)) Py_RETURN_FALSE;
  }
  Py_RETURN_TRUE;
}

}  // namespace pyneural
