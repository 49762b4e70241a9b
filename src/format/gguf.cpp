#include "format/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/embedded.h"
#include "base/error.h"

namespace inkstone {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
constexpr uint64_t kMaxKey = 65535;  // as the format says
constexpr uint64_t kMaxName = 256;   // ggml allows 63
constexpr int64_t kMaxParts = 9999;
constexpr uint32_t kMaxDimensions = 4;  // as the format says
// The least that an entry can take: what a count may promise at most.
constexpr uint64_t kLeastMember = 8 + 4 + 1;
constexpr uint64_t kLeastTensor = 8 + 4 + 8 + 4 + 8;

constexpr const char* kKindNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                      "bool", "string", "array", "u64", "i64", "f64"};
constexpr uint64_t kKindSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

const char* kind_name(GgufKind kind) { return kKindNames[static_cast<size_t>(kind)]; }
uint64_t kind_size(GgufKind kind) { return kKindSizes[static_cast<size_t>(kind)]; }

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Names stand in messages and in files that we write: visible ASCII only.
bool is_plain(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

class Parser {
 public:
  Parser(std::span<const std::byte> file, std::string_view origin) : file_(file), origin_(origin) {}

  GgufHeader parse() {
    if (file_.size() < kMagic.size() || std::memcmp(file_.data(), kMagic.data(), kMagic.size()) != 0)
      fail(Errc::bad_file, "{}: found something else, expected a GGUF file", origin_);
    at_ = kMagic.size();
    const uint32_t version = number<uint32_t>("version");
    if ((version & 0xffff) == 0)
      fail(Errc::unsupported, "{}: found a file in big-endian byte order, expected little-endian", origin_);
    if (version != 2 && version != 3)
      fail(Errc::unsupported, "{}: version: found {}, expected 2 or 3", origin_, version);
    const uint64_t tensors = count("tensors", kLeastTensor);
    const uint64_t members = count("metadata", kLeastMember);
    for (uint64_t i = 0; i < members; ++i) read_member(i);
    for (uint64_t i = 0; i < tensors; ++i) read_tensor(i);
    place_tensors();
    return std::move(header_);
  }

 private:
  struct Placed {
    uint64_t offset, bytes;
    GgufTensor* tensor;
    std::string_view name;
  };

  uint64_t left() const { return file_.size() - at_; }

  std::span<const std::byte> take(uint64_t size, std::string_view what) {
    if (size > left()) fail(Errc::bad_file, "{}: {}: found {} bytes, expected {}", origin_, what, left(), size);
    const auto bytes = file_.subspan(at_, size);
    at_ += size;
    return bytes;
  }
  template <class T>
  T number(std::string_view what) {
    return load<T>(take(sizeof(T), what).data());
  }
  uint64_t count(std::string_view what, uint64_t least) {
    const uint64_t value = number<uint64_t>(what);
    if (value > left() / least)
      fail(Errc::bad_file, "{}: {}: found a count of {}, expected at most {} in {} bytes", origin_, what, value,
           left() / least, left());
    return value;
  }
  std::span<const std::byte> string(std::string_view what) { return take(number<uint64_t>(what), what); }
  std::string name(std::string_view what, uint64_t longest) {
    const auto bytes = string(what);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.size() > longest || !is_plain(text))
      fail(Errc::bad_file, "{}: {}: found {} bytes, expected 1 to {} of visible ASCII", origin_, what, text.size(),
           longest);
    return std::string(text);
  }
  GgufKind kind(std::string_view what) {
    const uint32_t value = number<uint32_t>(what);
    if (value > static_cast<uint32_t>(GgufKind::f64))
      fail(Errc::bad_file, "{}: {}: found a value of type {}, expected 0 to 12", origin_, what, value);
    return static_cast<GgufKind>(value);
  }

  void read_member(uint64_t index) {
    const std::string key = name(fmt::format("metadata {}: key", index), kMaxKey);
    GgufValue value;
    value.kind = kind(key);
    if (value.kind == GgufKind::string) {
      value.bytes = string(key);
    } else if (value.kind == GgufKind::array) {
      read_array(key, value);
    } else {
      value.bytes = take(kind_size(value.kind), key);
      if (value.kind == GgufKind::boolean && load<uint8_t>(value.bytes.data()) > 1)
        fail(Errc::bad_file, "{}: {}: found {}, expected 0 or 1", origin_, key, load<uint8_t>(value.bytes.data()));
    }
    if (!header_.metadata.emplace(key, value).second) fail(Errc::bad_file, "{}: {}: stands twice", origin_, key);
  }

  void read_array(const std::string& key, GgufValue& value) {
    value.element = kind(key);
    if (value.element == GgufKind::array)
      fail(Errc::unsupported, "{}: {}: found an array of arrays, expected one of numbers or strings", origin_, key);
    const bool strings = value.element == GgufKind::string;
    const uint64_t least = strings ? 8 : kind_size(value.element);
    value.count = count(key, least);
    const size_t begin = at_;
    if (strings)
      for (uint64_t i = 0; i < value.count; ++i) string(key);
    else
      take(value.count * least, key);
    value.bytes = file_.subspan(begin, at_ - begin);
  }

  void read_tensor(uint64_t index) {
    const std::string key = name(fmt::format("tensor {}: name", index), kMaxName);
    const uint32_t dimensions = number<uint32_t>(key);
    if (dimensions < 1 || dimensions > kMaxDimensions)
      fail(Errc::bad_file, "{}: {}: found {} dimensions, expected 1 to {}", origin_, key, dimensions, kMaxDimensions);
    uint64_t dims[kMaxDimensions] = {};
    for (uint32_t i = 0; i < dimensions; ++i) dims[i] = number<uint64_t>(key);
    const uint32_t id = number<uint32_t>(key);
    GgufTensor tensor;
    tensor.type = find_ggml_type(id);
    if (tensor.type == nullptr)
      fail(Errc::unsupported, "{}: {}: found {}, expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K",
           origin_, key, ggml_type_name(id));
    const uint64_t bytes = tensor_bytes(key, {dims, dimensions}, tensor);
    const uint64_t offset = number<uint64_t>(key);
    const auto [entry, is_new] = header_.tensors.emplace(key, tensor);
    if (!is_new) fail(Errc::bad_file, "{}: {}: stands twice", origin_, key);
    placed_.push_back({offset, bytes, &entry->second, entry->first});
  }

  // Sets the shape. The file has the innermost dimension first.
  uint64_t tensor_bytes(const std::string& key, std::span<const uint64_t> dims, GgufTensor& tensor) const {
    const GgmlType& type = *tensor.type;
    const uint64_t block = static_cast<uint64_t>(type.block);
    uint64_t elements = 1;
    for (const uint64_t dim : dims) {
      if (dim == 0 || dim > (uint64_t{1} << 56) / elements)
        fail(Errc::bad_file, "{}: {}: a dimension of {}: expected at least 1, and a size that fits", origin_, key, dim);
      elements *= dim;
    }
    if (dims[0] % block != 0)
      fail(Errc::bad_file, "{}: {}: found rows of {}, expected a multiple of {} ({})", origin_, key, dims[0], block,
           type.name);
    for (size_t i = dims.size(); i-- > 0;) tensor.shape.push_back(static_cast<int64_t>(dims[i]));
    return elements / block * static_cast<uint64_t>(type.bytes);  // at most 2^58
  }

  // The data begins at the next multiple of the alignment, and so does each tensor, right behind the one before: a file
  // that hides bytes, or uses some twice, was not written by an honest writer.
  void place_tensors() {
    const GgufFields fields(header_, std::string(origin_));
    const uint64_t alignment = static_cast<uint64_t>(
        fields.maybe_integer("general.alignment", static_cast<int64_t>(kMaxAlignment)).value_or(kDefaultAlignment));
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
      fail(Errc::bad_file, "{}: general.alignment: found {}, expected a power of two", origin_, alignment);
    const auto aligned = [&](uint64_t at) { return (at + alignment - 1) & ~(alignment - 1); };
    const uint64_t begin = std::min<uint64_t>(aligned(at_), file_.size());
    const auto data = file_.subspan(begin);
    std::sort(placed_.begin(), placed_.end(), [](const Placed& a, const Placed& b) {
      return std::pair(a.offset, a.name) < std::pair(b.offset, b.name);
    });
    uint64_t at = 0;
    for (const Placed& placed : placed_) {
      if (placed.offset != aligned(at))
        fail(Errc::bad_file, "{}: {}: begins at {} of the data, expected {}", origin_, placed.name, placed.offset,
             aligned(at));
      if (placed.offset > data.size() || placed.bytes > data.size() - placed.offset)
        fail(Errc::bad_file, "{}: {}: found {} bytes of data, expected {} from {} on", origin_, placed.name,
             data.size(), placed.bytes, placed.offset);
      placed.tensor->bytes = data.subspan(placed.offset, placed.bytes);
      at = placed.offset + placed.bytes;
    }
    if (data.size() > aligned(at))
      fail(Errc::bad_file, "{}: {} bytes after the last tensor, expected none", origin_, data.size() - aligned(at));
  }

  std::span<const std::byte> file_;
  std::string_view origin_;
  size_t at_ = 0;
  GgufHeader header_;
  std::vector<Placed> placed_;
};

