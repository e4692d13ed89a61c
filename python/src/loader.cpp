#include "train/data/loader.hpp"

#include <algorithm>
#include <atomic>
#include <memory>

#include "bindings.hpp"
#include "io/core/error.hpp"
#include "train/data/sampler.hpp"
#include "train/data/training_set.hpp"
#include "train/kernels/augment.hpp"

namespace wsp::python {
namespace {

using train::BalancedSampler;
using train::TrainingSet;
using train::TrainSlice;

// Which rows a batch has: drawn by the trainer's sampler, or a list's, one after another.
class Plan {
 public:
  Plan(std::shared_ptr<Reader> reader, const train::SelectOptions& select,
       const train::SamplerOptions& sampling)
      : reader_(std::move(reader)),
        batch_(sampling.batch),
        set_(train::select_slices(reader_->data(), select)),
        sampler_(std::in_place, set_, sampling) {}

  Plan(std::shared_ptr<Reader> reader, std::vector<std::uint32_t> rows, std::int64_t batch)
      : reader_(std::move(reader)), batch_(batch), rows_(std::move(rows)) {
    if (batch < 1)
      throw Error(ErrorCode::usage,
                  "the batch size is " + std::to_string(batch) + ": expected at least 1");
  }

  [[nodiscard]] const std::shared_ptr<Reader>& reader() const { return reader_; }
  [[nodiscard]] const TrainingSet& set() const { return set_; }
  [[nodiscard]] const std::optional<BalancedSampler>& sampler() const { return sampler_; }
  [[nodiscard]] std::int64_t batch() const { return batch_; }
  [[nodiscard]] std::int64_t steps() const {
    if (sampler_) return sampler_->steps_per_epoch();
    return (static_cast<std::int64_t>(rows_.size()) + batch_ - 1) / batch_;
  }
  [[nodiscard]] std::vector<std::uint32_t> all_rows() const {
    std::vector<std::uint32_t> rows = rows_;
    for (const TrainSlice& slice : set_.slices) rows.push_back(slice.row);
    return rows;
  }
  /// Empty beyond the last step. Thread-safe.
  [[nodiscard]] std::vector<std::uint32_t> rows(std::int64_t epoch, std::int64_t step) const {
    if (step >= steps()) return {};
    if (!sampler_) {
      const auto first = rows_.begin() + step * batch_;
      return {first, first + std::min(batch_, rows_.end() - first)};
    }
    std::vector<std::uint32_t> rows = sampler_->batch(epoch, step);
    for (std::uint32_t& row : rows) row = set_.slices[row].row;
    return rows;
  }

 private:
  std::shared_ptr<Reader> reader_;
  std::int64_t batch_;
  TrainingSet set_;
  std::optional<BalancedSampler> sampler_;
  std::vector<std::uint32_t> rows_;
};

// How views are drawn; of the trainer's draws, whose numbers depend on (seed, epoch, sample, view).
struct Views {
  std::int64_t count = 0;  ///< 0: none
  std::uint64_t seed = 0;
  train::AugmentOptions options;
};

// The batches from the first of an epoch on, in order: to the end of that epoch, or `endless`,
// which has the next epoch's first batches ready when this one ends.
class Stream {
 public:
  Stream(std::shared_ptr<Plan> plan, std::int64_t epoch, bool endless, train::LoaderOptions options,
         Views views)
      : plan_(std::move(plan)),
        steps_(std::max<std::int64_t>(1, plan_->steps())),
        first_epoch_(epoch),
        size_(options.image_size),
        ring_(options.ring),
        views_(std::move(views)) {
    options.while_waiting = [] {
      const py::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    };
    loader_ = std::make_unique<train::BatchLoader>(
        plan_->reader()->data(),
        [plan = plan_, steps = steps_, epoch, endless](std::int64_t number) {
          if (number >= steps && !endless) return std::vector<std::uint32_t>();
          return plan->rows(epoch + number / steps, number % steps);
        },
        0, std::move(options));
  }

