#pragma once
#include <string>
#include <utility>
#include <vector>

namespace wsp {

/// Which names nearly match: each of `unmatched` (a number for people, and the name) that equals
/// one of `known` but for leading zeros, letter case, spaces or Unicode's form (é as one character
/// or as two). One line per difference, with the numbers, or only their count where `what` is given
/// ("mask files"); never the names. Hints only: nothing may be matched by them.
std::vector<std::string> near_matches(
    const std::vector<std::pair<std::size_t, std::string>>& unmatched,
    const std::vector<std::string>& known, const std::string& what = "");

/// "3, 7, 12, ...": at most 20.
std::string list_of_numbers(const std::vector<std::size_t>& numbers);

}  // namespace wsp
