// The monotonic rational-quadratic spline (Gregory and Delbourgo 1982; Durkan et al. 2019) at one
// point, for V a vector of points on the host or a scalar on the device.
//
// Letters: K bins from -B to B. Of a point's bin: x0, y0 its lower left knot, w and h its width and
// height, s = h / w its mean slope, d0 and d1 the derivatives at its knots. With z = (x - x0) / w:
//
//   t = N / D,  N = s z^2 + d0 z (1 - z),  D = s (z^2 + (1 - z)^2) + (d0 + d1) z (1 - z)
//   y = y0 + h t,  dy/dx = M (s / D)^2,  M = d1 z^2 + 2 s z (1 - z) + d0 (1 - z)^2
//
// No term is negative for 0 <= z <= 1, so that no sum cancels.
//
// A parameter c counts as c / (1 + |c| / L) < L. Those of a point: K of widths, K of heights and
// K - 1 of derivatives, `stride` elements apart.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "../common/activation.h"

namespace pyneural::spline {

template <class T>
struct Spline {
  int64_t bins = 1;  // K
  T bound = 1;       // B
  T per_limit = 0;   // 1 / L of derivatives, and half of it of widths and heights
  bool inverse = false;
};

template <class T>
Spline<T> make_spline(int64_t bins, double bound, double slope, bool inverse) {
  return {bins, static_cast<T>(bound), static_cast<T>(-1 / std::log(slope)), inverse};
}

namespace detail {

template <class V>
PYNEURAL_INLINE V sqrt(V v) {
  if constexpr (std::is_floating_point_v<V>)
    return std::sqrt(v);
  else
    return v.sqrt();
}
template <class V>
PYNEURAL_INLINE V log(V v) {
  if constexpr (std::is_floating_point_v<V>)
    return std::log(v);
  else
    return v.log();
}
template <class V>
PYNEURAL_INLINE V abs(V v) {
  return Math<V>::where_positive(v, v, V(0) - v);
}
// Whether a >= b decides.
template <class V>
PYNEURAL_INLINE V where_at_least(V a, V b, V yes, V no) {
  return Math<V>::where_at_most_0(b - a, yes, no);
}
template <class V>
PYNEURAL_INLINE V at_most_1(V v) {
  return where_at_least(V(1), v, v, V(1));
}

// 1 / (1 + |c| / L), which squared is the slope of c / (1 + |c| / L).
template <class V>
PYNEURAL_INLINE V limit_factor(V c, V per_limit) {
  return V(1) / (V(1) + abs(c) * per_limit);
}
template <class V>
PYNEURAL_INLINE V exp_limited(V c, V per_limit) {
  return Math<V>::exp(c * limit_factor(c, per_limit));
}

// A sum with the rounding error of the last addition (Kahan 1965): in float32, knots are as exact
// as torch's, whose cumsum is in double precision.
template <class V>
struct Sum {
  PYNEURAL_INLINE void add(V v) {
    const V term = v - error, next = value + term;
    error = (next - value) - term;
    value = next;
  }

