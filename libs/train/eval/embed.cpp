#include "train/eval/embed.hpp"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "io/core/progress.hpp"
#include "train/data/loader.hpp"
#include "train/data/rated_cases.hpp"
#include "train/data/training_set.hpp"
#include "train/eval/left_out.hpp"
#include "train/eval/roster.hpp"
#include "train/model/encoder.hpp"
#include "train/model/safetensors.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/device.hpp"
#include "train/run/on_its_way.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

std::string metadata_of(const TensorFile& file, const char* key) {
  const auto found = file.metadata.find(key);
  return found == file.metadata.end() ? std::string() : found->second;
}

struct Loaded {
  std::shared_ptr<Encoder> encoder;
  Provenance provenance;
  std::string image_size;
};

Loaded load(const EmbedOptions& o) {
  if (!fs::is_regular_file(o.encoder))
    throw Error(ErrorCode::usage, "--weights is '" + o.encoder.string() +
                                      "', which is no file: expected "
                                      "weights such as encoder.safetensors of a run");
  const TensorFile file = read_tensor_file(o.encoder);
  Loaded loaded;
  loaded.provenance = provenance_of(file.metadata, o.encoder);
  loaded.image_size = metadata_of(file, "wsp.image_size");
  if (o.encoder_name.empty()) {
    loaded.encoder = load_encoder(o.encoder);
  } else {
    loaded.encoder = make_encoder({o.encoder_name, Norm::batch});
    load_encoder_weights(*loaded.encoder, o.encoder);
  }
  return loaded;
}

std::string labelled_fact(const EmbedOptions& o) { return o.labelled.empty() ? "any" : o.labelled; }
std::string flagged_fact(const EmbedOptions& o) { return o.include_flagged ? "taken" : "left out"; }

// The device, and a precision that it has.
torch::Device prepare_device(EmbedOptions& o) {
  at::set_num_threads(std::max(1, o.threads));
  const torch::Device device = choose_device(o.device, 0);
  o.precision = resolve_precision(o.precision, device);
  // Another word would run in fp32 and stand in the facts.
  if (o.precision != "fp32" && o.precision != "tf32" && o.precision != "bf16" &&
      o.precision != "fp16")
    throw Error(ErrorCode::usage, "--precision is '" + o.precision +
                                      "': expected one of fp32, tf32, bf16, fp16, auto");
  prepare_precision(device, o.precision);
  prepare_algorithms(device, false);
  try_device(device);
  return device;
}

// Fill a table with the cases that are wanted and their slices; returns the slices' rows of the
// index.
std::vector<std::uint32_t> take_cases(const DatasetReader& reader, const EmbedOptions& o,
                                      FeatureTable& table) {
  table.label_names = reader.layout().label_names;
  table.label_words = reader.label_words();
  table.labels.resize(table.label_names.size());
  const std::size_t known =
      o.labelled.empty() ? table.labels.size() : label_index(table, o.labelled);
  std::vector<std::uint32_t> rows;
  std::int64_t flagged = 0;
  const auto rated = cases_rated_exclude(o.exclude, o.dataset, reader);
  for (const std::string& name : cases_left_out_before(o.dataset))
    table.left_out[name] = kLeftOutByIngest;
  for (const IndexCase& entry : reader.cases()) {
    if (std::binary_search(rated.begin(), rated.end(), entry.name)) {
      table.left_out[entry.name] = kLeftOutRated;
      continue;
    }
    if (!o.include_flagged && !depth_is_trusted(entry.flags)) {
      ++flagged;
      table.left_out[entry.name] = kLeftOutFlagged;
      continue;
    }
    if (known < table.labels.size() && entry.labels[known] < 0) {
      table.left_out[entry.name] = kLeftOutUnlabelled;
      continue;
    }
    for (std::size_t l = 0; l < table.labels.size(); ++l)
      table.labels[l].push_back(entry.labels[l]);
    add_numbers(table, reader, entry);
    const auto id = static_cast<std::int32_t>(table.cases.size());
    table.cases.push_back({entry.name, entry.subject});
    describe_case(reader, table.cases.back());
    for (std::int64_t i = 0; i < entry.slice_count; ++i) {
      rows.push_back(static_cast<std::uint32_t>(entry.first_slice + i));
      table.case_id.push_back(id);
      table.slice.push_back(reader.slices()[rows.back()].source_index);
      table.depth.push_back(reader.slices()[rows.back()].depth_kept);
    }
  }
  if (!rated.empty()) log::info(fmt::format("left out: {} cases rated exclude", rated.size()));
  if (flagged > 0)
    log::info(
        fmt::format("{} cases with a truncated liver or doubtful depth are left out; "
                    "--include-flagged takes them",
                    flagged));
  if (rows.empty())
    throw Error(ErrorCode::no_input, "no slice is left to embed in " + o.dataset.string());
  return rows;
}

