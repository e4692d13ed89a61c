#pragma once
#include <vector>

namespace wsp::train {

/// An item of TRIPOD+AI: its number and subject in a few words, what the authors are to write, what
/// the run knows.
struct Item {
  const char* number;
  const char* subject;
  const char* authors;  ///< nullptr: the run answers all of it
};

struct Section {
  const char* name;
  std::vector<Item> items;
};

/// The statement's 52 items, in words of our own.
const std::vector<Section>& tripod_sections();

}  // namespace wsp::train
