#include "train/eval/features.hpp"

#include <fmt/format.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "columns are little-endian");

constexpr const char* kFormat = "wsp-features";
constexpr std::array kFacts = {"encoder", "method",         "encoder_sha256", "pretraining_sha256",
                               "dataset", "dataset_sha256", "image_size",     "precision"};
// Absent in files of an earlier toolkit.
constexpr std::array kLaterFacts = {"labelled", "flagged"};

template <class T, class Get>
std::vector<T> column(const std::vector<FeatureCase>& cases, Get get) {
  std::vector<T> values;
  for (const FeatureCase& c : cases) values.push_back(get(c));
  return values;
}

std::string joined(const std::vector<std::string>& words, const char* between = ",") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

void write_matrix(hid_t group, const FeatureTable& table) {
  const hsize_t dims[2] = {static_cast<hsize_t>(table.rows()),
                           static_cast<hsize_t>(table.dimensions)};
  h5::Handle space(H5Screate_simple(2, dims, nullptr), H5Sclose, "a dataspace", ErrorCode::output);
  h5::Handle properties = h5::dataset_properties();
  h5::Handle set(H5Dcreate2(group, "features", H5T_IEEE_F32LE, space.get(), H5P_DEFAULT,
                            properties.get(), H5P_DEFAULT),
                 H5Dclose, "the features", ErrorCode::output);
  if (H5Dwrite(set.get(), H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, table.values.data()) < 0)
    throw Error(ErrorCode::output,
                std::string("cannot write the features: ") + std::strerror(errno));
  h5::write_attribute(set.get(), "xxh3", xxh3_64(bytes_of(std::span<const float>(table.values))));
  set.close();
}

void read_matrix(hid_t file, FeatureTable& table, std::size_t rows) {
  const h5::Handle set = h5::open_dataset(file, "slices/features");
  const h5::Handle space(H5Dget_space(set.get()), H5Sclose, "a dataspace");
  hsize_t dims[2] = {0, 0};
  if (H5Sget_simple_extent_ndims(space.get()) != 2 ||
      H5Sget_simple_extent_dims(space.get(), dims, nullptr) != 2 || dims[0] != rows ||
      dims[1] < 1 || dims[1] > 1'000'000)
    throw Error(ErrorCode::corrupt, "its features are no matrix with a row per slice");
  table.dimensions = static_cast<std::int64_t>(dims[1]);
  table.values.resize(rows * static_cast<std::size_t>(dims[1]));
  if (H5Dread(set.get(), H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, table.values.data()) < 0 ||
      h5::read_hash_attribute(set.get(), "xxh3") !=
          xxh3_64(bytes_of(std::span<const float>(table.values))))
    throw Error(ErrorCode::corrupt, "its features do not have the hash that was stored with them");
}

// {"metavir": {"F0": 0, ...}, ...} of the label columns that have words.
std::string words_text(const FeatureTable& t) {
  nlohmann::json words = nlohmann::json::object();
  for (std::size_t l = 0; l < t.label_words.size(); ++l)
    if (!t.label_words[l].empty()) words[t.label_names[l]] = t.label_words[l];
  return words.empty() ? "" : json_text(words);
}

void read_words(FeatureTable& t, const std::string& text) {
  try {
    const nlohmann::json words = nlohmann::json::parse(text);
    t.label_words.resize(t.label_names.size());
    for (std::size_t l = 0; l < t.label_names.size(); ++l)
      t.label_words[l] = words.value(t.label_names[l], t.label_words[l]);
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::corrupt, "the words of its labels are no classes");
  }
}

void check(const FeatureTable& t) {
  const std::size_t n = t.case_id.size();
  const auto bad = [](const std::string& what) { throw Error(ErrorCode::corrupt, what); };
  if (t.depth.size() != n || t.content.size() != n || (!t.slice.empty() && t.slice.size() != n) ||
      t.labels.size() != t.label_names.size())
    bad("its columns differ in length");
  for (const auto& of_label : t.labels)
    if (of_label.size() != t.cases.size()) bad("a label column does not fit the cases");
  for (const auto& [name, values] : t.numbers)
    if (values.size() != t.cases.size()) bad("the numbers " + name + " do not fit the cases");
  for (std::size_t i = 0; i < n; ++i)
    if (t.case_id[i] < 0 || static_cast<std::size_t>(t.case_id[i]) >= t.cases.size() ||
        (i > 0 && t.case_id[i] < t.case_id[i - 1]))
      bad("slice " + std::to_string(i) + " belongs to no case in order");
}

}  // namespace

