#pragma once
#include <string>
#include <utility>
#include <variant>

#include "io/core/codes.hpp"

namespace wsp {

/// Why one input was refused. `detail` may name sizes and values, never paths, UIDs or patient
/// data.
struct Rejection {
  std::string case_name;  ///< pseudonym, or empty while none is known
  std::string stage;      ///< "scan", "read", "mask", "select", ...
  Code code;
  std::string detail;
};

/// A value, or the reason why this input gives none. Bad input is a value; only broken jobs throw.
template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::move(value)) {}                  // NOLINT: implicit by intent
  Outcome(Rejection rejection) : state_(std::move(rejection)) {}  // NOLINT: implicit by intent
  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] T& value() & { return std::get<0>(state_); }
  [[nodiscard]] const T& value() const& { return std::get<0>(state_); }
  [[nodiscard]] T&& value() && { return std::get<0>(std::move(state_)); }
  [[nodiscard]] const Rejection& rejection() const { return std::get<1>(state_); }

 private:
  std::variant<T, Rejection> state_;
};

}  // namespace wsp
