#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"
#include "text/vocabulary.h"
#include "text/word_cache.h"

namespace inkstone {
namespace {

using Runs = std::vector<MarkedText::Run>;

// Valid UTF-8 of a text and of its marks: what a mark ended inside of ends with the U+FFFD it became.
std::string valid_text(std::string_view text, const Runs* runs, Runs& moved) {
  std::string out;
  size_t run = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Head head = utf8_head(text.substr(i));
    if (head.kind == Utf8Head::Kind::character)
      out += text.substr(i, head.length);
    else
      out += kReplacementCharacter;
    i += head.length;
    for (; runs && run < runs->size() && (*runs)[run].end <= i; ++run)
      moved.push_back({out.size(), (*runs)[run].from_template});
  }
  return out;
}

// The marks of [begin, end) of `text`, for its NFC. Normalisation mixes no characters across one below U+0300, so a
// stretch between such places comes from the template if all of it does.
std::string nfc_marked(std::string_view text, size_t begin, size_t end, const Runs& runs, Runs& moved) {
  std::string out, scratch;
  size_t run = 0;
  while (begin < end) {
    size_t stop = begin + 1;
    while (stop < end && static_cast<uint8_t>(text[stop]) >= 0x80 && static_cast<uint8_t>(text[stop]) < 0xC0) ++stop;
    while (stop < end && static_cast<uint8_t>(text[stop]) >= 0xCC) stop += utf8_head(text.substr(stop)).length;
    while (run < runs.size() && runs[run].end <= begin) ++run;
    bool from_template = true;
    for (size_t r = run; r < runs.size() && (r == run || runs[r - 1].end < stop); ++r)
      from_template = from_template && runs[r].from_template;
    out += nfc(text.substr(begin, stop - begin), scratch);
    if (!moved.empty() && moved.back().from_template == from_template)
      moved.back().end = out.size();
    else
      moved.push_back({out.size(), from_template});
    begin = stop;
  }
  return out;
}

// The ids of the file's merges. In published files each merge makes the token after the one before: that guess saves
// a look-up.
std::vector<Bpe::Merge> resolve_merges(const TokenizerFile& file, const Vocabulary& vocabulary,
                                       std::string_view origin) {
  std::vector<Bpe::Merge> merges;
  merges.reserve(file.merges.size());
  std::string both;
  int32_t guess = -1;
  constexpr size_t kAhead = 16;
  uint64_t left_hashes[kAhead], right_hashes[kAhead];
  for (size_t i = 0; i < file.merges.size() + kAhead; ++i) {
    const size_t place = i % kAhead;
    Bpe::Merge merge{-1, -1, -1};
    std::string_view left, right;
    if (i >= kAhead) {
      left = file.merges[i - kAhead].left, right = file.merges[i - kAhead].right;
      merge.left = vocabulary.find(left, left_hashes[place]);
      merge.right = vocabulary.find(right, right_hashes[place]);
    }
    if (i < file.merges.size()) {
      vocabulary.prefetch(left_hashes[place] = vocabulary.hash(file.merges[i].left));
      vocabulary.prefetch(right_hashes[place] = vocabulary.hash(file.merges[i].right));
    }
    if (i < kAhead) continue;
    if (merge.left < 0 || merge.right < 0)
      fail(Errc::bad_file, "{}: model.merges[{}]: \"{}\" is no token of the vocab", origin, merges.size(),
           (merge.left < 0 ? left : right).substr(0, 80));
    const std::string_view guessed = vocabulary.spelling(guess);
    if (guessed.size() == left.size() + right.size() && guessed.starts_with(left) && guessed.ends_with(right) &&
        vocabulary.contains(guess)) {
      merge.result = guess;
    } else {
      both.assign(left).append(right);
      merge.result = vocabulary.find(both);
    }
    if (merge.result < 0)
      fail(Errc::bad_file, "{}: model.merges[{}]: makes \"{}\", which is no token of the vocab", origin, merges.size(),
           both.substr(0, 80));
    guess = merge.result + 1;
    merges.push_back(merge);
  }
  return merges;
}

void check_added_tokens(const TokenizerFile& file, const Vocabulary& vocabulary, std::string_view origin) {
  std::vector<std::string_view> contents;
  std::vector<int32_t> ids;
  for (const AddedToken& token : file.added_tokens) {
    const int32_t known = vocabulary.find(token.content);
    if ((known >= 0 && known != token.id) || (vocabulary.contains(token.id) && known != token.id))
      fail(Errc::bad_file, "{}: added_tokens: \"{}\" has id {}, the vocab says otherwise", origin,
           token.content.substr(0, 80), token.id);
    contents.push_back(token.content);
    ids.push_back(token.id);
  }
  std::sort(contents.begin(), contents.end());
  std::sort(ids.begin(), ids.end());
  if (const auto twice = std::adjacent_find(contents.begin(), contents.end()); twice != contents.end())
    fail(Errc::bad_file, "{}: added_tokens: \"{}\" stands twice", origin, twice->substr(0, 80));
  if (const auto twice = std::adjacent_find(ids.begin(), ids.end()); twice != ids.end())
    fail(Errc::bad_file, "{}: added_tokens: id {} stands twice", origin, *twice);
}

}  // namespace

