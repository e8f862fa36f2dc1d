// Reading the small languages of the jet ops: derivatives (derivatives.h) and residuals
// (residual.h).
#pragma once

#include <algorithm>
#include <charconv>
#include <string_view>

namespace pyneural::jet {

// Takes the part up to the next `separator` from the front of `rest`.
inline std::string_view take_until(char separator, std::string_view* rest) {
  const size_t end = rest->find(separator);
  const std::string_view part = rest->substr(0, end);
  rest->remove_prefix(end == std::string_view::npos ? rest->size() : end + 1);
  return part;
}

// Takes the next word from the front of `rest`; empty where there is none.
inline std::string_view take_word(std::string_view* rest) {
  rest->remove_prefix(std::min(rest->find_first_not_of(' '), rest->size()));
  return take_until(' ', rest);
}

// False where the word is not wholly a number. Reads what Python's repr writes, in any locale.
template <class Number>
bool read_number(std::string_view word, Number* number) {
  const char* const end = word.data() + word.size();
  const auto [stop, status] = std::from_chars(word.data(), end, *number);
  return status == std::errc() && stop == end;
}

}  // namespace pyneural::jet
