// What most of the CPU kernels include from torch: compiled ahead once for each instruction set,
// since its headers take half of a compilation. Sources include what they use all the same.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>
