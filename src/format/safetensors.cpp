#include "format/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace inkstone {
namespace {

using Element = simdjson::dom::element;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own library

std::optional<DType> dtype_of(std::string_view name) {
  for (const DType dtype : {DType::bf16, DType::u32, DType::f16, DType::f32, DType::f64, DType::i64, DType::i32,
                            DType::i16, DType::i8, DType::u64, DType::u16, DType::u8, DType::boolean})
    if (name == dtype_name(dtype)) return dtype;
  return std::nullopt;
}

// Types that the format knows and that no MLX checkpoint of this family uses.
bool is_foreign_dtype(std::string_view name) {
  static constexpr std::string_view kForeign[] = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
                                                  "F6_E2M3", "F6_E3M2", "F4",      "C64"};
  return std::find(std::begin(kForeign), std::end(kForeign), name) != std::end(kForeign);
}

struct Range {
  uint64_t begin;
  uint64_t end;
  std::string_view name;
};

// Reads the header of one file; names tensors in errors.
class HeaderParser {
 public:
  HeaderParser(std::span<const std::byte> file, std::string_view origin) : file_(file), origin_(origin) {}

  SafetensorsHeader parse() {
    // Not by way of Json: a header may name 100000 tensors, and opening is felt.
    simdjson::dom::parser parser;
    const simdjson::padded_string text(header_text());
    simdjson::dom::element root;
    if (const auto error = parser.parse(text).get(root); error != simdjson::SUCCESS)
      fail(Errc::bad_file, "{}: header: not valid JSON: {}", origin_, simdjson::error_message(error));
    simdjson::dom::object object;
    if (root.get(object) != simdjson::SUCCESS) fail(Errc::bad_file, "{}: header: expected an object", origin_);
    SafetensorsHeader header;
    bool has_metadata = false;
    ranges_.reserve(object.size());
    for (const auto& [name, value] : object) {
      if (name == "__metadata__") {
        if (std::exchange(has_metadata, true)) fail(Errc::bad_file, "{}: __metadata__: stands twice", origin_);
        header.metadata = metadata(value);
        continue;
      }
      const size_t count = header.tensors.size();
      // Writers sort names, so most belong at the end.
      const auto entry = header.tensors.emplace_hint(header.tensors.end(), name, tensor(name, value));
      if (header.tensors.size() == count) fail(Errc::bad_file, "{}: {}: stands twice", origin_, name);
      ranges_.back().name = entry->first;
    }
    check_coverage();
    return header;
  }

 private:
  std::string_view header_text() {
    if (file_.size() < 8) fail(Errc::bad_file, "{}: {} bytes, expected at least 8", origin_, file_.size());
    uint64_t length = 0;
    for (size_t i = 8; i-- > 0;) length = length << 8 | std::to_integer<uint64_t>(file_[i]);
    if (length > kMaxHeaderBytes)
      fail(Errc::bad_file, "{}: header length: found {}, expected at most {}", origin_, length, kMaxHeaderBytes);
    if (length > file_.size() - 8)
      fail(Errc::bad_file, "{}: header length: found {}, expected at most {} (the file has {} bytes)", origin_, length,
           file_.size() - 8, file_.size());
    data_ = file_.subspan(8 + length);
    const std::string_view text(reinterpret_cast<const char*>(file_.data()) + 8, length);
    if (!text.starts_with('{')) fail(Errc::bad_file, "{}: header: does not start with '{{'", origin_);
    return text;
  }

  std::map<std::string, std::string, std::less<>> metadata(const Element& value) const {
    std::map<std::string, std::string, std::less<>> map;
    if (value.is_null()) return map;
    if (!value.is_object())
      fail(Errc::bad_file, "{}: __metadata__: found {}, expected an object or null", origin_, found(value));
    for (const auto& [key, item] : simdjson::dom::object(value)) {
      if (!item.is_string())
        fail(Errc::bad_file, "{}: __metadata__.{}: found {}, expected a string", origin_, key, found(item));
      if (!map.emplace(key, std::string_view(item)).second)
        fail(Errc::bad_file, "{}: __metadata__.{}: stands twice", origin_, key);
    }
    return map;
  }

  static std::string found(const Element& value) {
    const std::string text = simdjson::minify(value);
    return text.size() <= 60 ? text : fmt::format("{} bytes of JSON", text.size());
  }

  // Up to N non-negative ints.
  template <size_t N>
  size_t ints(std::string_view name, const char* key, const Element& value, std::array<uint64_t, N>& out) const {
    simdjson::dom::array array;
    if (value.get(array) != simdjson::SUCCESS)
      fail(Errc::bad_file, "{}: {}: {}: found {}, expected an array", origin_, name, key, found(value));
    size_t count = 0;
    for (const Element item : array) {
      int64_t number = 0;
      if (!item.is_int64() || item.get(number) != simdjson::SUCCESS || number < 0)
        fail(Errc::bad_file, "{}: {}: {}: found {}, expected ints from 0 to 2^63 - 1", origin_, name, key, found(item));
      if (count == N) fail(Errc::unsupported, "{}: {}: {}: more than {} values", origin_, name, key, N);
      out[count++] = static_cast<uint64_t>(number);
    }
    return count;
  }

