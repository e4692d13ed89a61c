#pragma once
#include <tbb/parallel_for.h>
#include <tbb/task_group.h>

#include <exception>
#include <utility>

namespace wsp {

/// What parallel_loop() throws where the work that it is part of was given up. Nobody catches it:
/// whoever began that work gets what ended it, the first exception.
struct GivenUp : std::exception {
  const char* what() const noexcept override { return "given up"; }
};

/// tbb::parallel_for (its arguments, but for a context) that returns only when every body ran, and
/// throws otherwise. oneTBB's own, begun inside another of its loops, skips bodies once anything
/// throws out there, and then returns as if all had run.
template <class... Arguments>
void parallel_loop(Arguments&&... arguments) {
  tbb::task_group_context context;
  tbb::parallel_for(std::forward<Arguments>(arguments)..., context);
  if (context.is_group_execution_cancelled()) throw GivenUp();
}

}  // namespace wsp