std::string FeatureTable::fact(const std::string& name) const {
  const auto found = facts.find(name);
  return found == facts.end() ? "unknown" : found->second;
}

const std::vector<std::string>& fact_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all(kFacts.begin(), kFacts.end());
    all.insert(all.end(), kLaterFacts.begin(), kLaterFacts.end());
    return all;
  }();
  return names;
}

void write_features(const fs::path& path, const FeatureTable& t) {
  const fs::path temporary = path.string() + ".tmp";
  try {
    const auto lock = h5::exclusive();
    h5::NewFile file(path.filename().string());
    h5::write_attribute(file.get(), "format", std::string(kFormat));
    h5::write_attribute(file.get(), "version", std::int64_t{1});
    for (const char* fact : kFacts) {
      const auto found = t.facts.find(fact);
      h5::write_attribute(file.get(), fact,
                          found == t.facts.end() ? std::string("unknown") : found->second);
    }
    for (const char* fact : kLaterFacts)
      if (const auto found = t.facts.find(fact); found != t.facts.end())
        h5::write_attribute(file.get(), fact, found->second);
    h5::write_attribute(file.get(), "label_names", joined(t.label_names));
    if (!t.numbers.empty()) {
      std::vector<std::string> names;
      for (const auto& [name, values] : t.numbers) names.push_back(name);
      h5::write_attribute(file.get(), "number_names", joined(names));
    }
    if (const std::string words = words_text(t); !words.empty())
      h5::write_attribute(file.get(), "label_words", words);
    {
      const h5::Handle slices = h5::create_group(file.get(), "slices");
      write_matrix(slices.get(), t);
      h5::write_column(slices.get(), "case", t.case_id);
      h5::write_column(slices.get(), "depth", t.depth);
      h5::write_column(slices.get(), "content", t.content);
      if (!t.slice.empty()) h5::write_column(slices.get(), "slice", t.slice);
      const h5::Handle cases = h5::create_group(file.get(), "cases");
      h5::write_column(cases.get(), "name",
                       column<std::string>(t.cases, [](auto& c) { return c.name; }));
      h5::write_column(cases.get(), "subject",
                       column<std::string>(t.cases, [](auto& c) { return c.subject; }));
      h5::write_column(cases.get(), "kernel", column<std::string>(t.cases, [](auto& c) {
                         return c.kernel.empty() ? "unknown" : c.kernel;
                       }));
      h5::write_column(cases.get(), "scanner", column<std::string>(t.cases, [](auto& c) {
                         return c.scanner.empty() ? "unknown" : c.scanner;
                       }));
      h5::write_column(cases.get(), "phase", column<std::string>(t.cases, [](auto& c) {
                         return c.phase.empty() ? "unknown" : c.phase;
                       }));
      h5::write_column(cases.get(), "spacing_mm",
                       column<double>(t.cases, [](auto& c) { return c.spacing_mm; }));
      h5::write_column(cases.get(), "pixel_mm",
                       column<double>(t.cases, [](auto& c) { return c.pixel_mm; }));
      h5::write_column(cases.get(), "trained_on", column<std::int64_t>(t.cases, [](auto& c) {
                         return std::int64_t{c.trained_on};
                       }));
      for (std::size_t l = 0; l < t.labels.size(); ++l)
        h5::write_column(cases.get(), ("label_" + t.label_names[l]).c_str(), t.labels[l]);
      for (const auto& [name, values] : t.numbers)
        h5::write_column(cases.get(), ("number_" + name).c_str(), values);
    }
    if (!t.left_out.empty()) {
      std::vector<std::string> names, reasons;
      for (const auto& [name, why] : t.left_out) {
        names.push_back(name);
        reasons.push_back(why);
      }
      const h5::Handle left_out = h5::create_group(file.get(), "left_out");
      h5::write_column(left_out.get(), "name", names);
      h5::write_column(left_out.get(), "why", reasons);
    }
    file.write_to(temporary);
  } catch (Error& e) {
    ::unlink(temporary.c_str());
    throw e.within("while writing " + path.string());
  }
  publish_file(temporary, path);
}

