// The notation of the attention kernels of every device, and what these kernels share.
//
// Matrices are those of Dao et al. 2022 and Dao 2023, lower case in the code; a row is a query:
//
//   S = scale Q K^T + mask,   P = softmax(S),   O = (Z * P) V,   lse = log sum exp of a row of S
//   dP = Z * (dO V^T),   dS = P * (dP - delta),   delta = sum of dO * O over a row
//   dQ = scale dS K,   dK = scale dS^T Q,   dV = (Z * P)^T dO
//
// with Z the factors of dropout, 0 or 1 / (1 - p). Scores are computed in units of log2: with
// s = log2(e) S, exponentials are powers of 2.
//
// Letters: N batch, H heads of the queries, G heads of the queries for each head of the keys, L
// queries, S keys, E elements of a query and of a key, Ev elements of a value.
#pragma once

#include <numbers>

namespace pyneural::attention {

// Whether no key, some or every key of a block of scores takes part.
enum class BlockMask { empty, partial, full };

template <class T>
constexpr T kLog2E = static_cast<T>(std::numbers::log2e);
template <class T>
constexpr T kLn2 = static_cast<T>(std::numbers::ln2);

}  // namespace pyneural::attention
