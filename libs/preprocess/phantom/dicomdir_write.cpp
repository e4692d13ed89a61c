#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcdicdir.h>

#include <memory>

#include "io/core/error.hpp"
#include "preprocess/phantom/dicom_element.hpp"

namespace wsp::phantom {
namespace {

DcmDirectoryRecord& add(DcmDirectoryRecord& parent, E_DirRecType type,
                        const std::filesystem::path& path) {
  auto record = std::make_unique<DcmDirectoryRecord>(type, nullptr, OFFilename());
  must(parent.insertSub(record.get()), path);
  return *record.release();  // the parent owns it
}

E_DirRecType type_of(const InstanceRecord& instance) {
  if (instance.sop_class == UID_XRayRadiationDoseSRStorage) return ERT_SRDocument;
  if (instance.sop_class == UID_RTStructureSetStorage) return ERT_RTStructureSet;
  return ERT_Image;
}

}  // namespace

void write_dicomdir(const std::filesystem::path& path, const std::string& uid,
                    const std::vector<SeriesRecord>& all) {
  std::error_code ec;
  std::filesystem::remove(path, ec);
  DcmDicomDir directory(OFFilename(path.c_str()), "EXPORT");
  must(directory.error(), path);
  DcmDirectoryRecord *patient = nullptr, *study = nullptr;
  std::string patient_id, study_uid;
  for (const SeriesRecord& series : all) {
    const SeriesHeader& h = series.header;
    if (patient == nullptr || h.patient_id != patient_id) {
      patient = &add(directory.getRootRecord(), ERT_Patient, path);
      put(*patient, DCM_SpecificCharacterSet, h.character_set);
      put(*patient, DCM_PatientName, h.patient_name);
      put(*patient, DCM_PatientID, h.patient_id);
      put(*patient, DCM_PatientBirthDate, h.birth_date);
      patient_id = h.patient_id;
      study = nullptr;
    }
    if (study == nullptr || h.study_uid != study_uid) {
      study = &add(*patient, ERT_Study, path);
      put(*study, DCM_StudyDate, h.study_date);
      put(*study, DCM_StudyTime, "100000");
      put(*study, DCM_AccessionNumber, h.accession);
      put(*study, DCM_StudyDescription, "CT ABDOMEN " + h.secret);
      put(*study, DCM_StudyInstanceUID, h.study_uid);
      put(*study, DCM_StudyID, "S" + h.secret);
      study_uid = h.study_uid;
    }
    DcmDirectoryRecord& one = add(*study, ERT_Series, path);
    put(one, DCM_Modality, series.modality);
    put(one, DCM_SeriesInstanceUID, h.series_uid);
    put(one, DCM_SeriesNumber, std::to_string(h.series_number));
    put(one, DCM_SeriesDescription, h.description + " " + h.secret);
    for (const InstanceRecord& instance : series.instances) {
      DcmDirectoryRecord& image = add(one, type_of(instance), path);
      std::string file_id = instance.path;
      for (char& c : file_id)
        if (c == '/') c = '\\';
      put(image, DCM_ReferencedFileID, file_id);
      put(image, DCM_ReferencedSOPClassUIDInFile, instance.sop_class);
      put(image, DCM_ReferencedSOPInstanceUIDInFile, instance.sop_uid);
      put(image, DCM_ReferencedTransferSyntaxUIDInFile, instance.transfer_syntax);
      put(image, DCM_InstanceNumber, std::to_string(instance.number));
      put(image, DCM_ImageComments, "image comment " + h.secret);
    }
  }
  // DCMTK would make an instance UID of its own out of host and time.
  put(*directory.getDirFileFormat().getMetaInfo(), DCM_MediaStorageSOPInstanceUID, uid);
  must(directory.write(), path);
}

}  // namespace wsp::phantom
