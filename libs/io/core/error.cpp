#include "io/core/error.hpp"

namespace wsp {

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::failure:
      return 1;
    case ErrorCode::usage:
      return 2;
    case ErrorCode::no_input:
      return 4;
    case ErrorCode::output:
      return 5;
    case ErrorCode::corrupt:
      return 6;
    case ErrorCode::interrupted:
      return 130;
  }
  return 1;
}

Error::Error(ErrorCode code, std::string message) : code_(code), text_(std::move(message)) {}

Error& Error::within(std::string_view context) {
  text_ += "\n  ";
  text_ += context;
  return *this;
}

}  // namespace wsp
