#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "preprocess/segment/model_segmenter.hpp"

/// A model's file behind Segmenter, run by LibTorch or ONNX Runtime, whichever this program is
/// linked with. Neither stands in this header.
namespace wsp {

/// Load a model by its descriptor and see that it runs: the file's hash is compared, and a process
/// of its own loads it and runs a small input, so that a model that crashes ends no job. `device`:
/// auto (a CUDA card where there is one), cpu, cuda or cuda:N. `precision`: auto (on a card what
/// the descriptor says, on a CPU fp32), fp32, bf16 or fp16 (on a card); probabilities and threshold
/// are float32 always. Call before threads work with Torch. Throws Error(usage) that says what is
/// wrong with descriptor, file, device or model, and where this program runs no such files.
std::unique_ptr<Segmenter> make_segmenter(const std::filesystem::path& descriptor,
                                          const std::string& device, SegmentationPlan plan,
                                          const std::string& precision = "auto");

/// LibTorch takes half a second to load, which most runs of wsp-ingest need not pay: it is linked
/// without, and for a model becomes the same program linked with what runs it (wsp-ingest-torch or
/// wsp-ingest-onnx, beside it in a build, in libexec/wsp where installed). Returns where this
/// program is one of these, or none is there.
void switch_to_build_with(Runtime runtime, char** arguments);
/// Whether this program runs such models, or can become one that does.
bool has_build_with(Runtime runtime);

/// How long a model may take for the small input before it counts as one that never returns: a
/// large 3-D window on a busy CPU takes minutes.
inline constexpr std::chrono::milliseconds kProbeLimit = std::chrono::minutes(10);

/// The network alone, as make_segmenter() checks and loads it. Throws Error(interrupted)
/// where a signal asks to stop while the model runs its small input.
std::unique_ptr<Network> load_checked_network(const ModelDescriptor& model,
                                              const std::string& device,
                                              const std::string& precision = "auto",
                                              std::chrono::milliseconds limit = kProbeLimit);

}  // namespace wsp
