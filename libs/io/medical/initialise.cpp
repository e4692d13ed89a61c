#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

#include <mutex>

#include "io/core/error.hpp"
#include "io/medical/scan.hpp"

namespace wsp {

void initialise_medical_io() {
  static std::once_flag once;
  std::call_once(once, [] {
    // DCMTK's messages name paths and values: they must not reach the log.
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    if (!dcmDataDict.isDictionaryLoaded()) {
      throw Error(ErrorCode::failure,
                  "expected DCMTK's data dictionary, found none: set DCMDICTPATH to dicom.dic");
    }
    // Exporters rewrite data sets and forget the meta header: what the first element is written in
    // counts, among the three native syntaxes; and pixels of a stated length are not compressed.
    dcmAutoDetectDatasetXfer.set(OFTrue);
    dcmUseExplLengthPixDataForEncTS.set(OFTrue);
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
}

}  // namespace wsp