  V value{0}, error{0};
};

}  // namespace detail

// Whether a point is inside the bound; NaN is not.
template <class V, class T>
PYNEURAL_INLINE V where_inside(const Spline<T>& spline, V point, V inside, V outside) {
  return detail::where_at_least(V(spline.bound), detail::abs(point), inside, outside);
}

template <class V>
struct Bin {
  V x0, y0, w, h, d0, d1;
  V s;
  V k;                     // its index
  V c0, c1;                // the parameters of d0 and d1; 0 at -B and B, where the derivative is 1
  V w_share, h_share;      // w / 2 B and h / 2 B
  V per_w_sum, per_h_sum;  // of the exponentials
};

// The bin of a point inside the bound: an x, or a y for the inverse. Of the exponentials of widths
// and heights, [2 K], `stride` apart, is made what is read here; they may be in the parameters'
// place.
template <class V, class T>
PYNEURAL_INLINE Bin<V> find_bin(const Spline<T>& spline, V point, const T* parameters,
                                T* exponentials, int64_t stride) {
  using M = Math<V>;
  const int64_t K = spline.bins;
  const V per_limit(spline.per_limit), per_size_limit(T(2) * spline.per_limit);
  const V bound(spline.bound);
  const T *const widths = exponentials, *const heights = exponentials + K * stride;
  const T* const derivatives = parameters + 2 * K * stride;
  detail::Sum<V> w_sum, h_sum;
  for (int64_t k = 0; k < K; ++k) {
    const V w = detail::exp_limited(M::load(parameters + k * stride), per_size_limit);
    const V h = detail::exp_limited(M::load(parameters + (K + k) * stride), per_size_limit);
    M::store(w, exponentials + k * stride);
    M::store(h, exponentials + (K + k) * stride);
    w_sum.add(w);
    h_sum.add(h);
  }
  Bin<V> bin;
  bin.per_w_sum = V(1) / w_sum.value;
  bin.per_h_sum = V(1) / h_sum.value;
  const V w_scale = (bound + bound) / w_sum.value, h_scale = (bound + bound) / h_sum.value;
  bin.x0 = bin.y0 = V(0) - bound;
  bin.w = M::load(widths);
  bin.h = M::load(heights);
  bin.k = bin.c0 = V(0);
  bin.c1 = K > 1 ? M::load(derivatives) : V(0);
  detail::Sum<V> left{bin.w}, bottom{bin.h};  // of bin k, from -B and without the scale
  for (int64_t k = 1; k < K; ++k) {
    const V x0 = left.value * w_scale - bound, y0 = bottom.value * h_scale - bound;
    const V w = M::load(widths + k * stride), h = M::load(heights + k * stride);
    const V c0 = M::load(derivatives + (k - 1) * stride);
    const V c1 = k + 1 < K ? M::load(derivatives + k * stride) : V(0);
    const V beyond = point - (spline.inverse ? y0 : x0);
    bin.x0 = M::where_positive(beyond, x0, bin.x0);
    bin.y0 = M::where_positive(beyond, y0, bin.y0);
    bin.w = M::where_positive(beyond, w, bin.w);
    bin.h = M::where_positive(beyond, h, bin.h);
    bin.c0 = M::where_positive(beyond, c0, bin.c0);
    bin.c1 = M::where_positive(beyond, c1, bin.c1);
    bin.k = M::where_positive(beyond, V(static_cast<T>(k)), bin.k);
    left.add(w);
    bottom.add(h);
  }
  bin.w_share = bin.w / w_sum.value;  // exactly 1 of a single bin
  bin.h_share = bin.h / h_sum.value;
  bin.w = (bound + bound) * bin.w_share;
  bin.h = (bound + bound) * bin.h_share;
  bin.s = bin.h / bin.w;
  bin.d0 = detail::exp_limited(bin.c0, per_limit);
  bin.d1 = detail::exp_limited(bin.c1, per_limit);
  return bin;
}

// z at which the bin has risen by the share t: the root of a quadratic equation for z, or for 1 - z
// where d1 counts more than d0 at t, so that all terms are positive and none cancels.
template <class V>
PYNEURAL_INLINE V root(const Bin<V>& bin, V t) {
  const V s = bin.s, rest = V(1) - t;
  const V u = bin.d0 * rest - bin.d1 * t;
  const V near = (s + s) * detail::where_at_least(u, V(0), t, rest);
  const V far = detail::abs(u) + detail::sqrt(u * u + V(4) * s * s * t * rest);
  return detail::where_at_least(u, V(0), near, far) / (near + far);
}

// The curve of a bin at z.
template <class V>
struct Curve {
  PYNEURAL_INLINE Curve(const Bin<V>& bin, V z)
      : z(z),
        z2(z * z),
        rest2((V(1) - z) * (V(1) - z)),
        both(z * (V(1) - z)),
        per_D(V(1) / (bin.s * (z2 + rest2) + (bin.d0 + bin.d1) * both)),
        M(bin.d1 * z2 + V(2) * bin.s * both + bin.d0 * rest2),
        t((bin.s * z2 + bin.d0 * both) * per_D) {}

  PYNEURAL_INLINE V slope(const Bin<V>& bin) const {
    const V ratio = bin.s * per_D;
    return M * (ratio * ratio);
  }

