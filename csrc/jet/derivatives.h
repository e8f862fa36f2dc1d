// The derivatives that a call asks for, as text: what Python's ops/derivatives.py writes.
//
// "0; 1 1; 1.0*0, -0.5*1 1" for x = (t, x) is u_t; u_xx; and the operator u_t - u_xx / 2: input
// indices, and the multiples of such that make a sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "plan.h"
#include "text.h"

namespace pyneural::jet {

enum class DerivativesError { none, malformed, order };

class Derivatives {
 public:
  DerivativesError parse(std::string_view text) {
    while (!text.empty()) {
      const bool more = text.find(';') != std::string_view::npos;
      std::string_view derivative = take_until(';', &text);
      if (more && text.empty()) return DerivativesError::malformed;
      const bool is_operator = derivative.find('*') != std::string_view::npos;
      std::vector<Partial>& partials = partials_.emplace_back();
      do {
        const bool more_parts = derivative.find(',') != std::string_view::npos;
        std::string_view part = take_until(',', &derivative);
        if (more_parts && derivative.empty()) return DerivativesError::malformed;
        Partial partial;
        if (is_operator) {
          std::string_view factor = take_until('*', &part);
          if (!read_number(take_word(&factor), &partial.coefficient) ||
              !std::isfinite(partial.coefficient) || !take_word(&factor).empty())
            return DerivativesError::malformed;
        }
        for (auto word = take_word(&part); !word.empty(); word = take_word(&part)) {
          int64_t index = 0;
          if (!read_number(word, &index)) return DerivativesError::malformed;
          if (partial.multi_index.order == kMaxOrder) return DerivativesError::order;
          partial.multi_index.insert(index);
        }
        if (partial.multi_index.order == 0 || (!is_operator && !derivative.empty()))
          return DerivativesError::malformed;
        partials.push_back(partial);
      } while (!derivative.empty());
      list_.push_back({partials.data(), static_cast<int64_t>(partials.size()), is_operator});
    }
    return DerivativesError::none;
  }

  const std::vector<Derivative>& list() const { return list_; }

 private:
  std::deque<std::vector<Partial>> partials_;  // a deque: its elements stay where they are
  std::vector<Derivative> list_;
};

}  // namespace pyneural::jet
