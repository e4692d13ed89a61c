#pragma once
#include "io/manifest/identity.hpp"
#include "preprocess/pipeline/ingest.hpp"

namespace wsp {

/// Whether cases have their names before anything is made: pseudonyms need a key that is there.
bool names_known(const IngestOptions& options);
/// Names by the site key that the options give, made where it is to be new. A dry run makes none:
/// what it shows then has the export's own names. Throws Error(usage).
Naming make_naming(const IngestOptions& options, bool dry);

}  // namespace wsp
