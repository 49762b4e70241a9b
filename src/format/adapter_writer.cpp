#include "format/adapter_writer.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "format/atomic_file.h"
#include "format/safetensors_writer.h"

namespace inkstone {
namespace {

Shape stack_shape(int64_t experts, int64_t rows, int64_t columns) {
  return experts > 0 ? Shape{experts, rows, columns} : Shape{rows, columns};
}

std::vector<float> transposed(std::span<const float> x, int64_t rows, int64_t columns) {
  std::vector<float> y(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      y[static_cast<size_t>(j * rows + i)] = x[static_cast<size_t>(i * columns + j)];
  return y;
}

// A tensor of the file: which module's, which part's.
struct Part {
  TensorSpec spec;
  const TunedModule* module = nullptr;
  char kind = 'a';  // a, b, m
};

std::vector<Part> parts_of(std::span<const TunedModule> modules) {
  std::vector<Part> parts;
  for (const TunedModule& t : modules) {
    const int64_t stack = std::max<int64_t>(t.experts, 1);
    CHECK(t.rank > 0 && t.in > 0 && t.out > 0 && t.experts >= 0);
    CHECK(static_cast<int64_t>(t.a.size()) == stack * t.rank * t.in);
    CHECK(static_cast<int64_t>(t.b.size()) == stack * t.out * t.rank);
    CHECK(t.m.empty() || static_cast<int64_t>(t.m.size()) == stack * t.out);
    const bool apart = t.experts > 0;
    parts.push_back(
        {{t.name + ".lora_a", DType::f32, apart ? stack_shape(t.experts, t.rank, t.in) : Shape{t.in, t.rank}},
         &t,
         'a'});
    parts.push_back(
        {{t.name + ".lora_b", DType::f32, apart ? stack_shape(t.experts, t.out, t.rank) : Shape{t.rank, t.out}},
         &t,
         'b'});
    if (!t.m.empty())
      parts.push_back({{t.name + ".m", DType::f32, apart ? Shape{t.experts, t.out} : Shape{t.out}}, &t, 'm'});
  }
  std::sort(parts.begin(), parts.end(), [](const Part& x, const Part& y) { return x.spec.name < y.spec.name; });
  return parts;
}

}  // namespace

std::string adapter_checkpoint_name(int64_t iteration) { return fmt::format("{:07}_{}", iteration, kAdapterFile); }

void write_adapter_config(const std::filesystem::path& folder, const Json& options) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(Errc::io, "{}: cannot make the folder: {}", folder.string(), error.message());
  write_file_atomically(folder / kAdapterConfigFile, options.dump(4) + "\n");
}

void write_adapter_file(const std::filesystem::path& path, std::span<const TunedModule> modules) {
  const std::vector<Part> parts = parts_of(modules);
  std::vector<TensorSpec> specs;
  for (const Part& part : parts) specs.push_back(part.spec);
  SafetensorsWriter writer(path, std::move(specs));
  for (const Part& part : parts) {
    const TunedModule& t = *part.module;
    const std::span<const float> values = part.kind == 'a' ? t.a : part.kind == 'b' ? t.b : t.m;
    if (t.experts > 0 || part.kind == 'm')
      writer.write(std::as_bytes(values));
    else
      writer.write(std::as_bytes(std::span<const float>(part.kind == 'a' ? transposed(values, t.rank, t.in)
                                                                         : transposed(values, t.out, t.rank))));
  }
  writer.finish();
}

void write_adapter_file(const std::filesystem::path& path,
                        const std::map<std::string, ConstTensor, std::less<>>& parameters) {
  write_safetensors(path, parameters);
}

}  // namespace inkstone
