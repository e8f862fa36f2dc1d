// Residual equations as a program, which comes from Python, pyneural/ops/jet/residual.py, as a list
// of whole numbers, three for each instruction: its opcode and two operands a, b. All but
// `residual` define the next value, numbered from 0.
//
//   residual a       value a is an equation a = 0     coefficient a   element a of the coefficients
//   constant a       element a of the constants       input a         coordinate a of x
//   channel a b      derivative a (0: the value) of output b
//   column a         element n of row a of the columns, at point n
//   the functions of residual_functions.h, of values a and b
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "residual_functions.h"

namespace pyneural::jet {

struct Instruction {
  int64_t opcode, a, b;
};

struct ResidualProgram {
  std::vector<Instruction> values;  // one a value
  std::vector<int64_t> residuals;   // values that are equations
  std::span<const double> constants;
};

// What the indices of a program may run over. inputs: 0 where x is a jet of the inputs.
struct ResidualLimits {
  int64_t channels, outputs, inputs, coefficients, columns;
};

// False, with what is wrong in `error`, where the list is no program within the limits.
inline bool read_residual(std::span<const int64_t> list, std::span<const double> constants,
                          const ResidualLimits& limits, ResidualProgram* program,
                          std::string* error) {
  constexpr size_t kLength = 3;
  if (list.size() % kLength != 0) {
    *error = "expected three whole numbers for each instruction, got " +
             std::to_string(list.size()) + " numbers";
    return false;
  }
  program->constants = constants;
  const auto within = [](int64_t index, size_t size) {
    return index >= 0 && index < static_cast<int64_t>(size);
  };
  for (; !list.empty(); list = list.subspan(kLength)) {
    Instruction in{list[0], list[1], list[2]};
    const size_t defined = program->values.size();
    std::string_view name;
    const char* expected = nullptr;  // null where all is well
    const auto require = [&](std::string_view instruction, bool is_met, const char* condition) {
      name = instruction;
      if (!is_met) expected = condition;
    };
    if (in.opcode == kResidual) {
      require("residual", within(in.a, defined), "a value that is defined before");
    } else if (in.opcode == kConstant) {
      require("constant", within(in.a, constants.size()), "a constant that is given");
    } else if (in.opcode == kCoefficient) {
      require("coefficient", within(in.a, limits.coefficients), "a coefficient that is given");
    } else if (in.opcode == kInput) {
      require("input", within(in.a, limits.inputs),
              limits.inputs > 0
                  ? "an input that x has"
                  : "columns for the coordinates, since x is a jet of the network's inputs");
    } else if (in.opcode == kColumn) {
      require("column", within(in.a, limits.columns), "a column that is given");
    } else if (in.opcode == kChannel) {
      require("channel", within(in.a, limits.channels) && within(in.b, limits.outputs),
              "a derivative and an output that the call has");
    } else {
      const bool is_known = visit_residual_function(in.opcode, [&](const auto& function) {
        constexpr bool is_binary = std::decay_t<decltype(function)>::kOperands == 2;
        if (!is_binary) in.b = in.a;  // so that both may be read
        require(function.name, within(in.a, defined) && within(in.b, defined),
                "values that are defined before");
      });
      if (!is_known) require("opcode", false, "an opcode of the residual functions");
    }
    if (expected) {
      *error = std::string("expected ") + expected + ", got \"" + std::string(name);
      if (name == "opcode") *error += " " + std::to_string(in.opcode);
      *error += " " + std::to_string(list[1]) + " " + std::to_string(list[2]) + "\"";
      return false;
    }
    if (in.opcode == kResidual)
      program->residuals.push_back(in.a);
    else
      program->values.push_back(in);
  }
  if (program->residuals.empty()) *error = "expected at least one residual, got none";
  return !program->residuals.empty();
}

}  // namespace pyneural::jet