// A scalar as an integer; nullopt where it is none, or beyond 63 bits.
std::optional<int64_t> integer_of(GgufKind kind, const std::byte* from) {
  switch (kind) {
    case GgufKind::u8: return load<uint8_t>(from);
    case GgufKind::i8: return load<int8_t>(from);
    case GgufKind::u16: return load<uint16_t>(from);
    case GgufKind::i16: return load<int16_t>(from);
    case GgufKind::u32: return load<uint32_t>(from);
    case GgufKind::i32: return load<int32_t>(from);
    case GgufKind::i64: return load<int64_t>(from);
    case GgufKind::u64: {
      const uint64_t value = load<uint64_t>(from);
      if (value <= INT64_MAX) return static_cast<int64_t>(value);
      return std::nullopt;
    }
    default: return std::nullopt;
  }
}

std::optional<double> number_of(const GgufValue& value) {
  if (value.kind == GgufKind::f32) return load<float>(value.bytes.data());
  if (value.kind == GgufKind::f64) return load<double>(value.bytes.data());
  if (const auto integer = integer_of(value.kind, value.bytes.data())) return static_cast<double>(*integer);
  return std::nullopt;
}

// For errors: `u32 7`, `string "abc"`, `array of 3 string`.
std::string describe(const GgufValue& value) {
  const std::string kind = kind_name(value.kind);
  if (value.kind == GgufKind::array) return fmt::format("array of {} {}", value.count, kind_name(value.element));
  if (value.kind == GgufKind::string)
    return value.text().size() <= 80 && is_plain(value.text()) ? fmt::format("string \"{}\"", value.text())
                                                               : fmt::format("string of {} bytes", value.text().size());
  if (const auto number = number_of(value)) return fmt::format("{} {}", kind, *number);
  return kind;
}

}  // namespace

