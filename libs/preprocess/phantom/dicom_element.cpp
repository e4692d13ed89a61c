#include "preprocess/phantom/dicom_element.hpp"

#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmjpeg/djrplol.h>
#include <fmt/format.h>

#include <array>

#include "io/core/error.hpp"

namespace wsp::phantom {
namespace {

struct Planted {
  DcmTagKey tag;
  const char* before;  ///< the secret follows
};

/// Elements of every text type that a scanner, a RIS or a technician fills; SH and AE hold 16
/// characters at most. SeriesDescription and ContrastBolusAgent have their own words before it.
const std::array<Planted, 54> kPlanted{{
    {DCM_IssuerOfPatientID, "ISS"},
    {DCM_PatientBirthName, "BORN^"},
    {DCM_PatientMotherBirthName, "MOTHER^"},
    {DCM_ResponsiblePerson, "PARENT^"},
    {DCM_ReferringPhysicianName, "REF^"},
    {DCM_PerformingPhysicianName, "PERF^"},
    {DCM_NameOfPhysiciansReadingStudy, "READ^"},
    {DCM_PhysiciansOfRecord, "RECORD^"},
    {DCM_RequestingPhysician, "REQ^"},
    {DCM_OperatorsName, "OP^"},
    {DCM_PatientAddress, "street "},
    {DCM_PatientTelephoneNumbers, "tel "},
    {DCM_PatientComments, "comment "},
    {DCM_PatientReligiousPreference, "faith "},
    {DCM_MilitaryRank, "rank "},
    {DCM_BranchOfService, "branch "},
    {DCM_CountryOfResidence, "country "},
    {DCM_RegionOfResidence, "region "},
    {{0x0010, 0x2160}, "eth "},  // EthnicGroup: DCMTK 3.7 has another constant for it
    {DCM_Occupation, "occ "},
    {DCM_MedicalAlerts, "alert "},
    {DCM_Allergies, "allergy "},
    {DCM_AdditionalPatientHistory, "history "},
    {DCM_AdmittingDiagnosesDescription, "diagnosis "},
    {DCM_AdmissionID, "adm "},
    {DCM_CurrentPatientLocation, "ward "},
    {DCM_PatientInstitutionResidence, "home "},
    {DCM_InstitutionName, "INST "},
    {DCM_InstitutionAddress, "address "},
    {DCM_InstitutionalDepartmentName, "dept "},
    {DCM_StationName, "st "},
    {DCM_StudyID, "S"},
    {DCM_StudyDescription, "CT ABDOMEN "},
    {DCM_ProtocolName, "protocol "},
    {DCM_AcquisitionProtocolDescription, "acquisition "},
    {DCM_ImageComments, "image comment "},
    {DCM_DerivationDescription, "derivation "},
    {DCM_ManufacturerModelName, "model "},
    {DCM_DeviceSerialNumber, "serial "},
    {DCM_SoftwareVersions, "software "},
    {DCM_DeviceID, "device "},
    {DCM_GantryID, "gantry "},
    {DCM_PlateID, "plate "},
    {DCM_RequestedProcedureDescription, "request "},
    {DCM_RequestedProcedureComments, "request comment "},
    {DCM_RequestingService, "service "},
    {DCM_PerformedProcedureStepID, "P"},
    {DCM_PerformedProcedureStepDescription, "step "},
    {DCM_CommentsOnThePerformedProcedureStep, "step comment "},
    {DCM_PerformedStationAETitle, "AE"},
    {DCM_PerformedStationName, "ps "},
    {DCM_PerformedLocation, "room "},
    {DCM_ClinicalTrialSubjectID, "trial "},
    {DCM_RouteOfAdmissions, "route "},
}};

void put_bytes(DcmItem& item, const DcmTag& tag, std::string bytes) {
  if (bytes.size() % 2 != 0) bytes += ' ';
  item.putAndInsertUint8Array(tag, reinterpret_cast<const Uint8*>(bytes.data()),
                              static_cast<unsigned long>(bytes.size()));
}

void plant(DcmFileFormat& file, const SeriesHeader& h) {
  DcmDataset& d = *file.getDataset();
  for (const Planted& p : kPlanted) put(d, p.tag, p.before + h.secret);
  for (const DcmTagKey& date : {DCM_SeriesDate, DCM_AcquisitionDate, DCM_ContentDate,
                                DCM_InstanceCreationDate, DCM_PerformedProcedureStepStartDate})
    put(d, date, h.study_date);
  put(d, DCM_AcquisitionDateTime, h.study_date + clock(h.acquisition_seconds));
  put(d, DCM_InstanceCreatorUID, h.study_uid + ".77");
  put(d, DCM_StorageMediaFileSetUID, h.study_uid + ".78");

  put(item_of(d, DCM_OtherPatientIDsSequence), DCM_PatientID, "ID" + h.secret);
  DcmItem& request = item_of(d, DCM_RequestAttributesSequence);
  put(request, DCM_RequestedProcedureDescription, "request " + h.secret);
  put(request, DCM_AccessionNumber, h.accession);
  put(request, DCM_StudyInstanceUID, h.study_uid);
  put_code(request, DCM_RequestedProcedureCodeSequence, "CT", "99PHANTOM",
           "nested twice " + h.secret);
  DcmItem& study = item_of(d, DCM_ReferencedStudySequence);
  put(study, DCM_ReferencedSOPClassUID, "1.2.840.10008.3.1.2.3.1");
  put(study, DCM_ReferencedSOPInstanceUID, h.study_uid + ".79");

  for (const Uint16 group : {Uint16{0x0009}, Uint16{0x0029}}) {
    put(d, DcmTag(group, 0x0010, EVR_LO), "PHANTOM PRIVATE");
    d.putAndInsertString(DcmTag(group, 0x1001, EVR_LO), ("private " + h.secret).c_str());
    put_bytes(d, DcmTag(group, 0x1002, EVR_OB), std::string(3, '\x01') + "binary " + h.secret);
    d.putAndInsertString(DcmTag(group, 0x1003, EVR_UT), ("long private " + h.secret).c_str());
  }
  DcmItem* hidden = nullptr;
  if (d.findOrCreateSequenceItem(DcmTag(0x0029, 0x1010, EVR_SQ), hidden, 0).good()) {
    put(*hidden, DCM_PatientName, h.patient_name);
    hidden->putAndInsertString(DcmTag(0x0029, 0x0010, EVR_LO), "PHANTOM PRIVATE");
    hidden->putAndInsertString(DcmTag(0x0029, 0x1001, EVR_LO), ("nested " + h.secret).c_str());
  }
  put_bytes(d, DcmTag(DCM_DataSetTrailingPadding, EVR_OB), "behind the pixels " + h.secret);

  DcmMetaInfo& meta = *file.getMetaInfo();
  put(meta, DCM_SourceApplicationEntityTitle, "AE" + h.secret);
  put(meta, DCM_PrivateInformationCreatorUID, h.study_uid + ".80");
  put_bytes(meta, DcmTag(DCM_PrivateInformation, EVR_OB), "meta " + h.secret);
}

/// DCMTK's JPEG-LS encoder leaves the byte that pads an odd stream as memory had it.
void clear_padding(DcmDataset& d) {
  DcmElement* element = nullptr;
  d.findAndGetElement(DCM_PixelData, element);
  auto* pixels = dynamic_cast<DcmPixelData*>(element);
  if (pixels == nullptr) return;
  E_TransferSyntax xfer = EXS_Unknown;
  const DcmRepresentationParameter* how = nullptr;
  pixels->getCurrentRepresentationKey(xfer, how);
  DcmPixelSequence* sequence = nullptr;
  if (pixels->getEncapsulatedRepresentation(xfer, how, sequence).bad() || sequence == nullptr)
    return;
  for (unsigned long k = 0; k < sequence->card(); ++k) {
    DcmPixelItem* item = nullptr;
    Uint8* bytes = nullptr;
    if (sequence->getItem(item, k).bad() || item->getUint8Array(bytes).bad() || bytes == nullptr)
      continue;
    const Uint32 n = item->getLength();
    if (n > 3 && bytes[n - 3] == 0xFF && bytes[n - 2] == 0xD9) bytes[n - 1] = 0;
  }
}

}  // namespace

void must(const OFCondition& status, const std::filesystem::path& path) {
  if (status.bad())
    throw Error(ErrorCode::output, "cannot write " + path.string() + ": " + status.text());
}

std::string decimals(std::initializer_list<double> values) {
  std::string text;
  for (const double v : values) text += (text.empty() ? "" : "\\") + fmt::format("{:.10g}", v);
  return text;
}

std::string clock(double seconds) {
  const int s = static_cast<int>(seconds);
  return fmt::format("{:02d}{:02d}{:02d}", s / 3600, s / 60 % 60, s % 60);
}

void put(DcmItem& item, const DcmTagKey& tag, const std::string& value) {
  if (const OFCondition status = item.putAndInsertString(DcmTag(tag), value.c_str()); status.bad())
    throw Error(ErrorCode::output, fmt::format("cannot write element ({:04x},{:04x}): {}",
                                               tag.getGroup(), tag.getElement(), status.text()));
}

DcmItem& item_of(DcmItem& parent, const DcmTagKey& sequence, long index) {
  DcmItem* item = nullptr;
  const OFCondition status = parent.findOrCreateSequenceItem(DcmTag(sequence), item, index);
  if (status.bad() || item == nullptr)
    throw Error(ErrorCode::output, std::string("cannot write a sequence: ") + status.text());
  return *item;
}

void put_code(DcmItem& parent, const DcmTagKey& sequence, const char* value, const char* scheme,
              const std::string& meaning) {
  DcmItem& code = item_of(parent, sequence);
  put(code, DCM_CodeValue, value);
  put(code, DCM_CodingSchemeDesignator, scheme);
  put(code, DCM_CodeMeaning, meaning);
}

void put_common(DcmFileFormat& file, const SeriesHeader& h, const std::string& sop_class,
                const std::string& instance, const std::string& modality) {
  DcmDataset& d = *file.getDataset();
  if (!h.secret.empty()) plant(file, h);
  put(d, DCM_SpecificCharacterSet, h.character_set);
  put(d, DCM_SOPClassUID, sop_class);
  put(d, DCM_SOPInstanceUID, instance);
  put(d, DCM_Modality, modality);
  put(d, DCM_PatientName, h.patient_name);
  put(d, DCM_PatientID, h.patient_id);
  put(d, DCM_PatientBirthDate, h.birth_date);
  put(d, DCM_PatientSex, h.sex);
  put(d, DCM_AccessionNumber, h.accession);
  put(d, DCM_StudyInstanceUID, h.study_uid);
  put(d, DCM_SeriesInstanceUID, h.series_uid);
  put(d, DCM_StudyDate, h.study_date);
  put(d, DCM_StudyTime, "100000");
  put(d, DCM_SeriesNumber, std::to_string(h.series_number));
  put(d, DCM_SeriesDescription, h.description + (h.secret.empty() ? "" : " " + h.secret));
  put(d, DCM_Manufacturer, "WSP PHANTOM");
}

void save(DcmFileFormat& file, const std::filesystem::path& path, const std::string& syntax) {
  std::filesystem::create_directories(path.parent_path());
  const E_TransferSyntax xfer = DcmXfer(syntax.c_str()).getXfer();
  const DJ_RPLossless lossless(1, 0);
  const DcmRepresentationParameter* parameter = xfer == EXS_JPEGProcess14SV1 ? &lossless : nullptr;
  must(file.getDataset()->chooseRepresentation(xfer, parameter), path);
  if (xfer == EXS_JPEGLSLossless) clear_padding(*file.getDataset());
  must(file.saveFile(path.c_str(), xfer), path);
}

}  // namespace wsp::phantom
