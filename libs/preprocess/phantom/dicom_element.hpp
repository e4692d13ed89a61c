#pragma once
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <filesystem>
#include <initializer_list>
#include <string>

#include "preprocess/phantom/dicom_write.hpp"

/// Elements that all written objects share. Internal to the phantom: the only header with DCMTK.
namespace wsp::phantom {

/// Throw Error(output) for a failed write of `path`.
void must(const OFCondition& status, const std::filesystem::path& path);
/// Numbers as a multi-valued DS.
std::string decimals(std::initializer_list<double> values);
/// Seconds of the day as TM.
std::string clock(double seconds);
void put(DcmItem& item, const DcmTagKey& tag, const std::string& value);
/// The item `index` of a sequence, made where it is not there.
DcmItem& item_of(DcmItem& parent, const DcmTagKey& sequence, long index = 0);
/// A coded entry in the first item of `sequence`.
void put_code(DcmItem& parent, const DcmTagKey& sequence, const char* value, const char* scheme,
              const std::string& meaning);

/// Patient, study, series and instance; with a secret also identifying text in every kind of
/// element: all text types, dates, UIDs, nested and private sequences, binary, the file meta
/// header.
void put_common(DcmFileFormat& file, const SeriesHeader& header, const std::string& sop_class,
                const std::string& instance, const std::string& modality);

/// Write the file in a transfer syntax; throws Error(output).
void save(DcmFileFormat& file, const std::filesystem::path& path, const std::string& syntax);

}  // namespace wsp::phantom