GgufHeader parse_gguf(std::span<const std::byte> file, std::string_view origin) { return Parser(file, origin).parse(); }

Gguf::Gguf(const std::filesystem::path& path) : file_(path), header_(parse_gguf(file_.bytes(), path.string())) {}

const GgufValue* GgufFields::find(std::string_view key) const {
  const auto entry = header_->metadata.find(key);
  return entry == header_->metadata.end() ? nullptr : &entry->second;
}

void GgufFields::missing(std::string_view key) const { fail(Errc::bad_file, "{}: {}: missing", origin_, key); }

void GgufFields::reject(std::string_view key, std::string_view expected) const {
  const GgufValue* value = find(key);
  fail(Errc::bad_file, "{}: {}: found {}, expected {}", origin_, key, value == nullptr ? "nothing" : describe(*value),
       expected);
}

std::optional<int64_t> GgufFields::maybe_integer(std::string_view key, int64_t highest) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto integer = integer_of(value->kind, value->bytes.data());
  if (!integer || *integer < 0 || *integer > highest) reject(key, fmt::format("an integer from 0 to {}", highest));
  return integer;
}

int64_t GgufFields::integer(std::string_view key, int64_t highest) const {
  const auto value = maybe_integer(key, highest);
  if (!value) missing(key);
  return *value;
}

