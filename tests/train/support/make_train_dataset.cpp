// A small dataset for tests of whole commands: make_train_dataset OUT [SUBJECTS SLICES SIZE FIRST
// PREFIX].
#include <cstdlib>
#include <iostream>

#include "train/support/train_dataset.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: make_train_dataset OUT [SUBJECTS SLICES SIZE FIRST PREFIX]\n";
    return 2;
  }
  wsp::test::TrainDatasetOptions options;
  if (argc > 2) options.subjects = std::atoi(argv[2]);
  if (argc > 3) options.slices = std::atoi(argv[3]);
  if (argc > 4) options.size = std::atoi(argv[4]);
  if (argc > 5) options.first = std::atoi(argv[5]);
  if (argc > 6) options.prefix = argv[6];
  wsp::test::write_train_dataset(argv[1], options);
  return 0;
}
