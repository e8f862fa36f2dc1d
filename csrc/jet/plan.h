// The arithmetic of one jet: which channels travel through the network, and how an activation
// mixes them. Built once a call on the host; a plain struct, so that a CUDA kernel takes it by
// value.
//
// A channel is one Taylor coefficient (here: one partial derivative) of a layer's values with
// respect to the network's inputs. Channel 0 is the value. A linear layer maps every channel by the
// same matrix; an activation a = f(z) maps them by Faà di Bruno's formula,
//
//   a_0 = f(z_0)
//   a_c = f'(z_0) z_c + sum over the terms of c: coefficient f^(order)(z_0) prod_{j < order}
//   z_{factor[j]}
//
// where the terms run over the set partitions of the derivative's indices into two or more blocks
// (Constantine and Savits 1996, "A multivariate Faà di Bruno formula with applications"). The
// collapsed Laplacian (Li et al. 2023, "Forward Laplacian") is one channel of second order,
// a_L = f'(z_0) z_L + sum_i f''(z_0) z_i^2, whatever the number of inputs.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace pyneural::jet {

constexpr int kMaxOrder = 4;
constexpr int kMaxChannels = 128;
constexpr int kMaxTerms = 1024;
constexpr int kMaxOutputs = 128;

// coefficient * f^(order)(z_0) * z_{factor[0]} * ... * z_{factor[order - 1]}, added to channel
// `channel`.
struct Term {
  uint8_t channel;
  uint8_t order;  // 2 to 4; as many factors
  uint8_t coefficient;
  uint8_t factor[kMaxOrder];
};

struct Plan {
  int channels = 1;               // C, channel 0 is the value
  int terms = 0;                  // nonlinear terms only: f'(z_0) z_c is there for every c >= 1
  int outputs = 1;                // 1 + K: the value and the derivatives asked for
  int order = 0;                  // highest derivative of f that a term or f' z_c needs
  int16_t seed[kMaxChannels]{};   // [C] input d whose first derivative the channel is, else -1
  int16_t output[kMaxOutputs]{};  // [1 + K] channel of each output
  Term term[kMaxTerms]{};         // [terms], ordered by channel
};

enum class PlanError { none, order, index, repeated, malformed, too_many };

namespace detail {

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

struct Builder {
  Plan plan;
  MultiIndex channel[kMaxChannels];  // order 0 for the value and for Laplacians
  PlanError error = PlanError::none;

  constexpr void add_term(const Term& term) {
    // Partitions that differ in which equal index goes where give the same product: count them.
    for (int i = plan.terms - 1; i >= 0 && plan.term[i].channel == term.channel; --i) {
      bool same = plan.term[i].order == term.order;
      for (int j = 0; same && j < term.order; ++j) same = plan.term[i].factor[j] == term.factor[j];
      if (same) {
        ++plan.term[i].coefficient;
        return;
      }
    }
    if (plan.terms == kMaxTerms) {
      error = PlanError::too_many;
      return;
    }
    plan.term[plan.terms++] = term;
  }

  constexpr int add_channel(const MultiIndex& multi_index, int order) {
    if (plan.channels == kMaxChannels) {
      error = PlanError::too_many;
      return 0;
    }
    const int c = plan.channels++;
    channel[c] = multi_index;
    plan.seed[c] = multi_index.order == 1 ? static_cast<int16_t>(multi_index.index[0]) : -1;
    if (order > plan.order) plan.order = order;
    return c;
  }

  // The channel of a partial derivative; makes it, and those that its terms need, where missing.
  constexpr int partial(const MultiIndex& multi_index) {
    for (int c = 1; c < plan.channels; ++c)
      if (channel[c] == multi_index) return c;
    const int n = multi_index.order;
    // Set partitions as restricted growth strings: block[i] <= 1 + max(block[0 .. i - 1]). First
    // every block's own channel is made, then the terms, so that terms of a channel stay together.
    for (const bool making_terms : {false, true}) {
      int c = 0;
      if (making_terms) c = add_channel(multi_index, n);
      int block[kMaxOrder]{};
      while (error == PlanError::none) {
        int blocks = 0;
        for (int i = 0; i < n; ++i) blocks = block[i] + 1 > blocks ? block[i] + 1 : blocks;
        if (blocks >= 2) {
          Term term{static_cast<uint8_t>(c), static_cast<uint8_t>(blocks), 1, {}};
          for (int b = 0; b < blocks; ++b) {
            MultiIndex part;
            for (int i = 0; i < n; ++i)
              if (block[i] == b) part.insert(multi_index.index[i]);
            const auto factor = static_cast<uint8_t>(partial(part));
            int at = b;  // factors sorted, so that equal products look equal
            for (; at > 0 && term.factor[at - 1] > factor; --at)
              term.factor[at] = term.factor[at - 1];
            term.factor[at] = factor;
          }
          if (making_terms) add_term(term);
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
      if (making_terms) return c;
    }
    return 0;
  }

  constexpr int laplacian(const int64_t* index, int64_t count) {
    int first[kMaxChannels]{};
    if (count > kMaxChannels) error = PlanError::too_many;
    for (int64_t i = 0; i < count && error == PlanError::none; ++i) {
      for (int64_t j = 0; j < i; ++j)
        if (index[i] == index[j]) error = PlanError::repeated;
      MultiIndex multi_index;
      multi_index.insert(index[i]);
      first[i] = partial(multi_index);
    }
    if (error != PlanError::none) return 0;
    const int c = add_channel({}, 2);
    for (int64_t i = 0; i < count; ++i) {
      const auto factor = static_cast<uint8_t>(first[i]);
      add_term({static_cast<uint8_t>(c), 2, 1, {factor, factor}});
    }
    return c;
  }
};

}  // namespace detail

// `derivatives` is flat: for each derivative its order and its input indices, (1, 1) -> 2, 1, 1;
// a Laplacian as minus its number of indices and them, Laplacian(1, 2) -> -2, 1, 2.
constexpr PlanError make_plan(const int64_t* derivatives, int64_t length, int64_t inputs,
                              Plan* plan) {
  detail::Builder builder;
  builder.plan.seed[0] = -1;
  for (int64_t at = 0; at < length;) {
    const int64_t order = derivatives[at++];
    const int64_t count = order < 0 ? -order : order;
    if (order > kMaxOrder) return PlanError::order;
    if (count == 0 || count > length - at) return PlanError::malformed;
    for (int64_t i = 0; i < count; ++i)
      if (derivatives[at + i] < 0 || derivatives[at + i] >= inputs ||
          derivatives[at + i] > INT16_MAX)
        return PlanError::index;
    if (builder.plan.outputs == kMaxOutputs) return PlanError::too_many;
    int channel = 0;
    if (order < 0) {
      channel = builder.laplacian(derivatives + at, count);
    } else {
      detail::MultiIndex multi_index;
      for (int64_t i = 0; i < count; ++i) multi_index.insert(derivatives[at + i]);
      channel = builder.partial(multi_index);
    }
    if (builder.error != PlanError::none) return builder.error;
    builder.plan.output[builder.plan.outputs++] = static_cast<int16_t>(channel);
    at += count;
  }
  *plan = builder.plan;
  return PlanError::none;
}

}  // namespace pyneural::jet