  DType dtype(std::string_view name, const Element& value) const {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS)
      fail(Errc::bad_file, "{}: {}: dtype: found {}, expected a string", origin_, name, found(value));
    const auto known = dtype_of(text);
    if (known) return *known;
    if (is_foreign_dtype(text))
      fail(Errc::unsupported, "{}: {}: dtype {}: not an element type of MLX checkpoints", origin_, name, text);
    fail(Errc::bad_file, "{}: {}: dtype: found {}, expected BF16, F16, F32, U32, U8, ..", origin_, name, found(value));
  }

  // dtype, shape and data_offsets of an entry, each once. Other members mean nothing to the format and pass.
  struct Members {
    std::array<Element, 3> value;
    std::array<bool, 3> seen{};
  };

  Members members(std::string_view name, const Element& entry) const {
    static constexpr std::array<std::string_view, 3> kKeys = {"dtype", "shape", "data_offsets"};
    simdjson::dom::object object;
    if (entry.get(object) != simdjson::SUCCESS)
      fail(Errc::bad_file, "{}: {}: found {}, expected an object", origin_, name, found(entry));
    Members result;
    for (const auto& [key, value] : object)
      for (size_t i = 0; i < kKeys.size(); ++i) {
        if (key != kKeys[i]) continue;
        if (std::exchange(result.seen[i], true)) fail(Errc::bad_file, "{}: {}: {}: stands twice", origin_, name, key);
        result.value[i] = value;
      }
    for (size_t i = 0; i < kKeys.size(); ++i)
      if (!result.seen[i]) fail(Errc::bad_file, "{}: {}: {}: missing", origin_, name, kKeys[i]);
    return result;
  }

  ConstTensor tensor(std::string_view name, const Element& entry) {
    const Members parts = members(name, entry);
    ConstTensor tensor;
    tensor.dtype = dtype(name, parts.value[0]);
    const uint64_t size = read_shape(name, parts.value[1], tensor);
    std::array<uint64_t, 2> offsets{};
    if (ints(name, "data_offsets", parts.value[2], offsets) != 2)
      fail(Errc::bad_file, "{}: {}: data_offsets: expected 2 values", origin_, name);
    const auto [begin, end] = offsets;
    if (begin > end || end > data_.size())
      fail(Errc::bad_file, "{}: {}: data_offsets: found [{}, {}], expected a range in {} bytes of data", origin_, name,
           begin, end, data_.size());
    if (end - begin != size)
      fail(Errc::bad_file, "{}: {}: data_offsets: found {} bytes, expected {} for {} {}", origin_, name, end - begin,
           size, dtype_name(tensor.dtype), tensor.shape.to_string());
    tensor.data = data_.data() + begin;
    ranges_.push_back({begin, end, {}});
    return tensor;
  }

  // Sets the shape and returns the size in bytes. The product of the non-zero dimensions must fit, too: whoever
  // multiplies from the left meets it.
  uint64_t read_shape(std::string_view name, const Element& value, ConstTensor& tensor) const {
    std::array<uint64_t, Shape::kMaxRank> dims{};
    const size_t rank = ints(name, "shape", value, dims);
    uint64_t size = static_cast<uint64_t>(dtype_size(tensor.dtype));
    bool zero = false;
    for (size_t i = 0; i < rank; ++i) {
      tensor.shape.push_back(static_cast<int64_t>(dims[i]));
      zero = zero || dims[i] == 0;
      if (dims[i] > 1 && size > static_cast<uint64_t>(INT64_MAX) / dims[i])
        fail(Errc::bad_file, "{}: {}: shape {}: its size overflows", origin_, name, found(value));
      size *= std::max<uint64_t>(dims[i], 1);
    }
    return zero ? 0 : size;
  }

  // Tensors must follow one another without overlap, holes or bytes left over, as the format's own library demands:
  // a file that hides bytes, or uses some twice, was not written by an honest writer.
  void check_coverage() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    uint64_t at = 0;
    std::string_view previous;
    for (const Range& range : ranges_) {
      if (range.begin < at)
        fail(Errc::bad_file, "{}: {}: overlaps {}: begins at {}, expected {}", origin_, range.name, previous,
             range.begin, at);
      if (range.begin > at)
        fail(Errc::bad_file, "{}: {}: begins at {}, expected {}: {} bytes of data belong to no tensor", origin_,
             range.name, range.begin, at, range.begin - at);
      at = range.end;
      previous = range.name;
    }
    if (at != data_.size())
      fail(Errc::bad_file, "{}: {} bytes after the last tensor, expected none", origin_, data_.size() - at);
  }

  std::span<const std::byte> file_;
  std::span<const std::byte> data_;
  std::string_view origin_;
  std::vector<Range> ranges_;
};

}  // namespace

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view origin) {
  return HeaderParser(file, origin).parse();
}

Safetensors::Safetensors(const std::filesystem::path& path) : file_(path) {
  SafetensorsHeader header = parse_safetensors(file_.bytes(), path.string());
  tensors_ = std::move(header.tensors);
  metadata_ = std::move(header.metadata);
}

const ConstTensor* Safetensors::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace inkstone
