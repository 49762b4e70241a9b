// Pretokenizer: cuts text into the pieces that BPE sees, by the Split expression a tokenizer.json publishes, with the
// meaning it has in the reference (Oniguruma, behaviour Isolated: matches and what lies between them are pieces).
// Immutable after compile; used from any thread, each with a Scratch of its own.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace inkstone {

class Pretokenizer {
 public:
  // The expression that a ByteLevel pre-tokenizer with use_regex = true implies (GPT-2's).
  static const std::string& gpt2_pattern();

  // Throws Error(unsupported) where an expression uses what Oniguruma and PCRE2 read differently, or does not compile.
  static Pretokenizer compile(std::string_view expression, std::string_view origin);
  // An expression that stands for exactly these characters.
  static std::string literal(std::string_view text);
  ~Pretokenizer();
  Pretokenizer(Pretokenizer&&) noexcept;
  Pretokenizer& operator=(Pretokenizer&&) noexcept;

  // Working memory for one thread.
  class Scratch {
   public:
    explicit Scratch(const Pretokenizer& owner);
    ~Scratch();
    Scratch(Scratch&&) noexcept;

   private:
    friend class Pretokenizer;
    struct State;
    std::unique_ptr<State> state_;
  };

  // Walks the pieces of one text (valid UTF-8) from left to right; together they cover it.
  class Pieces {
   public:
    Pieces(const Pretokenizer& owner, std::string_view text, Scratch& scratch)
        : owner_(owner), text_(text), scratch_(scratch) {
      begin();
    }
    // False at the end. Throws Error(unsupported) if the expression needs more steps than a sane one does.
    bool next(std::string_view& piece);

   private:
    void begin();
    void find_match(size_t from);

    const Pretokenizer& owner_;
    std::string_view text_;
    Scratch& scratch_;
    size_t position_ = 0;     // where the next piece begins
    size_t match_begin_ = 0;  // the match found but not yet handed out, if has_match_
    size_t match_end_ = 0;
    bool has_match_ = false;
  };

 private:
  struct State;
  explicit Pretokenizer(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace inkstone
