#include "train/unet/case_grid.hpp"

#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "preprocess/ops/slices.hpp"

namespace wsp::train {

std::string mask_source(const DatasetReader& reader, const MaskedVolume& volume) {
  const std::string& name = reader.cases()[static_cast<std::size_t>(volume.case_id)].name;
  try {
    return nlohmann::json::parse(reader.read_listed("cases/" + name + ".json"))
        .at("mask")
        .at("source");
  } catch (const std::exception& e) {
    throw Error(ErrorCode::corrupt, "the mask's source of case " + name + " cannot be read (" +
                                        e.what() + "); run wsp-ingest verify");
  }
}

VoxelGrid stored_grid(const DatasetReader& reader, const MaskedVolume& volume) {
  const IndexCase& entry = reader.cases()[static_cast<std::size_t>(volume.case_id)];
  Geometry acquired;
  try {
    const auto value = nlohmann::json::parse(reader.read_listed("cases/" + entry.name + ".json"));
    const nlohmann::json& geometry = value.at("geometry");
    for (std::size_t k = 0; k < 3; ++k) {
      acquired.size[k] = geometry.at("size").at(k).get<std::int64_t>();
      acquired.spacing_mm[k] = geometry.at("spacing_mm").at(k).get<double>();
    }
  } catch (const std::exception& e) {
    throw Error(ErrorCode::corrupt, "the geometry of case " + entry.name + " cannot be read (" +
                                        e.what() + "); run wsp-ingest verify");
  }
  const InPlaneFit fit = fit_in_plane(acquired, reader.layout().width);
  VoxelGrid grid;
  grid.size = {reader.layout().width, reader.layout().height, volume.count};
  grid.spacing_mm[0] = fit.pixel_mm[0];
  grid.spacing_mm[1] = fit.pixel_mm[1];
  for (std::int64_t i = 0; i < volume.count; ++i)
    grid.z_mm.push_back(reader.slices()[volume.first_row + static_cast<std::size_t>(i)].z_mm);
  return grid;
}

}  // namespace wsp::train
