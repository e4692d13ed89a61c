#pragma once
#include <string_view>

namespace wsp {

/// A file of libs/preprocess/report/page, or chart.min.js, as it was at build time; empty for an
/// unknown name.
std::string_view report_asset(std::string_view name);

}  // namespace wsp