BatchLoader::Source batches_of(const std::vector<std::uint32_t>& rows, std::int64_t batch) {
  return [&rows, batch](std::int64_t i) {
    const std::size_t first = std::min(rows.size(), static_cast<std::size_t>(i * batch));
    const std::size_t last = std::min(rows.size(), first + static_cast<std::size_t>(batch));
    return std::vector<std::uint32_t>(rows.begin() + static_cast<std::ptrdiff_t>(first),
                                      rows.begin() + static_cast<std::ptrdiff_t>(last));
  };
}

void add_features(const torch::Tensor& of_batch, const EmbedOptions& o, FeatureTable& table) {
  const torch::Tensor features = of_batch.to(torch::kFloat).contiguous();
  if (!torch::isfinite(features).all().item<bool>())
    throw Error(ErrorCode::failure,
                "the encoder's features are not finite" +
                    std::string(o.precision == "fp32" ? "" : ": try --precision fp32"));
  table.values.insert(table.values.end(), features.data_ptr<float>(),
                      features.data_ptr<float>() + features.numel());
}

// Features and hash of every row, images `side` wide.
void embed_rows(const DatasetReader& reader, const std::vector<std::uint32_t>& rows,
                Encoder& encoder, const torch::Device& device, const EmbedOptions& o,
                std::int64_t side, FeatureTable& table) {
  LoaderOptions loading;
  loading.image_size = side;
  loading.workers = o.workers == 0 && device.is_cpu() ? 1 : o.workers;
  table.dimensions = encoder.representation();
  Progress progress("embedding", rows.size(), "slices");
  BatchLoader loader(reader, batches_of(rows, o.batch), 0, loading);
  std::deque<OnItsWay> under_way;
  const auto land = [&](std::size_t ahead) {
    for (; under_way.size() > ahead; under_way.pop_front())
      add_features(under_way.front().get(), o, table);
  };
  while (const auto lease = loader.next()) {
    stop_if_interrupted("run the same command again; nothing was written");
    const auto n = static_cast<std::int64_t>(lease->rows().size());
    auto* pixels = const_cast<std::int16_t*>(lease->images().data());
    const torch::Tensor hu = send(torch::from_blob(pixels, {n, side, side}, torch::kShort), device);
    {
      const Autocast autocast(device, o.precision);
      under_way.emplace_back(encoder.forward(plain_views(hu)));
    }
    // A card computes meanwhile.
    for (std::int64_t i = 0; i < n; ++i)
      table.content.push_back(xxh3_64(bytes_of(lease->images().subspan(
          static_cast<std::size_t>(i * side * side), static_cast<std::size_t>(side * side)))));
    land(OnItsWay::kAhead);
    progress.advance(static_cast<std::uint64_t>(n));
  }
  land(0);
}

}  // namespace

FeatureTable embed_dataset(const EmbedOptions& asked) {
  try {
    EmbedOptions o = asked;
    torch::NoGradGuard no_grad;
    const torch::Device device = prepare_device(o);
    const DatasetReader reader(o.dataset);
    const Loaded loaded = load(o);
    loaded.encoder->to(device);
    loaded.encoder->eval();
    if (use_channels_last("auto", device, o.precision)) make_channels_last(*loaded.encoder);

    FeatureTable table;
    const std::vector<std::uint32_t> rows = take_cases(reader, o, table);
    const std::int64_t side = o.image_size > 0             ? o.image_size
                              : !loaded.image_size.empty() ? std::stoll(loaded.image_size)
                                                           : reader.layout().height;
    embed_rows(reader, rows, *loaded.encoder, device, o, side, table);
    fs::path named = fs::absolute(o.dataset).lexically_normal();
    if (named.filename().empty()) named = named.parent_path();
    table.facts = {{"encoder", loaded.encoder->options().name},
                   {"encoder_sha256", hex(sha256_file(o.encoder))},
                   {"dataset", named.filename().string()},
                   {"dataset_sha256", hex(sha256_file(o.dataset / "dataset.json"))},
                   {"image_size", std::to_string(side)},
                   {"precision", o.precision},
                   {"labelled", labelled_fact(o)},
                   {"flagged", flagged_fact(o)}};
    set_provenance(table, loaded.provenance);
    return table;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

bool is_embedded_as(const FeatureTable& table, const EmbedOptions& o) {
  const auto is = [&](const char* fact, const std::string& value) {
    const auto found = table.facts.find(fact);
    return found != table.facts.end() && found->second == value;
  };
  return rated_exclude(table) ==
             cases_rated_exclude(o.exclude, o.dataset, DatasetReader(o.dataset)) &&
         is("encoder_sha256", hex(sha256_file(o.encoder))) &&
         is("dataset_sha256", hex(sha256_file(o.dataset / "dataset.json"))) &&
         is("labelled", labelled_fact(o)) && is("flagged", flagged_fact(o)) &&
         is("precision", resolve_precision(o.precision, choose_device(o.device, 0))) &&
         (o.encoder_name.empty() || is("encoder", o.encoder_name)) &&
         (o.image_size == 0 || is("image_size", std::to_string(o.image_size)));
}

}  // namespace wsp::train