  /// (epoch, step, rows, HU, masks or None, views or None), or None after the last.
  py::object next() {
    std::optional<train::BatchLease> lease;
    std::unique_ptr<float, void (*)(float*)> drawn(nullptr, [](float* p) { release(p); });
    {
      const py::gil_scoped_release release_gil;
      lease = loader_->next();
      if (lease && views_.count > 0) drawn.reset(draw(*lease));
    }
    if (!lease) return py::none();
    const auto n = static_cast<py::ssize_t>(lease->rows().size());
    const std::vector<py::ssize_t> shape{n, size_, size_};
    const auto rows = column<std::int64_t>(lease->rows(), [](std::uint32_t row) { return row; });
    const std::int64_t epoch = first_epoch_ + lease->number() / steps_;
    const std::int64_t step = lease->number() % steps_;
    py::object views = py::none();
    if (drawn) {
      float* data = drawn.release();
      const py::capsule owner(data, [](void* p) { release(p); });
      views = py::array_t<float>({views_.count, std::int64_t{n}, size_, size_}, data, owner);
    }
    // Who keeps batches gets copies, so that the ring never runs dry.
    py::object owner;
    const auto* hu = lease->images().data();
    const auto* mask = lease->masks().data();
    const bool masks = !lease->masks().empty();
    if (held_->load() < ring_ - 2) owner = lend(std::move(*lease));
    const py::object images =
        owner ? py::array_t<std::int16_t>(shape, hu, owner) : py::array_t<std::int16_t>(shape, hu);
    py::object liver = py::none();
    if (masks)
      liver = owner ? py::array_t<std::uint8_t>(shape, mask, owner)
                    : py::array_t<std::uint8_t>(shape, mask);
    return py::make_tuple(epoch, step, rows, images, liver, views);
  }

  [[nodiscard]] py::dict statistics() const {
    const train::LoaderStatistics s = loader_->statistics();
    py::dict told;
    told["waited_s"] = s.waited_s;
    told["slices"] = s.slices;
    told["corrupt_slices"] = s.corrupt_slices;
    told["cache_hits"] = s.cache_hits;
    return told;
  }

 private:
  struct Loan {
    train::BatchLease lease;
    std::shared_ptr<std::atomic<int>> held;
  };

  static void release(void* p) { train::host_allocator().release(p); }

  py::capsule lend(train::BatchLease lease) {
    ++*held_;
    return {new Loan{std::move(lease), held_}, [](void* p) {
              const std::unique_ptr<Loan> loan(static_cast<Loan*>(p));
              --*loan->held;
            }};
  }

  // [views][n][size][size], in the order of the trainer.
  float* draw(const train::BatchLease& lease) const {
    const auto n = static_cast<std::int64_t>(lease.rows().size());
    const auto epoch = static_cast<std::uint64_t>(first_epoch_ + lease.number() / steps_);
    const std::int64_t sample = lease.number() % steps_ * plan_->batch();
    std::vector<train::Affine> affine;
    for (int view = 0; view < views_.count; ++view)
      for (std::int64_t i = 0; i < n; ++i)
        affine.push_back(
            train::compose_affine(train::draw_view(views_.options, views_.seed, epoch,
                                                   static_cast<std::uint64_t>(sample + i), view),
                                  size_));
    auto* out = static_cast<float*>(train::host_allocator().allocate(
        static_cast<std::size_t>(views_.count * n * size_ * size_) * sizeof(float)));
    try {
      train::augment_cpu(lease.images().data(), affine.data(), n, views_.count, size_, out);
    } catch (...) {
      release(out);
      throw;
    }
    return out;
  }

