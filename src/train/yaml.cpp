#include "train/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/error.h"

namespace inkstone {
namespace {

constexpr size_t kMaxBytes = size_t{64} << 10;
constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxMembers = 1000;  // of one mapping

// Builds the tree from the parser's events: nothing is expanded, so nothing grows beyond the text.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(std::string_view origin) : origin_(origin) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    refuse(mark, fmt::format("found the anchor &{}, expected none", name));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark, "found an alias, expected none"); }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add(mark, YamlNode::Kind::null, {}, {}); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    add(mark, YamlNode::Kind::scalar, tag, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::list, tag);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::mapping, tag);
  }
  void OnMapEnd() override { close(); }

 private:
  // A list or mapping that is being read. `key` waits for its value.
  struct Open {
    YamlNode node;
    std::string key;
    int key_line = 0;
    bool has_key = false;
  };

  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& what) const {
    fail(Errc::bad_file, "{}: line {}: {}", origin_, mark.line + 1, what);
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) const {
    // "?": plain, "!": quoted or said to be no more than it is.
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, fmt::format("found the tag {}, expected none", tag));
  }

  void add(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& tag, const std::string& text) {
    check_tag(mark, tag);
    if (!stack_.empty() && stack_.back().node.kind == YamlNode::Kind::mapping && !stack_.back().has_key) {
      if (kind != YamlNode::Kind::scalar) refuse(mark, "found no key, expected one");
      return start_member(mark, text);
    }
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.quoted = tag == "!";
    node.text = text;
    place(std::move(node));
  }

  void start_member(const YAML::Mark& mark, const std::string& key) {
    Open& open = stack_.back();
    const std::vector<std::string>& keys = open.node.keys;
    if (const auto again = std::find(keys.begin(), keys.end(), key); again != keys.end())
      refuse(mark, fmt::format("{}: found again, expected once (line {})", key,
                               open.node.items[static_cast<size_t>(again - keys.begin())].line));
    if (keys.size() >= kMaxMembers) refuse(mark, fmt::format("found more than {} keys", kMaxMembers));
    open.key = key;
    open.key_line = mark.line + 1;
    open.has_key = true;
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& tag) {
    check_tag(mark, tag);
    if (stack_.size() >= kMaxDepth) refuse(mark, fmt::format("found more than {} levels", kMaxDepth));
    if (!stack_.empty() && stack_.back().node.kind == YamlNode::Kind::mapping && !stack_.back().has_key)
      refuse(mark, "found a list or mapping as a key, expected a word");
    stack_.emplace_back();
    stack_.back().node.kind = kind;
    stack_.back().node.line = mark.line + 1;
  }

  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    place(std::move(node));
  }

  void place(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& open = stack_.back();
    if (open.node.kind == YamlNode::Kind::list) {
      open.node.items.push_back(std::move(node));
      return;
    }
    node.line = open.key_line;
    open.node.keys.push_back(std::move(open.key));
    open.node.items.push_back(std::move(node));
    open.has_key = false;
  }

  std::string origin_;
  std::vector<Open> stack_;
  YamlNode root_;
};

}  // namespace

const char* YamlNode::kind_name() const {
  switch (kind) {
    case Kind::null: return "nothing";
    case Kind::scalar: return "a value";
    case Kind::list: return "a list";
    case Kind::mapping: return "a mapping";
  }
  return "?";
}

YamlNode parse_yaml(std::string_view text, std::string_view origin) {
  if (text.size() > kMaxBytes)
    fail(Errc::bad_file, "{}: found {} bytes, expected at most {}", origin, text.size(), kMaxBytes);
  // The library stops in silence at a zero byte.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
    fail(Errc::bad_file, "{}: line {}: found a zero byte, expected text", origin,
         std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n') + 1);
  std::istringstream stream{std::string(text)};
  Builder builder(origin);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    YamlNode root = builder.take();
    Builder rest(origin);
    if (parser.HandleNextDocument(rest)) fail(Errc::bad_file, "{}: found several documents, expected one", origin);
    return root;
  } catch (const YAML::Exception& error) {
    fail(Errc::bad_file, "{}: line {}: {}", origin, error.mark.line + 1, error.msg);
  }
}

}  // namespace inkstone
