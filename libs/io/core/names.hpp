#pragma once
#include <string>
#include <string_view>
#include <vector>

/// Which names mean the same thing: the rule for masks, labels and subjects alike.
namespace wsp {

/// A path below an export, a mask folder, or in a table's cell, by its folders and its stem.
struct PathName {
  std::vector<std::string> folders;
  std::string stem;
};
/// Of a '/'-separated relative path without its extension; empty and "." components are dropped.
[[nodiscard]] PathName path_name(std::string_view path);
/// "a/b/stem"
[[nodiscard]] std::string to_string(const PathName& name);

/// Of folder_agreement(): those of one owner, under different words for what lies there.
inline constexpr int kSameOwners = 500;

/// What a volume may be called by others: its name, and that without nnU-Net's channel ("_0000").
[[nodiscard]] std::vector<PathName> volume_names(const PathName& volume);

/// How well two folders agree; 0 where they contradict each other, more the better they fit. Equal
/// folders are best. Words that name a kind of file and nobody ("images", "labelsTr", "masks") are
/// left out of the comparison; then equal folders, else one that lies in the other, else none on
/// one side.
[[nodiscard]] int folder_agreement(const std::vector<std::string>& a,
                                   const std::vector<std::string>& b);

/// The same for a name that claims to be a volume's: 0 too where it has folders that the volume's
/// path does not prove ("siteC/siteA/1" of "siteA/1").
[[nodiscard]] int folder_proof(const std::vector<std::string>& claimed,
                               const std::vector<std::string>& own);

/// What a folder's name says about whose files it holds, in lower case: "masks_siteA" -> "sitea",
/// "labelsTr" -> "tr", "images" -> "".
[[nodiscard]] std::string folder_owner(const std::string& folder);

/// True of a patient ID that names nobody: empty, zeros or X alone, punctuation, or a word such as
/// ANONYMOUS without a number that could tell one patient from another.
[[nodiscard]] bool is_placeholder_id(std::string_view id);

}  // namespace wsp
