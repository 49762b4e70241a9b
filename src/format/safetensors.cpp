#include "format/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "format/json_fields.h"

namespace inkstone {
namespace {

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
    const Json json = Json::parse(header_text(), origin_);
    if (!json.is_object()) fail(Errc::bad_file, "{}: header: found {}, expected an object", origin_, json.type_name());
    SafetensorsHeader header;
    ranges_.reserve(json.as_object().size());
    for (const auto& [name, value] : json.as_object()) {
      if (name == "__metadata__")
        header.metadata = metadata(value);
      else
        header.tensors.emplace(name, tensor(name, value));
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

  std::map<std::string, std::string, std::less<>> metadata(const Json& value) const {
    std::map<std::string, std::string, std::less<>> map;
    if (value.is_null()) return map;
    if (!value.is_object())
      fail(Errc::bad_file, "{}: __metadata__: found {}, expected an object or null", origin_, value.type_name());
    for (const auto& [key, item] : value.as_object()) {
      if (!item.is_string())
        fail(Errc::bad_file, "{}: __metadata__.{}: found {}, expected a string", origin_, key, item.type_name());
      map.emplace(key, item.as_string());
    }
    return map;
  }

  // A member that must be an array of non-negative ints.
  const Json::Array& array(std::string_view name, const Json& entry, const char* key) const {
    const Json* value = entry.find(key);
    if (value == nullptr || !value->is_array())
      fail(Errc::bad_file, "{}: {}: {}: found {}, expected an array", origin_, name, key,
           value == nullptr ? "nothing" : value->type_name());
    for (const Json& item : value->as_array())
      if (!item.is_int() || item.as_int() < 0)
        fail(Errc::bad_file, "{}: {}: {}: found {}, expected ints from 0", origin_, name, key, describe(item));
    return value->as_array();
  }

  DType dtype(std::string_view name, const Json& entry) const {
    const Json* value = entry.find("dtype");
    if (value == nullptr || !value->is_string())
      fail(Errc::bad_file, "{}: {}: dtype: found {}, expected a string", origin_, name,
           value == nullptr ? "nothing" : value->type_name());
    const auto known = dtype_of(value->as_string());
    if (known) return *known;
    if (is_foreign_dtype(value->as_string()))
      fail(Errc::unsupported, "{}: {}: dtype {}: not an element type of MLX checkpoints", origin_, name,
           value->as_string());
    fail(Errc::bad_file, "{}: {}: dtype: found {}, expected BF16, F16, F32, U32, U8, ..", origin_, name,
         describe(*value));
  }

  ConstTensor tensor(std::string_view name, const Json& entry) {
    if (!entry.is_object())
      fail(Errc::bad_file, "{}: {}: found {}, expected an object", origin_, name, entry.type_name());
    ConstTensor tensor;
    tensor.dtype = dtype(name, entry);

    const Json::Array& dims = array(name, entry, "shape");
    if (dims.size() > static_cast<size_t>(Shape::kMaxRank))
      fail(Errc::unsupported, "{}: {}: shape: {} dimensions, expected at most {}", origin_, name, dims.size(),
           Shape::kMaxRank);
    uint64_t size = static_cast<uint64_t>(dtype_size(tensor.dtype));
    bool zero = false;
    for (const Json& dim : dims) {
      tensor.shape.push_back(dim.as_int());
      // The product of the non-zero dimensions must fit, too: Shape::elements() multiplies from the left.
      const uint64_t factor = static_cast<uint64_t>(dim.as_int());
      zero = zero || factor == 0;
      if (factor > 1 && size > static_cast<uint64_t>(INT64_MAX) / factor)
        fail(Errc::bad_file, "{}: {}: shape {}: its size overflows", origin_, name, describe_dims(dims));
      size *= std::max<uint64_t>(factor, 1);
    }
    if (zero) size = 0;

    const Json::Array& offsets = array(name, entry, "data_offsets");
    if (offsets.size() != 2)
      fail(Errc::bad_file, "{}: {}: data_offsets: found {} values, expected 2", origin_, name, offsets.size());
    const uint64_t begin = static_cast<uint64_t>(offsets[0].as_int());
    const uint64_t end = static_cast<uint64_t>(offsets[1].as_int());
    if (begin > end || end > data_.size())
      fail(Errc::bad_file, "{}: {}: data_offsets: found [{}, {}], expected a range in {} bytes of data", origin_, name,
           begin, end, data_.size());
    if (end - begin != size)
      fail(Errc::bad_file, "{}: {}: data_offsets: found {} bytes, expected {} for {} {}", origin_, name, end - begin,
           size, dtype_name(tensor.dtype), tensor.shape.to_string());
    tensor.data = data_.data() + begin;
    ranges_.push_back({begin, end, name});
    return tensor;
  }

  static std::string describe_dims(const Json::Array& dims) {
    std::string text = "[";
    for (size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i].as_int());
    return text + "]";
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
