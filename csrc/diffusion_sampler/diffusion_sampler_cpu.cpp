// The whole loop of a sampler on the CPU.
//
// Blocks of rows go through all steps one by one, some of them at a time taken by the next thread
// that is free: noise is a function of the row and of the step, and nothing depends on who computes
// it. Weights are packed once.
#include <ATen/ops/add.h>
#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/parallel.h"
#include "../common/results.h"
#include "block.h"

namespace pyneural::diffusion_sampler {
namespace {

constexpr int64_t kTasksPerThread = 16;

int64_t threads_for(const Sampler& sampler, int64_t blocks) {
  const double evaluations = static_cast<double>(sampler.rows) * static_cast<double>(sampler.steps);
  return std::min(blocks, useful_threads(evaluations * static_cast<double>(sampler.parameters)));
}

template <class T>
Plan<T> make_plan(const Sampler& sampler, const Arguments& a, const at::Tensor& biases,
                  const at::Tensor& coefficients, Scratch& scratch) {
  mlp::Network network{sampler};
  network.width[0] = sampler.features;
  network.hidden = sampler.activation;
  std::vector<at::Tensor> weights = a.weights.vec();
  weights[0] = weights[0].narrow(1, 0, sampler.features);
  Plan<T> plan{sampler,
               mlp::make_layers<T>(scratch, network, weights, a.biases, false),
               {},
               biases.const_data_ptr<T>(),
               coefficients.const_data_ptr<T>(),
               static_cast<uint64_t>(a.seed.item<int64_t>())};
  if (a.condition) {
    const int64_t columns = sampler.condition, outputs = sampler.width[1];
    const at::Tensor of_condition = a.weights[0].narrow(1, sampler.features, columns).contiguous();
    plan.of_condition.emplace(Strided<T>{of_condition.const_data_ptr<T>(), columns, 1}, outputs,
                              columns, scratch.take<T>(PackedMatrix<T>::storage(outputs, columns)));
  }
  return plan;
}

at::Tensor diffusion_sampler(const Arguments& a) {
  const Sampler sampler = check_diffusion_sampler(a);
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x);
  if (sampler.rows == 0) return y;
  const at::Tensor x = a.x.contiguous(), coefficients = a.coefficients.contiguous(),
                   biases = at::add(a.shifts, a.biases[0]).contiguous(),
                   condition = a.condition ? a.condition->contiguous() : at::Tensor();
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    Scratch scratch;
    const Plan<T> plan = make_plan<T>(sampler, a, biases, coefficients, scratch);
    const T* const from = x.const_data_ptr<T>();
    // Not null where a condition has no columns.
    const T* const given = a.condition ? condition.const_data_ptr<T>() : nullptr;
    T* const to = y.data_ptr<T>();
    const int64_t size = Block<T>::rows(), blocks = (sampler.rows + size - 1) / size,
                  threads = threads_for(sampler, blocks),
                  tasks = std::min(blocks, threads * kTasksPerThread);
    parallel_tasks(tasks, threads, [&](int64_t task) {
      Block<T> block(plan);
      for (int64_t i = task * blocks / tasks; i < (task + 1) * blocks / tasks; ++i) {
        const int64_t first = i * size;
        block.run(from + first * sampler.features,
                  given ? given + first * sampler.condition : nullptr, first,
                  std::min(size, sampler.rows - first), to + first * sampler.features);
      }
    });
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("diffusion_sampler", FlatOp<diffusion_sampler, Signature<at::Tensor>>::call);
}

}  // namespace pyneural::diffusion_sampler