std::optional<double> GgufFields::maybe_number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto number = number_of(*value);
  if (!number || !std::isfinite(*number)) reject(key, "a finite number");
  return number;
}

double GgufFields::number(std::string_view key) const {
  const auto value = maybe_number(key);
  if (!value) missing(key);
  return *value;
}

std::optional<bool> GgufFields::maybe_boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->kind != GgufKind::boolean) reject(key, "a bool");
  return load<uint8_t>(value->bytes.data()) != 0;
}

std::optional<std::string_view> GgufFields::maybe_text(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->kind != GgufKind::string) reject(key, "a string");
  return value->text();
}

std::string_view GgufFields::text(std::string_view key) const {
  const auto value = maybe_text(key);
  if (!value) missing(key);
  return *value;
}

// The parser has walked these strings: their lengths hold.
std::vector<std::string_view> GgufFields::texts(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) missing(key);
  if (value->kind != GgufKind::array || value->element != GgufKind::string) reject(key, "an array of strings");
  std::vector<std::string_view> list;
  list.reserve(value->count);
  const std::byte* at = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint64_t size = load<uint64_t>(at);
    list.emplace_back(reinterpret_cast<const char*>(at + 8), size);
    at += 8 + size;
  }
  return list;
}

std::vector<int64_t> GgufFields::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) missing(key);
  if (value->kind != GgufKind::array) reject(key, "an array of integers");
  std::vector<int64_t> list;
  list.reserve(value->count);
  const uint64_t size = kind_size(value->element);
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto integer = integer_of(value->element, value->bytes.data() + i * size);
    if (!integer) reject(key, "an array of integers");
    list.push_back(*integer);
  }
  return list;
}

std::vector<Gguf> open_gguf(const std::filesystem::path& path) {
  std::vector<Gguf> files;
  files.emplace_back(path);
  const GgufFields first(files.front().header(), path.string());
  const int64_t parts = first.maybe_integer("split.count", kMaxParts).value_or(1);
  if (parts <= 1) return files;
  const std::string name = path.filename().string(), ending = fmt::format("-00001-of-{:05}.gguf", parts);
  if (first.integer("split.no", kMaxParts) != 0 || !name.ends_with(ending))
    fail(Errc::not_found, "{}: found one of {} files, expected the first of them, NAME{}", path.string(), parts,
         ending);
  for (int64_t i = 1; i < parts; ++i) {
    const std::string stem = name.substr(0, name.size() - ending.size());
    const auto sibling = path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", stem, i + 1, parts);
    const Gguf& file = files.emplace_back(sibling);
    const GgufFields fields(file.header(), sibling.string());
    if (fields.integer("split.no", kMaxParts) != i || fields.integer("split.count", kMaxParts) != parts)
      fields.reject("split.no", fmt::format("{} of split.count {}", i, parts));
  }
  return files;
}

bool is_gguf(const std::filesystem::path& model) {
  std::error_code error;
  return !is_embedded(model) && std::filesystem::is_regular_file(model, error);
}

}  // namespace inkstone