FeatureTable read_features(const fs::path& path) {
  std::error_code ec;
  if (!fs::is_regular_file(path, ec))
    throw Error(ErrorCode::no_input,
                "no features at " + path.string() + ": expected a file that wsp-eval embed wrote");
  try {
    const auto lock = h5::exclusive();
    const h5::Handle file = h5::open_file(path);
    if (h5::read_string_attribute(file.get(), "format") != kFormat)
      throw Error(ErrorCode::corrupt,
                  "its format is not wsp-features; wsp-eval embed writes such files");
    if (h5::read_integer_attribute(file.get(), "version") != 1)
      throw Error(ErrorCode::corrupt, "its format version is not 1: use a newer toolkit");
    FeatureTable t;
    for (const char* fact : kFacts) t.facts[fact] = h5::read_string_attribute(file.get(), fact);
    for (const char* fact : kLaterFacts)
      if (H5Aexists(file.get(), fact) > 0)
        t.facts[fact] = h5::read_string_attribute(file.get(), fact);
    t.label_names = split(h5::read_string_attribute(file.get(), "label_names"));
    if (H5Aexists(file.get(), "label_words") > 0)
      read_words(t, h5::read_string_attribute(file.get(), "label_words"));
    for (const std::int64_t id : h5::read_integers(file.get(), "slices/case"))
      t.case_id.push_back(static_cast<std::int32_t>(id));
    t.depth = h5::read_doubles(file.get(), "slices/depth");
    t.content = h5::read_unsigned(file.get(), "slices/content");
    if (H5Lexists(file.get(), "slices/slice", H5P_DEFAULT) > 0)
      for (const std::int64_t number : h5::read_integers(file.get(), "slices/slice"))
        t.slice.push_back(static_cast<std::int32_t>(number));
    const auto names = h5::read_strings(file.get(), "cases/name");
    const auto subjects = h5::read_strings(file.get(), "cases/subject");
    const auto kernels = h5::read_strings(file.get(), "cases/kernel");
    const auto scanners = h5::read_strings(file.get(), "cases/scanner");
    const auto spacing = h5::read_doubles(file.get(), "cases/spacing_mm");
    const auto pixel = h5::read_doubles(file.get(), "cases/pixel_mm");
    std::vector<std::string> phases(
        names.size(), "unknown");  // absent in files of an earlier toolkit, as trained_on
    if (H5Lexists(file.get(), "cases/phase", H5P_DEFAULT) > 0)
      phases = h5::read_strings(file.get(), "cases/phase");
    std::vector<std::int64_t> trained_on(names.size(), -1);
    if (H5Lexists(file.get(), "cases/trained_on", H5P_DEFAULT) > 0)
      trained_on = h5::read_integers(file.get(), "cases/trained_on");
    if (subjects.size() != names.size() || trained_on.size() != names.size() ||
        kernels.size() != names.size() || scanners.size() != names.size() ||
        phases.size() != names.size() || spacing.size() != names.size() ||
        pixel.size() != names.size())
      throw Error(ErrorCode::corrupt, "its columns of cases differ in length");
    for (std::size_t i = 0; i < names.size(); ++i)
      t.cases.push_back({names[i], subjects[i], spacing[i], pixel[i], kernels[i], scanners[i],
                         phases[i], static_cast<int>(trained_on[i])});
    for (const std::string& label : t.label_names)
      t.labels.push_back(h5::read_integers(file.get(), "cases/label_" + label));
    if (H5Aexists(file.get(), "number_names") > 0)
      for (const std::string& name : split(h5::read_string_attribute(file.get(), "number_names")))
        t.numbers[name] = h5::read_doubles(file.get(), ("cases/number_" + name).c_str());
    if (H5Lexists(file.get(), "left_out", H5P_DEFAULT) > 0) {
      const auto left = h5::read_strings(file.get(), "left_out/name");
      const auto why = h5::read_strings(file.get(), "left_out/why");
      if (left.size() != why.size())
        throw Error(ErrorCode::corrupt, "its columns of cases left out differ in length");
      for (std::size_t i = 0; i < left.size(); ++i) t.left_out[left[i]] = why[i];
    }
    read_matrix(file.get(), t, t.case_id.size());
    check(t);
    return t;
  } catch (Error& e) {
    throw e.within("while reading " + path.string());
  }
}

std::size_t label_index(const FeatureTable& t, const std::string& label, const char* option) {
  const auto lower = [](std::string s) {
    std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return std::tolower(c); });
    return s;
  };
  for (std::size_t i = 0; i < t.label_names.size(); ++i)
    if (lower(t.label_names[i]) == lower(label)) return i;
  throw Error(ErrorCode::usage,
              std::string(option) + " is '" + label +
                  "': " + (t.facts.contains("dataset") ? t.facts.at("dataset") : "the dataset") +
                  " has the label columns " + joined(t.label_names, ", "));
}

}  // namespace wsp::train