  std::shared_ptr<Plan> plan_;  ///< outlives the loader, with its reader
  std::int64_t steps_, first_epoch_, size_;
  int ring_;
  Views views_;
  std::shared_ptr<std::atomic<int>> held_ = std::make_shared<std::atomic<int>>(0);
  std::unique_ptr<train::BatchLoader> loader_;
};

template <class T>
T get(const py::dict& options, const char* name) {
  return options[name].cast<T>();
}

train::SelectOptions select_options(const py::dict& o) {
  train::SelectOptions select;
  select.label = get<std::string>(o, "label");
  select.depth = train::parse_depth_scale(get<std::string>(o, "depth"));
  select.include_flagged = get<bool>(o, "include_flagged");
  select.include_unlabelled = get<bool>(o, "include_unlabelled");
  select.splits = get<std::vector<std::string>>(o, "splits");
  select.subjects = get<std::vector<std::string>>(o, "subjects");
  select.exclude = get<std::vector<std::string>>(o, "exclude");
  select.positive = get<std::vector<std::int64_t>>(o, "positive");
  select.hold_back = get<double>(o, "hold_back");
  return select;
}

train::LoaderOptions loader_options(const py::dict& o, const Plan& plan) {
  train::LoaderOptions options;
  options.image_size = get<std::int64_t>(o, "image_size");
  options.workers = get<int>(o, "workers");
  options.ring = get<int>(o, "ring");
  options.masks = get<bool>(o, "masks");
  options.skip_corrupt = get<bool>(o, "skip_corrupt");
  options.deadline_s = get<double>(o, "deadline_s");
  if (get<bool>(o, "cache")) options.cache = train::CacheMode::ram;
  options.cache_rows = plan.all_rows();
  return options;
}

Views view_options(const py::dict& o) {
  Views views;
  views.count = get<std::int64_t>(o, "views");
  views.seed = get<std::uint64_t>(o, "seed");
  if (views.count == 0) return views;
  const auto augment = get<py::dict>(o, "augment");
  views.options.probability = get<double>(augment, "probability");
  views.options.flip_x = get<bool>(augment, "flip_x");
  views.options.flip_y = get<bool>(augment, "flip_y");
  views.options.max_angle_deg = get<double>(augment, "max_angle_deg");
  views.options.max_shift = get<double>(augment, "max_shift");
  views.options.min_crop_area = get<double>(augment, "min_crop_area");
  views.options.max_crop_area = get<double>(augment, "max_crop_area");
  return views;
}

// Throws Error(usage) for ranges of views that cannot be.
void check_views(const py::dict& options) {
  if (const Views views = view_options(options); views.count > 0)
    (void)train::draw_view(views.options, 0, 0, 0, 0);
}

std::shared_ptr<Plan> sampled(std::shared_ptr<Reader> reader, const py::dict& o) {
  train::SamplerOptions sampling;
  sampling.batch = get<std::int64_t>(o, "batch");
  sampling.samples_per_epoch = get<std::int64_t>(o, "samples_per_epoch");
  sampling.seed = get<std::uint64_t>(o, "seed");
  sampling.balanced = get<bool>(o, "balanced");
  const train::SelectOptions select = select_options(o);
  const py::gil_scoped_release release;
  return std::make_shared<Plan>(std::move(reader), select, sampling);
}

py::array_t<std::int64_t> rows_of(const std::vector<TrainSlice>& slices) {
  return column<std::int64_t>(slices, [](const TrainSlice& s) { return s.row; });
}

}  // namespace

void bind_loader(py::module_& module) {
  py::class_<Plan, std::shared_ptr<Plan>>(module, "Plan")
      .def(py::init(&sampled), py::arg("reader"), py::arg("options"))
      .def(py::init<std::shared_ptr<Reader>, std::vector<std::uint32_t>, std::int64_t>(),
           py::arg("reader"), py::arg("rows"), py::arg("batch"))
      .def_property_readonly("steps", &Plan::steps)
      .def(
          "rows",
          [](const Plan& p, std::int64_t epoch, std::int64_t step) {
            return column<std::int64_t>(p.rows(epoch, step), [](std::uint32_t r) { return r; });
          },
          py::arg("epoch"), py::arg("step"))
      .def_property_readonly("train_rows", [](const Plan& p) { return rows_of(p.set().slices); })
      .def_property_readonly("held_back_rows",
                             [](const Plan& p) { return rows_of(p.set().held_back); })
      .def_property_readonly("left_out", [](const Plan& p) { return p.set().left_out; })
      .def_property_readonly("warnings", [](const Plan& p) {
        return p.sampler() ? p.sampler()->warnings() : std::vector<std::string>{};
      });
  module.def("check_views", &check_views, py::arg("options"));
  py::class_<Stream>(module, "Stream")
      .def(py::init([](std::shared_ptr<Plan> plan, std::int64_t epoch, const py::dict& options) {
             train::LoaderOptions loading = loader_options(options, *plan);
             return std::make_unique<Stream>(std::move(plan), epoch, get<bool>(options, "endless"),
                                             std::move(loading), view_options(options));
           }),
           py::arg("plan"), py::arg("epoch"), py::arg("options"))
      .def("next", &Stream::next)
      .def_property_readonly("statistics", &Stream::statistics);
}

}  // namespace wsp::python
