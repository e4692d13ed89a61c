#pragma once
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "io/core/error.hpp"

namespace wsp::test {

/// What the Error says that `work` must end with.
template <class Work>
std::string error_of(ErrorCode expected, Work&& work) {
  try {
    work();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), expected) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

inline void expect_in(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
}

}  // namespace wsp::test
