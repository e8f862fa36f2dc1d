// The arithmetic of one jet: which channels travel through the network, and how an activation
// mixes them. Built once a call on the host; a plain struct, so that a CUDA kernel takes it by
// value.
//
// A channel is one Taylor coefficient (here: one partial derivative) of a layer's values with
// respect to the network's inputs. Channel 0 is the value. A linear layer maps every channel by the
// same matrix; an activation a = f(z) maps them by Faà di Bruno's formula,
//
//   a_0 = f(z_0)
//   a_c = f'(z_0) z_c + sum over the terms of c: coefficient f^(order)(z_0) prod_j z_{factor[j]}
//
// where the terms run over the set partitions of the derivative's indices into two or more blocks
// (Constantine and Savits 1996, "A multivariate Faà di Bruno formula with applications").
//
// A linear operator, L = sum_k w_k d^(alpha_k), is one channel whatever the number of its partial
// derivatives, since the part f' z_c of the formula is linear in the channel: a_L = f' z_L + sum_k
// w_k (terms of alpha_k). So the alpha_k need no channels of their own, only the lower derivatives
// in their terms do. The Laplacian is the best known (Li et al. 2023, "Forward Laplacian"; Dangel
// et al. 2025, "Collapsing Taylor mode automatic differentiation"), the heat operator another.
#pragma once

#include <cstdint>

#include "../common/activation.h"

namespace pyneural::jet {

constexpr int kMaxOrder = 4;
constexpr int kMaxChannels = 128;
constexpr int kMaxSeeds = 256;
constexpr int kMaxTerms = 1024;
constexpr int kMaxOutputs = 128;
constexpr int64_t kMaxInput = INT16_MAX;  // the last input that derivatives may be taken for

// coefficient f^(order)(z_0) z_{factor[0]} ... z_{factor[order - 1]}, added to channel `channel`.
struct Term {
  uint8_t channel;
  uint8_t order;  // 2 to 4; as many factors
  uint8_t factor[kMaxOrder];
};

// coefficient * d/dx_input in channel `channel`.
struct Seed {
  int16_t channel, input;
};

struct Plan {
  int channels = 1;               // C, channel 0 is the value
  int seeds = 0;                  // what the first derivatives of the inputs are made of
  int terms = 0;                  // nonlinear terms only: f'(z_0) z_c is there for every c >= 1
  int outputs = 1;                // 1 + K: the value and the derivatives asked for
  int order = 0;                  // highest derivative of f that a term or f' z_c needs
  int16_t output[kMaxOutputs]{};  // [1 + K] channel of each output
  Seed seed[kMaxSeeds]{};         // [seeds], ordered by channel
  Term term[kMaxTerms]{};         // [terms], ordered by channel
  double seed_coefficient[kMaxSeeds]{};
  double coefficient[kMaxTerms]{};  // of the terms

  // Derivative of input d in channel c >= 1: the same at every point.
  template <class T>
  PYNEURAL_INLINE T direction(int64_t c, int64_t d) const {
    T sum = 0;
    for (int s = 0; s < seeds; ++s)
      if (seed[s].channel == c && seed[s].input == d) sum += static_cast<T>(seed_coefficient[s]);
    return sum;
  }
};

// What is wrong with the derivatives, or which limit they exceed.
enum class PlanError { none, index, outputs, channels, terms, seeds };

// A partial derivative as its sorted input indices.
struct MultiIndex {
  int order = 0;
  int64_t index[kMaxOrder]{};

  constexpr void insert(int64_t value) {
    int at = order++;
    for (; at > 0 && index[at - 1] > value; --at) index[at] = index[at - 1];
    index[at] = value;
  }
  constexpr bool operator==(const MultiIndex& other) const {
    if (order != other.order) return false;
    for (int i = 0; i < order; ++i)
      if (index[i] != other.index[i]) return false;
    return true;
  }
};

// A multiple of a partial derivative.
struct Partial {
  MultiIndex multi_index;
  double coefficient = 1;
};

namespace detail {

// The channels and terms of a plan in the making.
struct Builder {
  Plan plan;
  MultiIndex channel[kMaxChannels];  // order 0 for the value and for operators
  PlanError error = PlanError::none;

  constexpr void add_term(double coefficient, const Term& term) {
    // Partitions that differ in which equal index goes where give the same product.
    for (int i = plan.terms - 1; i >= 0 && plan.term[i].channel == term.channel; --i) {
      bool same = plan.term[i].order == term.order;
      for (int j = 0; same && j < term.order; ++j) same = plan.term[i].factor[j] == term.factor[j];
      if (same) {
        plan.coefficient[i] += coefficient;
        return;
      }
    }
    if (plan.terms == kMaxTerms) {
      error = PlanError::terms;
      return;
    }
    plan.coefficient[plan.terms] = coefficient;
    plan.term[plan.terms++] = term;
  }

