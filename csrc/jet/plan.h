// The arithmetic of one jet: which channels travel through the network, and how an activation
// mixes them. Built once a call on the host from the derivatives asked for; a plain struct, so that
// a CUDA kernel takes it by value.
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

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "../common/activation.h"

namespace pyneural::jet {

// Derivatives as they come from Python, pyneural/ops/jet/derivatives.py: for each its order n and n
// input indices or, for a linear operator of m partial derivatives, -m and then the order and the
// indices of each. The operators' coefficients are in a list of their own.
//
//   1 0   2 1 1   -2 1 0 2 1 1   with 1, -0.5     u_t;  u_xx;  u_t - u_xx / 2,  of x = (t, x)
struct DerivativeList {
  std::span<const int64_t> indices;
  std::span<const double> coefficients;
};

constexpr int kMaxOrder = 4;
constexpr int kMaxChannels = 128;
constexpr int kMaxSeeds = 256;
constexpr int kMaxTerms = 1024;
constexpr int kMaxOutputs = 128;
constexpr int64_t kMaxInput = INT16_MAX;  // the last input that derivatives may be taken for

// coefficient f^(order)(z_0) z_{factor[0]} ... z_{factor[order - 1]}, added to channel `channel`.
struct Term {
  uint8_t channel;
  uint8_t order;              // 2 to 4; as many factors
  uint8_t factor[kMaxOrder];  // unused places are 0

  bool operator==(const Term&) const = default;
};

// coefficient * d/dx_input in channel `channel`.
struct Seed {
  int16_t channel, input;
};

// Elements beyond the counts are undefined: to clear 18 KB shows in small calls.
struct Plan {
  int channels = 1;               // C, channel 0 is the value
  int seeds = 0;                  // what the first derivatives of the inputs are made of
  int terms = 0;                  // nonlinear terms only: f'(z_0) z_c is there for every c >= 1
  int outputs = 1;                // 1 + K: the value and the derivatives asked for
  int order = 0;                  // highest derivative of f that a term or f' z_c needs
  int16_t output[kMaxOutputs]{};  // [1 + K] channel of each output
  Seed seed[kMaxSeeds];           // [seeds], ordered by channel
  Term term[kMaxTerms];           // [terms], ordered by channel
  double seed_coefficient[kMaxSeeds];
  double coefficient[kMaxTerms];  // of the terms

  // Derivative of input d in channel c >= 1: the same at every point.
  template <class T>
  PYNEURAL_INLINE T direction(int64_t c, int64_t d) const {
    T sum = 0;
    for (int s = 0; s < seeds; ++s)
      if (seed[s].channel == c && seed[s].input == d) sum += static_cast<T>(seed_coefficient[s]);
    return sum;
  }
};

// What is wrong with the derivatives, or which limit they exceed, and the value that shows it.
struct PlanError {
  enum Kind {
    none,
    truncated,
    order,
    coefficients,
    not_finite,
    index,
    outputs,
    channels,
    terms,
    seeds
  } kind = none;
  int64_t got = 0;
};

// A partial derivative as its sorted input indices.
struct MultiIndex {
  int order = 0;
  int64_t index[kMaxOrder]{};

  void insert(int64_t value) {
    int at = order++;
    for (; at > 0 && index[at - 1] > value; --at) index[at] = index[at - 1];
    index[at] = value;
  }
  bool operator==(const MultiIndex&) const = default;  // unused places are 0
};

// The order of tuples in Python.
inline bool operator<(const MultiIndex& a, const MultiIndex& b) {
  return std::lexicographical_compare(a.index, a.index + a.order, b.index, b.index + b.order);
}

// A multiple of a partial derivative.
struct Partial {
  MultiIndex multi_index;
  double coefficient = 1;

  bool operator==(const Partial&) const = default;
};

namespace detail {

// Takes one derivative after the other from the front of the lists.
struct DerivativeReader {
  DerivativeList rest;
  int64_t inputs;
  PlanError error{};

  bool fail(PlanError::Kind kind, int64_t got) {
    error = {kind, got};
    return false;
  }

  // The partial derivatives that the next one is a sum of.
  bool next(std::vector<Partial>* partials, bool* is_operator) {
    *is_operator = rest.indices.front() < 0;
    int64_t count = 1;
    if (*is_operator) {
      // A partial derivative takes at least two elements; -count might overflow before that is
      // known.
      const int64_t left = static_cast<int64_t>(rest.indices.size());
      if (rest.indices.front() < -left / 2) return fail(PlanError::truncated, left);
      count = -rest.indices.front();
      rest.indices = rest.indices.subspan(1);
      if (count > static_cast<int64_t>(rest.coefficients.size()))
        return fail(PlanError::coefficients, static_cast<int64_t>(rest.coefficients.size()));
    }
    partials->clear();
    for (int64_t i = 0; i < count; ++i) {
      Partial partial;
      if (!next_multi_index(&partial.multi_index)) return false;
      if (*is_operator) {
        partial.coefficient = rest.coefficients.front();
        rest.coefficients = rest.coefficients.subspan(1);
      }
      partials->push_back(partial);
    }
    return !*is_operator || join_equal(partials);
  }

