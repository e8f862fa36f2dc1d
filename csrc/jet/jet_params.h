// The arguments of a jet op as the CUDA kernels take them.
#pragma once

#include <ATen/ops/empty.h>

#include <vector>

#include "../common/layer_tensors.h"
#include "../common/results.h"
#include "jet_check.h"
#include "jet_cuda.h"

namespace pyneural::jet {

// Sets what params say of the network and its points. The pointers are to the elements of x, which
// is contiguous, and of what it returns.
template <class T>
std::vector<at::Tensor> set_network(const char* op, const Network& network, const Arguments& a,
                                    const at::Tensor& x, JetParams<T>* params) {
  const int64_t layers = network.layers();
  TORCH_CHECK_VALUE(layers <= kMaxLayers, op, ": weights: expected at most ", kMaxLayers,
                    " layers on CUDA, got ", layers, "; use the CPU for a deeper network");
  params->plan = network.plan;
  params->activation = network.activation;
  params->points = network.points;
  params->has_jet_x = network.has_jet_x;
  params->x = x.const_data_ptr<T>();
  return point_to_layers(a.weights, a.biases, &params->layers);
}

// The memory of the slabs, where it is not shared memory.
template <class T>
at::Tensor set_scratch(const at::Tensor& x, JetParams<T>* params) {
  const bool is_wanted = !params->tile.shared_slab;
  const at::Tensor scratch = empty_if(is_wanted, {params->tile.blocks * params->tile.slab}, x);
  params->scratch = data_or_null<T>(scratch);
  return scratch;
}

}  // namespace pyneural::jet
