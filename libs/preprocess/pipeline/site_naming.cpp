#include "preprocess/pipeline/site_naming.hpp"

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "preprocess/segment/builtin_model.hpp"

namespace wsp {

namespace fs = std::filesystem;

bool names_known(const IngestOptions& o) {
  return o.config.ids == IdMode::keep || o.site_key ||
         (o.new_site_key && fs::exists(*o.new_site_key));
}

Naming make_naming(const IngestOptions& o, bool dry) {
  if (o.site_key && o.new_site_key)
    throw Error(ErrorCode::usage, "--site-key and --new-site-key exclude each other");
  if (o.site_key) return {o.config.ids, SiteKey::load(*o.site_key)};
  if (dry && !names_known(o)) return {IdMode::keep, SiteKey(std::vector<std::uint8_t>(32, 0))};
  if (o.new_site_key) {
    // Made on first use: the command that is run again to resume must find its own key.
    if (!fs::exists(*o.new_site_key)) {
      try {
        return {o.config.ids, SiteKey::create(*o.new_site_key)};
      } catch (const Error&) {  // another first run may have made it at this moment
        if (!fs::exists(*o.new_site_key)) throw;
      }
    }
    if (!goes_on_with_model()) log::info("the site key exists and is used again");
    return {o.config.ids, SiteKey::load(*o.new_site_key)};
  }
  if (o.config.ids == IdMode::keep)  // public data: the ledger's hashes need no secret
    return {o.config.ids, SiteKey(std::vector<std::uint8_t>(32, 0))};
  throw Error(
      ErrorCode::usage,
      "pseudonyms need a site key: give --site-key FILE, or --new-site-key FILE to create one "
      "(keep it: the same key gives the same pseudonyms). For public data use --ids keep");
}

}  // namespace wsp
