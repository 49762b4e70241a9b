#include "text/bpe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

namespace inkstone {
namespace {

struct Random {
  std::array<int32_t, 256> byte_ids;
  std::vector<Bpe::Merge> merges;
};

// Tokens over a small alphabet, each merge of two tokens made before; some pairs stand twice, some bytes have no token.
Random random_merges(std::mt19937& random, int count) {
  Random made;
  made.byte_ids.fill(-1);
  const int letters = 4;
  for (int i = 0; i < letters; ++i) made.byte_ids['a' + i] = i;
  std::vector<std::string> tokens = {"a", "b", "c", "d"};
  std::map<std::string, int32_t> ids = {{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}};
  while (static_cast<int>(made.merges.size()) < count) {
    const int left = static_cast<int>(random() % tokens.size()), right = static_cast<int>(random() % tokens.size());
    const std::string both = tokens[left] + tokens[right];
    if (both.size() > 12) continue;
    const auto [at, fresh] = ids.try_emplace(both, static_cast<int32_t>(tokens.size()));
    if (fresh) tokens.push_back(both);
    made.merges.push_back({left, right, at->second});
  }
  return made;
}

// The definition: while any pair has a rank, merge the leftmost of the lowest rank.
std::vector<int32_t> naive(const Random& made, std::string_view word) {
  std::map<std::pair<int32_t, int32_t>, size_t> ranks;
  for (size_t rank = 0; rank < made.merges.size(); ++rank)
    ranks[{made.merges[rank].left, made.merges[rank].right}] = rank;
  std::vector<int32_t> ids;
  for (const char c : word)
    if (made.byte_ids[static_cast<uint8_t>(c)] >= 0) ids.push_back(made.byte_ids[static_cast<uint8_t>(c)]);
  while (true) {
    size_t best = ranks.size() + made.merges.size(), at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second < best) best = found->second, at = i;
    }
    if (best >= made.merges.size()) return ids;
    ids[at] = made.merges[best].result;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, ShortAndLongWordsAgreeWithTheDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const Random made = random_merges(random, 1 + static_cast<int>(random() % 60));
    const Bpe bpe(made.byte_ids, made.merges);
    Bpe::Scratch scratch;
    for (int words = 0; words < 20; ++words) {
      std::string word;
      for (size_t n = 1 + random() % (words < 14 ? 30 : 150); n > 0; --n)
        word += random() % 50 == 0 ? 'z' : static_cast<char>('a' + random() % 4);
      std::vector<int32_t> ids;
      bpe.encode(word, scratch, ids);
      ASSERT_EQ(ids, naive(made, word)) << word;
    }
  }
}

TEST(Bpe, NoMergesNoBytes) {
  std::array<int32_t, 256> none;
  none.fill(-1);
  const Bpe bpe(none, {});
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  bpe.encode("abc", scratch, ids);
  bpe.encode(std::string(100, 'x'), scratch, ids);
  EXPECT_TRUE(ids.empty());
}

// Twice the word costs about twice the time: a quadratic merge would take minutes here.
TEST(Bpe, AMegabyteWordIsNoTrap) {
  std::array<int32_t, 256> byte_ids;
  for (int b = 0; b < 256; ++b) byte_ids[b] = b;
  std::vector<Bpe::Merge> merges;
  int32_t token = 'a';
  for (int32_t next = 256; next < 268; ++next) {
    merges.push_back({token, token, next});
    token = next;
  }
  const Bpe bpe(byte_ids, merges);
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  const auto begin = std::chrono::steady_clock::now();
  bpe.encode(std::string(1 << 20, 'a'), scratch, ids);
  EXPECT_EQ(ids, std::vector<int32_t>(256, 267));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace inkstone