  constexpr void add_seed(double coefficient, int c, int64_t input) {
    if (plan.seeds == kMaxSeeds) {
      error = PlanError::seeds;
      return;
    }
    plan.seed_coefficient[plan.seeds] = coefficient;
    plan.seed[plan.seeds++] = {static_cast<int16_t>(c), static_cast<int16_t>(input)};
  }

  // The nonlinear terms of a partial derivative, added to channel c; or, where c is 0, nothing but
  // the channels that those terms need. One term a set partition of the indices, in the order of
  // restricted growth strings, block[i] <= 1 + max(block[0 .. i - 1]).
  constexpr void add_partitions(const Partial& partial, int c) {
    const MultiIndex& multi_index = partial.multi_index;
    const int n = multi_index.order;
    int block[kMaxOrder]{};
    while (error == PlanError::none) {
      int blocks = 0;
      for (int i = 0; i < n; ++i) blocks = block[i] + 1 > blocks ? block[i] + 1 : blocks;
      if (blocks >= 2) {
        Term term{static_cast<uint8_t>(c), static_cast<uint8_t>(blocks), {}};
        for (int b = 0; b < blocks; ++b) {
          MultiIndex part;
          for (int i = 0; i < n; ++i)
            if (block[i] == b) part.insert(multi_index.index[i]);
          const auto factor = static_cast<uint8_t>(partial_channel(part));
          int at = b;  // factors sorted, so that equal products look equal
          for (; at > 0 && term.factor[at - 1] > factor; --at)
            term.factor[at] = term.factor[at - 1];
          term.factor[at] = factor;
        }
        if (c > 0) add_term(partial.coefficient, term);
      }
      int i = n - 1;  // next restricted growth string
      for (; i > 0; --i) {
        int largest = 0;
        for (int j = 0; j < i; ++j) largest = block[j] > largest ? block[j] : largest;
        if (block[i] <= largest) break;
        block[i] = 0;
      }
      if (i <= 0) break;
      ++block[i];
    }
  }

  // A new channel, the sum of some partial derivatives, after the channels that it needs.
  constexpr int add_channel(const Partial* partial, int64_t count) {
    for (int64_t i = 0; i < count; ++i) add_partitions(partial[i], 0);
    if (plan.channels == kMaxChannels) error = PlanError::channels;
    if (error != PlanError::none) return 0;
    const int c = plan.channels++;
    for (int64_t i = 0; i < count; ++i) {
      const MultiIndex& multi_index = partial[i].multi_index;
      if (multi_index.order > plan.order) plan.order = multi_index.order;
      if (multi_index.order == 1) add_seed(partial[i].coefficient, c, multi_index.index[0]);
      add_partitions(partial[i], c);
    }
    return c;
  }

  // The channel of a partial derivative; makes it where it is missing.
  constexpr int partial_channel(const MultiIndex& multi_index) {
    for (int c = 1; c < plan.channels; ++c)
      if (channel[c] == multi_index) return c;
    const Partial partial{multi_index};
    const int c = add_channel(&partial, 1);
    channel[c] = c > 0 ? multi_index : MultiIndex{};
    return c;
  }
};

}  // namespace detail

// One derivative that is asked for: a partial derivative or, where `is_operator`, a sum of them.
struct Derivative {
  const Partial* partial;
  int64_t partials;
  bool is_operator;
};

// Every partial derivative has 1 to kMaxOrder indices.
constexpr PlanError make_plan(const Derivative* derivatives, int64_t count, int64_t inputs,
                              Plan* plan) {
  detail::Builder builder;
  for (int64_t k = 0; k < count; ++k) {
    const Derivative& derivative = derivatives[k];
    for (int64_t i = 0; i < derivative.partials; ++i) {
      const MultiIndex& multi_index = derivative.partial[i].multi_index;
      for (int j = 0; j < multi_index.order; ++j)
        if (multi_index.index[j] < 0 || multi_index.index[j] >= inputs ||
            multi_index.index[j] > kMaxInput)
          return PlanError::index;
    }
    if (builder.plan.outputs == kMaxOutputs) return PlanError::outputs;
    const int channel = derivative.is_operator
                            ? builder.add_channel(derivative.partial, derivative.partials)
                            : builder.partial_channel(derivative.partial->multi_index);
    if (builder.error != PlanError::none) return builder.error;
    builder.plan.output[builder.plan.outputs++] = static_cast<int16_t>(channel);
  }
  *plan = builder.plan;
  return PlanError::none;
}

}  // namespace pyneural::jet
