// Tile shapes of attention for an element type, a row width and a device.
#pragma once

#include "attention_tile.cuh"

namespace pyneural::attention::cuda {

template <class T>
constexpr bool kIsHalf = sizeof(T) == 2;

// Columns of a tile in shared memory: the narrower tiles fit a block of every device from sm_80 on,
// sm_86 and sm_89 with 99 KiB included. Of double there are no others: they would not fit the
// registers.
template <class T>
constexpr int kNarrow = sizeof(T) == 8 ? 32 : 64;
template <class T>
constexpr int kWide = sizeof(T) == 8 ? kNarrow<T> : 2 * kNarrow<T>;
constexpr int kLeastShared = 99 << 10;

template <class T, int width>
using ForwardShape = Shape<T, width, kIsHalf<T> ? 64 : 32, 4>;
template <class T, int width>
using BackwardShape = Shape<T, width, kIsHalf<T> && width <= 64 ? 64 : 32, 4>;

// Of a block: Shared, and what a float mask adds in two stages if it is kept.
template <class Shared>
constexpr size_t shared_bytes(bool keeps_added) {
  return sizeof(Shared) + (keeps_added ? 2 * sizeof(typename Shared::Masks::Added) : 0);
}

// launch(shape, params, bytes of shared memory) with the wider shape where a row is longer than the
// narrower one, and where its tiles, Shared, fit the device; params.keeps_added is set.
template <template <class, int> class ShapeOf, template <class> class Shared, class T, class Launch>
cudaError_t with_shape(const AttentionParams<T>& params, const Launch& launch) {
  using Narrow = ShapeOf<T, kNarrow<T>>;
  using Wide = ShapeOf<T, kWide<T>>;
  static_assert(sizeof(Shared<Narrow>) <= kLeastShared);
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  const auto room = static_cast<size_t>(device.shared_bytes);
  const auto launch_shape = [&](auto shape) {
    using OfShape = Shared<decltype(shape)>;
    AttentionParams<T> own = params;
    own.keeps_added = params.added && shared_bytes<OfShape>(true) <= room;
    return launch(shape, own, shared_bytes<OfShape>(own.keeps_added));
  };
  const bool is_narrow = params.width <= kNarrow<T> && params.value_width <= kNarrow<T>;
  return is_narrow || sizeof(Shared<Wide>) > room ? launch_shape(Narrow{}) : launch_shape(Wide{});
}

}  // namespace pyneural::attention::cuda
