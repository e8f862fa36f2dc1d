// The masked network of an autoregressive layer with its units sorted by degree.
//
// A unit sees the units below it of a degree not above its own. Sorted, it sees the leading ones:
// the masks are staircases, a tile of rows multiplies no further than its last row sees, and units
// of one degree are neighbours, so that they can be computed as soon as what they see is known.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "../common/panels.h"
#include "../common/parallel.h"
#include "../common/scratch.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {

// Where to find what was sorted by degree, and the degrees in rising order.
struct Sorted {
  explicit Sorted(const std::vector<int64_t>& unsorted) : at(unsorted.size()), degree(unsorted) {
    std::iota(at.begin(), at.end(), int64_t{0});
    std::stable_sort(at.begin(), at.end(),
                     [&](int64_t i, int64_t j) { return unsorted[i] < unsorted[j]; });
    std::sort(degree.begin(), degree.end());
  }

  int64_t size() const { return static_cast<int64_t>(at.size()); }
  int64_t count_below(int64_t limit) const {
    return std::lower_bound(degree.begin(), degree.end(), limit) - degree.begin();
  }
  int64_t count_up_to(int64_t limit) const {
    return std::upper_bound(degree.begin(), degree.end(), limit) - degree.begin();
  }

  std::vector<int64_t> at, degree;
};

template <class T>
struct MaskedLayer {
  int64_t in, out;
  int64_t in_stride, out_stride;             // of the rows below
  const T* weight;                           // [out][in_stride], 0 where masked
  const T* transposed;                       // [in][out_stride], for a backward
  const T* bias;                             // [out]
  std::vector<int64_t> visible;              // [out], how many inputs an output sees
  std::vector<int64_t> first;                // [in], the first output that sees an input
  std::vector<int64_t> input_at, output_at;  // columns and rows of the matrix that was given
  std::vector<int64_t> input_row;            // of a column, where it is among the sorted ones
  bool in_order;                             // whether the columns were sorted already
  int64_t offset;                            // of its gradients, [out][in_stride] and then [out]
};

// What is computed at a time: units of each hidden layer up to an end, then transforms of features.
struct Stage {
  std::vector<int64_t> unit_end;
  int64_t feature_begin, feature_end;
};

// What a network is made of, one piece of memory each.
template <class T>
struct Unsorted {
  std::vector<const T*> weights, biases;
  const int64_t* degrees;
};

template <class T>
class Conditioner {
 public:
  // Elements of the memory behind a network.
  static int64_t size(const FlowLayer& layer, bool with_backward) {
    int64_t total = 0;
    for (int64_t l = 0; l < layer.layers(); ++l) {
      const int64_t in = layer.width[l], out = layer.width[l + 1];
      total += out * odd_lines<T>(in) + odd_lines<T>(out);
      if (with_backward) total += in * odd_lines<T>(out);
    }
    return total;
  }

  Conditioner() = default;
  Conditioner(const FlowLayer& layer, const Unsorted<T>& given, bool with_backward, T* memory) {
    const int64_t* degrees = given.degrees;
    const int64_t D = layer.features, S = layer.staying;
    const std::vector<int64_t> order(degrees, degrees + D);
    degrees += D;
    std::vector<int64_t> seen, below;  // features that are inputs, and the degrees of all inputs
    for (int64_t d = 0; d < D; ++d)
      if (S == 0 || order[d] < 0) {
        seen.push_back(d);
        below.push_back(order[d] + 1);
      }
    const auto features_seen = static_cast<int64_t>(seen.size());
    below.resize(features_seen + layer.context, 0);
    Sorted inputs(below);
    feature_row.resize(D, -1);
    for (int64_t i = 0; i < inputs.size(); ++i)
      (inputs.at[i] < features_seen ? feature_row[seen[inputs.at[i]]]
                                    : context_row.emplace_back()) = i;

    const Sorted features(order);
    std::vector<Sorted> hidden;
    int64_t offset = 0;
    for (int64_t l = 0; l < layer.layers(); ++l) {
      const bool is_last = l + 1 == layer.layers();
      const int64_t out = layer.width[l + 1];
      if (!is_last) hidden.emplace_back(std::vector<int64_t>(degrees, degrees + out));
      degrees += out;
      const Sorted outputs = is_last ? parameters_of(features, layer) : hidden.back();
      layers.push_back(masked_layer(inputs, outputs, given.weights[l], given.biases[l], offset,
                                    with_backward, &memory));
      offset += out * (layers.back().in_stride + 1);
      inputs = outputs;
    }
    feature_at = features.at;

    everything.feature_begin = S;
    everything.feature_end = D;
    for (const Sorted& units : hidden) everything.unit_end.push_back(units.size());
    for (int64_t f = S; f < D;) {
      Stage stage{{}, f, features.count_up_to(features.degree[f])};
      for (const Sorted& units : hidden)
        stage.unit_end.push_back(units.count_up_to(features.degree[f]));
      f = stage.feature_end;
      substitution.push_back(std::move(stage));
    }
  }

