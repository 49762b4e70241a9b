// A GGUF file over mapped memory: metadata by key, tensors by name, in ggml's types. Opening reads the header only.
// Every count, length, offset, type and shape is checked before use; tensors must follow one another, aligned, without
// overlap or holes. What the values mean is for others to say (gguf_config.h, gguf_weights.h); docs/gguf.md has both.
// Immutable after opening; used from any thread. Views live as long as the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "format/gguf_blocks.h"
#include "tensor/shape.h"

namespace inkstone {

enum class GgufKind : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

// A value of the metadata, where it lies in the file.
struct GgufValue {
  GgufKind kind = GgufKind::u8;
  GgufKind element = GgufKind::u8;   // of an array; never array: nested ones are refused
  uint64_t count = 0;                // of an array
  std::span<const std::byte> bytes;  // scalars and arrays of them: packed; a string: its text; strings: as the file has

  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

struct GgufTensor {
  const GgmlType* type = nullptr;
  Shape shape;  // outermost first, as everywhere here; the file has the opposite order
  std::span<const std::byte> bytes;
};

struct GgufHeader {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::map<std::string, GgufTensor, std::less<>> tensors;
};

// The checks alone, on bytes that somebody else holds. Throws Error(bad_file), or Error(unsupported) for a version, a
// byte order or a tensor type that this program does not read.
GgufHeader parse_gguf(std::span<const std::byte> file, std::string_view origin);

class Gguf {
 public:
  explicit Gguf(const std::filesystem::path& path);

  const MappedFile& file() const { return file_; }
  const std::filesystem::path& path() const { return file_.path(); }
  const GgufHeader& header() const { return header_; }

 private:
  MappedFile file_;
  GgufHeader header_;
};

// A model's files: one, or all of which `path` is the first ("NAME-00001-of-00003.gguf").
std::vector<Gguf> open_gguf(const std::filesystem::path& path);

// Typed members of the metadata, with errors that name file and key. A view: the header must outlive it.
class GgufFields {
 public:
  GgufFields(const GgufHeader& header, std::string origin) : header_(&header), origin_(std::move(origin)) {}

  const std::string& origin() const { return origin_; }
  const GgufHeader& header() const { return *header_; }
  bool has(std::string_view key) const { return header_->metadata.find(key) != header_->metadata.end(); }
  // Any integer kind that holds a value of [0, highest]; nullopt where the key is absent.
  std::optional<int64_t> maybe_integer(std::string_view key, int64_t highest) const;
  int64_t integer(std::string_view key, int64_t highest) const;
  // Any number that is finite.
  std::optional<double> maybe_number(std::string_view key) const;
  double number(std::string_view key) const;
  std::optional<bool> maybe_boolean(std::string_view key) const;
  std::optional<std::string_view> maybe_text(std::string_view key) const;
  std::string_view text(std::string_view key) const;
  // An array of strings; of integers.
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;

  [[noreturn]] void missing(std::string_view key) const;
  [[noreturn]] void reject(std::string_view key, std::string_view expected) const;

 private:
  const GgufValue* find(std::string_view key) const;

  const GgufHeader* header_;
  std::string origin_;
};

// Whether a path is one of a file, and so not of a model folder: such a file is opened as GGUF.
bool is_gguf(const std::filesystem::path& model);

}  // namespace inkstone