struct Tokenizer::State {
  Vocabulary vocabulary;
  AddedTokens added;
  Pretokenizer pretokenizer;
  Bpe bpe;
  bool nfc = false;
  bool ignore_merges = false;

  // What one thread needs while it encodes. Kept for the next, so that caches stay warm.
  struct Workspace {
    explicit Workspace(const Pretokenizer& pretokenizer) : split(pretokenizer) {}
    Pretokenizer::Scratch split;
    Bpe::Scratch merge;
    WordCache cache;
    std::string normalised;
    std::string spelling;
  };
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Workspace>> idle;  // never grows beyond what parse() reserves
  static constexpr size_t kMaxIdle = 64;

  class Lease {
   public:
    explicit Lease(const State& state) : state_(state) {
      {
        const std::lock_guard lock(state.mutex);
        if (!state.idle.empty()) {
          workspace_ = std::move(state.idle.back());
          state.idle.pop_back();
        }
      }
      if (!workspace_) workspace_ = std::make_unique<Workspace>(state.pretokenizer);
    }
    ~Lease() {
      if (workspace_->merge.nodes.capacity() > kKeep) workspace_->merge = {};  // one huge word is no habit
      if (workspace_->normalised.capacity() > kKeep) workspace_->normalised = {};
      const std::lock_guard lock(state_.mutex);
      if (state_.idle.size() < kMaxIdle) state_.idle.push_back(std::move(workspace_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Workspace& operator*() const { return *workspace_; }

   private:
    static constexpr size_t kKeep = size_t{1} << 20;
    const State& state_;
    std::unique_ptr<Workspace> workspace_;
  };

  std::vector<int32_t> encode(std::string_view text, const Runs* runs, bool recognise) const;
  void encode_text(std::string_view text, Workspace& workspace, std::vector<int32_t>& ids) const;
  void encode_segment(std::string_view text, size_t begin, size_t end, const Runs* runs, bool recognise,
                      Workspace& workspace, std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const;
};

std::vector<int32_t> Tokenizer::State::encode(std::string_view text, const Runs* runs, bool recognise) const {
  std::vector<int32_t> ids;
  if (text.empty()) return ids;
  std::string valid;
  Runs moved;
  if (!is_valid_utf8(text)) {
    valid = valid_text(text, runs, moved);
    text = valid;
    if (runs) runs = &moved;
  }
  ids.reserve(text.size() / 4 + 8);
  const Lease lease(*this);
  if (!recognise) {
    encode_segment(text, 0, text.size(), nullptr, false, *lease, ids);
    return ids;
  }
  for (const AddedTokens::Segment& segment : added.split(text, runs, false)) {
    if (segment.id >= 0)
      ids.push_back(segment.id);
    else
      encode_segment(text, segment.begin, segment.end, runs, true, *lease, ids);
  }
  return ids;
}

void Tokenizer::State::encode_segment(std::string_view text, size_t begin, size_t end, const Runs* runs, bool recognise,
                                      Workspace& workspace, std::vector<int32_t>& ids) const {
  if (!recognise || !added.any_normalized()) {
    const std::string_view segment = text.substr(begin, end - begin);
    return encode_text(nfc ? inkstone::nfc(segment, workspace.normalised) : segment, workspace, ids);
  }
  Runs moved;
  std::string normalised;
  const Runs everywhere = {{text.size(), true}};
  if (nfc) {
    normalised = nfc_marked(text, begin, end, runs ? *runs : everywhere, moved);
  } else {
    normalised = text.substr(begin, end - begin);
    for (const MarkedText::Run& run : runs ? *runs : everywhere)
      if (run.end > begin) moved.push_back({std::min(run.end, end) - begin, run.from_template});
  }
  const std::string_view view = normalised;
  for (const AddedTokens::Segment& segment : added.split(view, &moved, true)) {
    if (segment.id >= 0)
      ids.push_back(segment.id);
    else
      encode_text(view.substr(segment.begin, segment.end - segment.begin), workspace, ids);
  }
}

void Tokenizer::State::encode_text(std::string_view text, Workspace& workspace, std::vector<int32_t>& ids) const {
  Pretokenizer::Pieces pieces(pretokenizer, text, workspace.split);
  const char* end = text.data() + text.size();
  for (std::string_view word; pieces.next(word);) {
    if (word.size() > WordCache::kMaxWord) {
      encode_word(word, workspace, ids);
      continue;
    }
    const WordCache::Key key = WordCache::key_of(word, static_cast<size_t>(end - word.data()));
    WordCache::Entry& entry = workspace.cache.entry_of(key);
    if (entry.key == key) {
      ids.insert(ids.end(), entry.ids, entry.ids + entry.count);
      continue;
    }
    const size_t before = ids.size();
    encode_word(word, workspace, ids);
    if (ids.size() - before > WordCache::kMaxIds) continue;
    entry.key = key;
    entry.count = static_cast<int32_t>(ids.size() - before);
    std::copy(ids.begin() + static_cast<ptrdiff_t>(before), ids.end(), entry.ids);
  }
}

void Tokenizer::State::encode_word(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const {
  if (ignore_merges) {
    workspace.spelling.clear();
    for (const char c : word) append_utf8(spelling_of_byte(static_cast<uint8_t>(c)), workspace.spelling);
    if (const int32_t id = vocabulary.find(workspace.spelling); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  bpe.encode(word, workspace.merge, ids);
}

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  const MappedFile file(folder / "tokenizer.json");
  return parse(file.text(), file.path().string());
}

Tokenizer Tokenizer::parse(std::string_view json, std::string_view origin) {
  const TokenizerFile file = parse_tokenizer_file(json, origin);
  Vocabulary vocabulary(file.vocab, origin);
  check_added_tokens(file, vocabulary, origin);
  std::array<int32_t, 256> byte_ids;
  for (int b = 0; b < 256; ++b) {
    std::string spelling;
    append_utf8(spelling_of_byte(static_cast<uint8_t>(b)), spelling);
    byte_ids[b] = vocabulary.find(spelling);
    if (byte_ids[b] < 0 && file.has_unknown_token)
      fail(Errc::unsupported, "{}: model.unk_token: set, and byte {:#04x} has no token of its own", origin, b);
  }
  Bpe bpe(byte_ids, resolve_merges(file, vocabulary, origin));
  Pretokenizer pretokenizer = Pretokenizer::compile(file.split_expression, origin);
  std::unique_ptr<const State> state(new State{.vocabulary = std::move(vocabulary),
                                               .added = AddedTokens(file.added_tokens, file.nfc),
                                               .pretokenizer = std::move(pretokenizer),
                                               .bpe = std::move(bpe),
                                               .nfc = file.nfc,
                                               .ignore_merges = file.ignore_merges,
                                               .mutex = {},
                                               .idle = {}});
  state->idle.reserve(State::kMaxIdle);
  return Tokenizer(std::move(state));
}

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text) const { return state_->encode(text, nullptr, true); }

std::vector<int32_t> Tokenizer::encode(const MarkedText& text) const {
  return state_->encode(text.text, &text.runs, true);
}

std::vector<int32_t> Tokenizer::encode_plain(std::string_view text) const {
  return state_->encode(text, nullptr, false);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids)
    if (!skip_special || !is_special(id)) bytes += bytes_of(id);
  return is_valid_utf8(bytes) ? bytes : to_valid_utf8(bytes);
}

std::string_view Tokenizer::bytes_of(int32_t id) const {
  return is_added(id) ? state_->added.bytes(id) : state_->vocabulary.bytes(id);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const AddedToken* added = state_->added.find(token)) return added->id;
  const int32_t id = state_->vocabulary.find(token);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

bool Tokenizer::is_added(int32_t id) const { return state_->added.find(id) != nullptr; }

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = state_->added.find(id);
  return token && token->special;
}

int Tokenizer::vocab_size() const { return std::max(state_->vocabulary.size(), state_->added.highest_id() + 1); }

}  // namespace inkstone