  // How many elements the gradients of all parameters are.
  int64_t gradient_size() const {
    return layers.back().offset + layers.back().out * (layers.back().in_stride + 1);
  }

  std::vector<MaskedLayer<T>> layers;
  std::vector<int64_t> feature_at;   // the column of x of a sorted feature; those that stay first
  std::vector<int64_t> feature_row;  // the sorted input of a column of x; -1 of none
  std::vector<int64_t> context_row;  // likewise of a column of the context
  Stage everything;
  std::vector<Stage> substitution;  // one for each order of features

 private:
  // The outputs of the network: all parameters of a feature have its order. Those of features that
  // do not stay follow each other in the order of the columns.
  static Sorted parameters_of(const Sorted& features, const FlowLayer& layer) {
    const int64_t S = layer.staying, P = layer.parameters_of_feature;
    std::vector<int64_t> columns(features.at.begin() + S, features.at.end());
    std::sort(columns.begin(), columns.end());
    Sorted parameters({});
    for (int64_t f = S; f < features.size(); ++f)
      for (int64_t p = 0; p < P; ++p) {
        const auto place = std::lower_bound(columns.begin(), columns.end(), features.at[f]);
        parameters.at.push_back((place - columns.begin()) * P + p);
        parameters.degree.push_back(features.degree[f]);
      }
    return parameters;
  }

  static MaskedLayer<T> masked_layer(const Sorted& inputs, const Sorted& outputs, const T* weight,
                                     const T* bias, int64_t offset, bool with_backward,
                                     T** memory) {
    const auto take = [&](int64_t elements) {
      T* const taken = *memory;
      *memory += elements;
      return taken;
    };
    MaskedLayer<T> layer;
    layer.in = inputs.size();
    layer.out = outputs.size();
    layer.in_stride = odd_lines<T>(layer.in);
    layer.out_stride = odd_lines<T>(layer.out);
    layer.input_at = inputs.at;
    layer.output_at = outputs.at;
    layer.input_row.resize(layer.in);
    for (int64_t i = 0; i < layer.in; ++i) layer.input_row[inputs.at[i]] = i;
    layer.in_order = std::is_sorted(inputs.at.begin(), inputs.at.end());
    layer.offset = offset;
    for (const int64_t degree : outputs.degree) layer.visible.push_back(inputs.count_up_to(degree));
    for (const int64_t degree : inputs.degree) layer.first.push_back(outputs.count_below(degree));

    T* const sorted = take(layer.out * layer.in_stride);
    T* const sorted_bias = take(layer.out_stride);
    for (int64_t o = 0; o < layer.out; ++o) {
      const T* const row = weight + outputs.at[o] * layer.in;
      T* const to = sorted + o * layer.in_stride;
      if (layer.in_order)
        std::copy_n(row, layer.visible[o], to);
      else
        for (int64_t i = 0; i < layer.visible[o]; ++i) to[i] = row[inputs.at[i]];
      std::fill(to + layer.visible[o], to + layer.in_stride, T(0));
      sorted_bias[o] = bias[outputs.at[o]];
    }
    layer.weight = sorted;
    layer.bias = sorted_bias;
    layer.transposed = nullptr;
    if (with_backward) {
      T* const transposed = take(layer.in * layer.out_stride);
      transpose(sorted, layer.in_stride, layer.out, layer.in, transposed, layer.out_stride);
      layer.transposed = transposed;
    }
    return layer;
  }
};

// The networks of all layers, each sorted on a thread.
template <class T>
std::vector<Conditioner<T>> sorted_networks(const Flow& flow, at::TensorList weights,
                                            at::TensorList biases, at::TensorList degrees,
                                            bool with_backward, int64_t threads, Scratch& scratch) {
  std::vector<at::Tensor> contiguous;
  const auto data = [&]<class Element>(const at::Tensor& tensor, Element) {
    return contiguous.emplace_back(tensor.contiguous()).template const_data_ptr<Element>();
  };
  std::vector<Unsorted<T>> given(flow.layers.size());
  std::vector<T*> memory;
  for (size_t i = 0; i < given.size(); ++i) {
    const FlowLayer& layer = flow.layers[i];
    for (const at::Tensor& weight : layer.of(weights))
      given[i].weights.push_back(data(weight, T()));
    for (const at::Tensor& bias : layer.of(biases)) given[i].biases.push_back(data(bias, T()));
    given[i].degrees = data(degrees[i], int64_t());
    memory.push_back(scratch.take<T>(Conditioner<T>::size(layer, with_backward)));
  }
  std::vector<Conditioner<T>> networks(given.size());
  parallel_tasks(flow.size(), threads, [&](int64_t i) {
    networks[i] = Conditioner<T>(flow.layers[i], given[i], with_backward, memory[i]);
  });
  return networks;
}

}  // namespace pyneural::autoregressive
