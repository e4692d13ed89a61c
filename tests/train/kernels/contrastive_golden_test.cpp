#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "support/test_data.hpp"
#include "train/kernels/contrastive_reference.hpp"

namespace wsp::train::test {
namespace {

using nlohmann::json;

/// One problem of a golden file, owning what the ContrastiveProblem borrows.
struct GoldenCase {
  std::vector<double> z, depth;
  std::vector<std::int64_t> label;
  ContrastiveProblem<double> problem;
};

/// Read a key such as wsp/paper/laplacian/sigma=0.1; false where it names no contrastive loss.
bool read_case(const json& data, const std::string& key, GoldenCase& c) {
  std::vector<std::string> words;
  std::stringstream stream(key);
  for (std::string word; std::getline(stream, word, '/');) words.push_back(word);
  const std::string& method = words[0];
  if (method != "simclr" && method != "supcon" && method != "depth-aware" && method != "wsp")
    return false;

  for (const char* view : {"z1", "z2"})
    for (const auto& row : data.at(view))
      for (const double value : row) c.z.push_back(value);
  c.label = data.at("label").get<std::vector<std::int64_t>>();
  c.depth = data.at("depth").get<std::vector<double>>();
  auto& p = c.problem;
  p.n = data.at("n");
  p.dim = data.at("dim");
  p.temperature = data.at("tau");
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "paper") {
      p.normalisation = Normalisation::paper;
    } else if (word == "reference") {
      p.normalisation = Normalisation::reference;
    } else if (word == "laplacian") {
      p.shape = KernelShape::laplacian;
    } else if (word == "every-third-unlabelled") {
      for (std::size_t k = 0; k < c.label.size(); k += 3) c.label[k] = -1;
    } else if (word.starts_with("sigma=")) {
      p.sigma = std::stod(word.substr(6));
    } else {
      ADD_FAILURE() << "unknown word '" << word << "' in golden case " << key;
    }
  }
  p.z = c.z.data();
  p.label = c.label.data();
  if (method == "wsp" || method == "depth-aware") p.depth = c.depth.data();
  p.label_matters = method != "depth-aware";
  p.own_view_only = method == "simclr";
  return true;
}

double largest_difference(const json& expected, const double* found) {
  double worst = 0;
  for (const auto& row : expected)
    for (const double value : row) worst = std::max(worst, std::abs(value - *found++));
  return worst;
}

TEST(ContrastiveGolden, EveryCaseMatchesTo1e9) {
  WSP_REQUIRE_GOLDEN(directory);
  int cases = 0;
  double worst = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const json golden = json::parse(file);
    if (!golden.contains("cases")) continue;
    for (const json& data : golden.at("cases")) {
      if (!data.contains("z1") || !data.contains("expected")) continue;
      for (const auto& [key, expected] : data.at("expected").items()) {
        GoldenCase c;
        if (!read_case(data, key, c)) continue;
        ++cases;
        SCOPED_TRACE(entry.path().filename().string() + " n=" + std::to_string(c.problem.n) + " " +
                     key);
        for (const std::int64_t tile : {1, 5, 64}) {
          const Evaluated found = evaluate(c.problem, tile);
          EXPECT_NEAR(found.loss, expected.at("loss").get<double>(), 1e-9);
          const double first = largest_difference(expected.at("grad_z1"), found.grad.data());
          const double second = largest_difference(expected.at("grad_z2"),
                                                   found.grad.data() + c.problem.n * c.problem.dim);
          EXPECT_LE(first, 1e-9);
          EXPECT_LE(second, 1e-9);
          worst = std::max(
              {worst, first, second, std::abs(found.loss - expected.at("loss").get<double>())});
        }
      }
    }
  }
  EXPECT_GT(cases, 0) << "no contrastive case in " << directory;
  std::cout << cases << " golden cases, largest difference " << worst << "\n";
}

}  // namespace
}  // namespace wsp::train::test
