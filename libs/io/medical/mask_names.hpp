#pragma once
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "io/core/names.hpp"

/// What names of mask files and of their folders say. Internal to io/medical.
namespace wsp {

/// A name that a file may go by, and whether it is the whole one.
struct Alias {
  std::string text;
  bool whole = true;
};
/// Those of a file's stem: P1_seg, P1-mask and P1_liver go by P1 too, segmentation-N by volume-N
/// and N. `organ` as organ_file_name() has it.
std::vector<Alias> aliases_of(const std::string& stem, const std::string& organ);

/// An organ as file names have it: blanks are "_".
std::string organ_file_name(std::string organ);

/// Of an image file's path, without its extension.
PathName image_path_name(const std::filesystem::path& relative);

/// A folder of one of these kinds, in the singular, as in imagesTr beside labelsTr.
bool is_kind(const std::filesystem::path& folder, std::initializer_list<std::string_view> kinds);

/// Parts into which a data set was divided ("train", "val"), and nobody's name. `owner` as
/// folder_owner() gives it.
bool is_split(const std::string& owner);

}  // namespace wsp