  // As LinearOperator in Python holds them: sorted, each partial derivative once.
  bool join_equal(std::vector<Partial>* partials) {
    std::stable_sort(partials->begin(), partials->end(), [](const Partial& a, const Partial& b) {
      return a.multi_index < b.multi_index;
    });
    size_t last = 0;
    for (size_t i = 1; i < partials->size(); ++i) {
      if ((*partials)[i].multi_index == (*partials)[last].multi_index)
        (*partials)[last].coefficient += (*partials)[i].coefficient;
      else
        (*partials)[++last] = (*partials)[i];
    }
    partials->resize(last + 1);
    for (const Partial& partial : *partials)
      if (!std::isfinite(partial.coefficient)) return fail(PlanError::not_finite, 0);
    return true;
  }

  bool next_multi_index(MultiIndex* multi_index) {
    if (rest.indices.empty()) return fail(PlanError::truncated, 0);
    const int64_t order = rest.indices.front(), left = rest.indices.size() - 1;
    if (order < 1 || order > kMaxOrder) return fail(PlanError::order, order);
    if (order > left) return fail(PlanError::truncated, left);
    for (const int64_t index : rest.indices.subspan(1, order)) {
      if (index < 0 || index >= inputs || index > kMaxInput) return fail(PlanError::index, index);
      multi_index->insert(index);
    }
    rest.indices = rest.indices.subspan(1 + order);
    return true;
  }
};

// The channels and terms of a plan in the making.
struct PlanBuilder {
  Plan& plan;
  MultiIndex channel[kMaxChannels]{};  // order 0 for the value and for operators
  std::vector<std::pair<std::vector<Partial>, int>> operators{};  // each with its channel
  PlanError::Kind error = PlanError::none;

  void add_term(double coefficient, const Term& term) {
    // Partitions that differ in which equal index goes where give the same product.
    for (int i = plan.terms - 1; i >= 0 && plan.term[i].channel == term.channel; --i) {
      if (plan.term[i] == term) {
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

  void add_seed(double coefficient, int c, int64_t input) {
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
  void add_partitions(const Partial& partial, int c) {
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
  int add_channel(std::span<const Partial> partials) {
    for (const Partial& partial : partials) add_partitions(partial, 0);
    if (plan.channels == kMaxChannels) error = PlanError::channels;
    if (error != PlanError::none) return 0;
    const int c = plan.channels++;
    for (const Partial& partial : partials) {
      const MultiIndex& multi_index = partial.multi_index;
      if (multi_index.order > plan.order) plan.order = multi_index.order;
      if (multi_index.order == 1) add_seed(partial.coefficient, c, multi_index.index[0]);
      add_partitions(partial, c);
    }
    return c;
  }

  // The channel of a partial derivative; makes it where it is missing.
  int partial_channel(const MultiIndex& multi_index) {
    for (int c = 1; c < plan.channels; ++c)
      if (channel[c] == multi_index) return c;
    const Partial partial{multi_index};
    const int c = add_channel({&partial, 1});
    channel[c] = c > 0 ? multi_index : MultiIndex{};
    return c;
  }

  // The same of a linear operator.
  int operator_channel(const std::vector<Partial>& partials) {
    for (const auto& [known, c] : operators)
      if (known == partials) return c;
    const int c = add_channel(partials);
    operators.emplace_back(partials, c);
    return c;
  }
};

}  // namespace detail

// *plan, as constructed, becomes that of the derivatives with respect to `inputs` inputs.
inline PlanError make_plan(const DerivativeList& derivatives, int64_t inputs, Plan* plan) {
  detail::DerivativeReader reader{derivatives, inputs};
  detail::PlanBuilder builder{*plan};
  std::vector<Partial> partials;
  for (bool is_operator = false; !reader.rest.indices.empty();) {
    if (!reader.next(&partials, &is_operator)) return reader.error;
    if (plan->outputs == kMaxOutputs) return {PlanError::outputs, plan->outputs};
    const int channel = is_operator ? builder.operator_channel(partials)
                                    : builder.partial_channel(partials[0].multi_index);
    if (builder.error != PlanError::none) return {builder.error, 0};
    plan->output[plan->outputs++] = static_cast<int16_t>(channel);
  }
  if (const auto left = static_cast<int64_t>(reader.rest.coefficients.size()); left > 0)
    return {PlanError::coefficients, left};
  return {};
}

}  // namespace pyneural::jet
