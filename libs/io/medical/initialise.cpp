#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcspchrs.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

#include <list>
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

void prepare_medical_workers() {
  initialise_medical_io();
  // The libraries stay as long as a converter holds them.
  static std::list<DcmSpecificCharacterSet> loaded;
  for (const char* name : {"ISO_IR 13",         "ISO_IR 100",       "ISO_IR 101",
                           "ISO_IR 109",        "ISO_IR 110",       "ISO_IR 126",
                           "ISO_IR 127",        "ISO_IR 138",       "ISO_IR 144",
                           "ISO_IR 148",        "ISO_IR 166",       "ISO_IR 192",
                           "ISO_IR 203",        "GB18030",          "GBK",
                           "\\ISO 2022 IR 13",  "\\ISO 2022 IR 58", "\\ISO 2022 IR 87",
                           "\\ISO 2022 IR 149", "\\ISO 2022 IR 159"}) {
    loaded.emplace_back();
    // One that this DCMTK does not know is known nowhere.
    static_cast<void>(loaded.back().selectCharacterSet(name));
  }
}

}  // namespace wsp