  V z, z2, rest2, both;  // z, z^2, (1 - z)^2, z (1 - z)
  V per_D, M, t;
};

template <class V, class T>
PYNEURAL_INLINE Curve<V> curve_at(const Spline<T>& spline, const Bin<V>& bin, V point) {
  using detail::at_most_1;  // which rounding may pass
  const V z = spline.inverse ? root(bin, at_most_1((point - bin.y0) / bin.h))
                             : at_most_1((point - bin.x0) / bin.w);
  return Curve<V>(bin, z);
}

// y and log(dy/dx) at x, or x and log(dx/dy) at y.
template <class V>
struct Values {
  V y, ladj;
};
template <class V, class T>
PYNEURAL_INLINE Values<V> evaluate(const Spline<T>& spline, V x, const T* parameters,
                                   T* exponentials, int64_t stride) {
  const V point = where_inside(spline, x, x, V(0));  // finite where it does not count
  const Bin<V> bin = find_bin(spline, point, parameters, exponentials, stride);
  const Curve<V> curve = curve_at(spline, bin, point);
  const V log_slope = detail::log(curve.slope(bin));
  const V y = spline.inverse ? bin.x0 + bin.w * curve.z : bin.y0 + bin.h * curve.t;
  return {where_inside(spline, x, y, x),
          where_inside(spline, x, spline.inverse ? V(0) - log_slope : log_slope, V(0))};
}

// The gradient for x, which is returned, and those for the parameters, which take their place.
template <class V, class T>
PYNEURAL_INLINE V differentiate(const Spline<T>& spline, V x, V grad_y, V grad_ladj, T* parameters,
                                T* exponentials, int64_t stride) {
  using M = Math<V>;
  const int64_t K = spline.bins;
  const V point = where_inside(spline, x, x, V(0));
  const Bin<V> bin = find_bin(spline, point, parameters, exponentials, stride);
  const Curve<V> curve = curve_at(spline, bin, point);
  const V z = curve.z, both = curve.both, s = bin.s, per_D = curve.per_D, t = curve.t;
  const V per_w = V(1) / bin.w, per_M = V(1) / curve.M, slope = curve.slope(bin);
  const V turn = V(1) - (z + z);  // the derivative of z (1 - z)
  const V ladj_z = V(2) * (bin.d1 * z + s * turn - bin.d0 * (V(1) - z)) * per_M -
                   V(2) * turn * (bin.d0 + bin.d1 - (s + s)) * per_D;

  // The inverse is x with f(x) = y, so that dx = (dy - df) / f', where df is what parameters change
  // at the same x; its ladj is -log f'(x).
  const V by_x = (grad_y - grad_ladj * ladj_z * per_w) / slope;
  const V of_x = spline.inverse ? by_x : grad_y * slope + grad_ladj * ladj_z * per_w;
  const V of_y = where_inside(spline, x, spline.inverse ? V(0) - by_x : grad_y, V(0));
  const V of_ladj = where_inside(spline, x, spline.inverse ? V(0) - grad_ladj : grad_ladj, V(0));

  const V of_t = of_y * bin.h, scaled = of_t * both * per_D;
  const V of_z = of_y * bin.w * slope + of_ladj * ladj_z;
  const V of_s = scaled * per_D * (bin.d1 * curve.z2 - bin.d0 * curve.rest2) +
                 V(2) * of_ladj * (both * per_M + V(1) / s - (curve.z2 + curve.rest2) * per_D);
  const V of_d0 = scaled * (V(1) - t) + of_ladj * (curve.rest2 * per_M - (both + both) * per_D);
  const V of_d1 = of_ladj * (curve.z2 * per_M - (both + both) * per_D) - scaled * t;

  // A softmax p has the gradient p_j (g_j - p . g) of g, which is that of x0 before the bin, of w
  // in it, and 0 behind.
  const V per_limit(spline.per_limit), per_size_limit(T(2) * spline.per_limit);
  const V bound(spline.bound), per_size = V(1) / (bound + bound);
  const V of_x0 = V(0) - of_z * per_w, of_w = (V(0) - of_z * z - of_s * s) * per_w;
  const V of_y0 = of_y, of_h = of_y * t + of_s * per_w;
  const V w_mean = of_x0 * ((bin.x0 + bound) * per_size) + of_w * bin.w_share;
  const V h_mean = of_y0 * ((bin.y0 + bound) * per_size) + of_h * bin.h_share;
  const V w_scale = (bound + bound) * bin.per_w_sum, h_scale = (bound + bound) * bin.per_h_sum;
  for (int64_t k = 0; k < K; ++k) {
    T *const width = parameters + k * stride, *const height = width + K * stride;
    const V before = bin.k - V(static_cast<T>(k)), not_behind = before + V(1);
    const V w_share = M::load(exponentials + k * stride) * w_scale;
    const V h_share = M::load(exponentials + (K + k) * stride) * h_scale;
    const V w_factor = detail::limit_factor(M::load(width), per_size_limit);
    const V h_factor = detail::limit_factor(M::load(height), per_size_limit);
    const V of_width = M::where_positive(before, of_x0, M::where_positive(not_behind, of_w, V(0)));
    const V of_height = M::where_positive(before, of_y0, M::where_positive(not_behind, of_h, V(0)));
    M::store(w_share * (of_width - w_mean) * (w_factor * w_factor), width);
    M::store(h_share * (of_height - h_mean) * (h_factor * h_factor), height);
  }
  const V factor0 = detail::limit_factor(bin.c0, per_limit);
  const V factor1 = detail::limit_factor(bin.c1, per_limit);
  const V of_c0 = of_d0 * bin.d0 * (factor0 * factor0);
  const V of_c1 = of_d1 * bin.d1 * (factor1 * factor1);
  for (int64_t j = 0; j + 1 < K; ++j) {  // of the knot between the bins j and j + 1
    const V after = bin.k - V(static_cast<T>(j));
    const V either = M::where_positive(after, of_c0, of_c1);
    const V is_near = V(1) - detail::abs(after + after - V(1));  // 0 for both of them
    M::store(detail::where_at_least(is_near, V(0), either, V(0)),
             parameters + (2 * K + j) * stride);
  }
  return where_inside(spline, x, of_x, grad_y);
}

}  // namespace pyneural::spline
