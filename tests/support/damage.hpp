#pragma once
#include <cstddef>
#include <string>

namespace wsp::test {

/// each(damaged) for two flipped bits of each byte, other ones in its neighbours, and every cut.
template <class Each>
void for_each_damage(const std::string& good, const Each& each) {
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (std::size_t bit = at % 4; bit < 8; bit += 4) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1U << bit));
      each(bad);
    }
    each(good.substr(0, at));
  }
}

}  // namespace wsp::test
