// A residual program as a kernel reads it from memory: a step of 16 bytes for each value, then the
// residuals, 8 bytes each.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "plan.h"
#include "residual.h"

namespace pyneural::jet {

struct alignas(16) ResidualStep {
  int32_t opcode, a;  // as in residual.h; of a channel its number in the plan
  int64_t b;          // of a constant the bits of its value
};

// The words of the steps and the residuals.
inline std::vector<int64_t> residual_words(const ResidualProgram& program, const Plan& plan) {
  std::vector<int64_t> words;
  words.reserve(2 * program.values.size() + program.residuals.size());
  for (const Instruction& in : program.values) {
    ResidualStep step{static_cast<int32_t>(in.opcode), static_cast<int32_t>(in.a), in.b};
    if (in.opcode == kConstant) step.b = std::bit_cast<int64_t>(program.constants[in.a]);
    if (in.opcode == kChannel) step.a = plan.output[in.a];
    for (const int64_t word : std::bit_cast<std::array<int64_t, 2>>(step)) words.push_back(word);
  }
  words.insert(words.end(), program.residuals.begin(), program.residuals.end());
  return words;
}

}  // namespace pyneural::jet
