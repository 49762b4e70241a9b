#include "bench/sample_text.h"

#include <array>
#include <cmath>
#include <string_view>
#include <vector>

namespace inkstone {
namespace {

uint64_t scramble(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(scramble(seed)) {}
  uint64_t next() { return state_ = scramble(state_); }
  size_t below(size_t n) { return next() % n; }
  bool one_in(size_t n) { return below(n) == 0; }
  template <class List>
  auto of(const List& list) {
    return list[below(std::size(list))];
  }
  // A rank below n, in proportion to 1 / (rank + 1).
  size_t zipf(size_t n) {
    const double u = static_cast<double>(next() >> 11) * 0x1p-53;
    return static_cast<size_t>(std::exp(u * std::log(static_cast<double>(n) + 1))) - 1;
  }

 private:
  uint64_t state_;
};

constexpr size_t kLexicon = 400'000;  // words of each alphabet

using List = std::vector<std::string_view>;

List split(std::string_view words) {
  List list;
  while (!words.empty()) {
    const size_t end = words.find(' ');
    list.push_back(words.substr(0, end));
    words.remove_prefix(end == std::string_view::npos ? words.size() : end + 1);
  }
  return list;
}

List characters(std::string_view text) {
  List list;
  for (size_t i = 0; i < text.size();) {
    const unsigned char first = static_cast<unsigned char>(text[i]);
    const size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    list.push_back(text.substr(i, length));
    i += length;
  }
  return list;
}

// A language: its commonest words as they are, all others built from parts by their rank.
struct Lexicon {
  List common, prefixes, stems, suffixes;

  std::string word(size_t rank) const {
    if (rank < common.size()) return std::string(common[rank]);
    Dice dice(rank * 7919);
    std::string word;
    if (!prefixes.empty() && dice.one_in(3)) word += dice.of(prefixes);
    word += dice.of(stems);
    if (rank >= 3000) word += dice.of(stems);
    if (dice.one_in(3)) word += dice.of(stems);
    if (!suffixes.empty() && !dice.one_in(3)) word += dice.of(suffixes);
    return word;
  }
  std::string draw(Dice& dice) const { return word(dice.zipf(kLexicon)); }
};

const Lexicon kEnglish = {
    split(
        "the of and to in a is that for it was on with as be by this are at from not have or which but all they an we "
        "can has were their one if there been more when will would who so no other what about into than its time up "
        "some only could new them two may like then do first any now such over our man me even most made after also"),
    split("re un dis over under inter trans pre sub con per ex de non micro hyper multi anti"),
    split("act form port struct scrib dict ject spect vert duc mit tract press cept fer pos graph log meter phon scop "
          "gen path morph chron therm bio geo hydr electr magn cycl light stone water wind house work hand heart land "
          "field book craft sign train stock watch break draw fall grow hold know light run set stand turn wear write "
          "car bel mor tan ver lin sor pel dar ton gal rem nor vis col bar mel sin tor har lan fen dor wil ash brook"),
    split("s ed ing er ers tion tions ly ness ment able ful less ity ive al ous ism ist ize ized ary")};
const Lexicon kRussian = {
    split("и в не на я быть он с что а по это она этот к но они мы весь который из у то за свой весь год от так о для"),
    split("при пере раз про под над об вы за от пре"),
    split("ход вод пис каз дел стро мест вид слов врем город дом раб нос лож лет сил род глас стран прав учен книг "
          "мор гор лес бел черн нов стар молод"),
    split("а ы ом ами ение ения ный ная ного ость ости ать ить ал ила ется ский ского")};
const Lexicon kArabic = {
    split("في من على إلى أن هذا التي الذي كان عن مع هو ما لا بعد قد كل بين ذلك وقد حتى"),
    split("ال و بال لل وال ي ت م"),
    split("كتب درس علم عمل حكم دول شعب سلم قول رجل مدن سوق بحث نظر فتح خرج دخل طلب جمع صنع حرب سيا قتص جتم ثقف"),
    split("ة ات ون ين ها هم ية ي نا وا")};
const Lexicon kHindi = {
    split("के में की है यह और से हैं को पर इस होता कि जो कर मे गया करने किया लिये अपने ने बनी नहीं तो ही या एवं"),
    split("प्र वि सम अनु उप"),
    split("कार देश राज शिक्षा समय लोक जन धन नगर काल भाषा विद्या पुस्तक मार्ग सरकार बाज़ार दिन रात पानी घर काम खेल गाँव"),
    split("ों ता त्व ी ीय ित वाला करण ियाँ")};
const Lexicon kThai = {
    split("ที่ และ ใน เป็น การ มี ของ ได้ ไม่ ให้ ว่า จะ กับ นี้ จาก มา ไป แต่"),
    split("การ ความ นัก ผู้"),
    split("เรียน ทำงาน ประเทศ รัฐบาล เมือง น้ำ บ้าน คน วัน ปี หนังสือ อาหาร ตลาด เดินทาง ภาษา ไทย ข่าว เศรษฐกิจ สังคม พัฒนา"),
    {}};
const Lexicon kKorean = {split("이 그 것 수 등 및 있는 하는 대한 위해 있다 한다 그리고 또한 때문에 우리 사람 한국"),
                         {},
                         split("경제 사회 정부 문화 기술 교육 시장 국가 지역 개발 연구 정보 환경 산업 관리 시스템 서울 "
                               "대학 학생 회사 제품 가격 시간 역사 과학 음악 영화 건강 "
                               "도시 자연 세계"),
                         split("은 는 이 가 을 를 에 에서 으로 의 와 과 도 만 들은 했다 한다 하고 적인 되어")};
const Lexicon kChinese = {
    characters("的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后么"),
    {},
    characters("心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样"
               "现分将外但身些与高意进把法"
               "此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东"
               "政海口使教西再平真听世气信北少关"
               "并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应"
               "路期叫死常提感金何更反合放做系计或司利受光王"),
    {}};
const Lexicon kJapanese = {
    split("の に は を た が で て と し れ さ ある いる も する から な こと として い や など なっ ない この ため "
          "その あっ よう また もの という あり まで"),
    {},
    split("日本 東京 世界 時間 会社 学校 研究 技術 情報 文化 経済 社会 政府 電車 自然 音楽 映画 料理 旅行 友達 "
          "コンピュータ データ システム サービス "
          "ネット テレビ ゲーム 食べ 書き 読み 話し 見え 考え 使い 新しい 大きい 美しい 今日 昨日 先生 学生"),
    split("する します した して ます です でした れる られる ない たい さん 的 化 性")};

using Writer = void (*)(Dice&, std::string&);

// One sentence of words with `blank` between them.
void sentence(const Lexicon& lexicon, Dice& dice, std::string_view blank, std::string_view comma, std::string_view stop,
              std::string& out) {
  const size_t words = 4 + dice.below(18);
  for (size_t i = 0; i < words; ++i) {
    std::string word = lexicon.draw(dice);
    const bool capital = i == 0 || dice.one_in(30);
    if (capital && word[0] >= 'a' && word[0] <= 'z') word[0] = static_cast<char>(word[0] - 32);
    out += word;
    if (i + 1 == words) break;
    if (dice.one_in(11)) out += comma;
    out += dice.one_in(60) ? "\n" : blank;
  }
  out += stop;
  out += dice.one_in(6) ? std::string_view("\n\n") : blank;
}

std::string number(Dice& dice) {
  switch (dice.below(5)) {
    case 0: return std::to_string(dice.below(100));
    case 1: return std::to_string(1900 + dice.below(130));
    case 2: return std::to_string(dice.below(1000)) + "." + std::to_string(dice.below(1'000'000));
    case 3: return std::to_string(1 + dice.below(999)) + "," + std::to_string(100 + dice.below(900));
    default: return std::to_string(dice.next() >> dice.below(60));
  }
}

std::string identifier(Dice& dice) {
  std::string name = kEnglish.draw(dice);
  const bool camel = dice.one_in(2);
  for (size_t more = dice.below(3); more > 0; --more) {
    std::string word = kEnglish.draw(dice);
    if (camel) word[0] = static_cast<char>(word[0] - 32);
    name += (camel ? "" : "_") + word;
  }
  return name;
}

void english(Dice& dice, std::string& out) {
  sentence(kEnglish, dice, " ", ",", dice.one_in(7) ? "?" : dice.one_in(9) ? "; it's" : ".", out);
}

void code(Dice& dice, std::string& out) {
  static const List kKeywords = split("if for while return const auto static int def class import let var fn struct");
  static const List kOperators = split("= == + - * / -> => && || <= != += :: . ,");
  const std::string indent(4 * dice.below(5), ' ');
  switch (dice.below(6)) {
    case 0: out += indent + "// " + kEnglish.draw(dice) + " " + kEnglish.draw(dice) + "\n"; break;
    case 1:
      out += indent + std::string(dice.of(kKeywords)) + " (" + identifier(dice) + " < " + number(dice) + ") {\n";
      break;
    case 2: out += indent + "}\n\n"; break;
    case 3:
      out += indent + identifier(dice) + "(" + identifier(dice) + ", \"" + kEnglish.draw(dice) + "\\n\");\n";
      break;
    default:
      out += indent + std::string(dice.of(kKeywords)) + " " + identifier(dice) + " " +
             std::string(dice.of(kOperators)) + " " + identifier(dice) + "[" + number(dice) + "];\n";
  }
}

void json(Dice& dice, std::string& out) {
  out += "{\n  \"" + identifier(dice) + "\": " + number(dice) + ",\n  \"" + identifier(dice) + "\": [";
  for (size_t n = 1 + dice.below(5); n > 0; --n) out += number(dice) + (n > 1 ? ", " : "],\n");
  out += "  \"" + kEnglish.draw(dice) + "\": {\"" + kEnglish.draw(dice) + "\": \"" + kEnglish.draw(dice) + " " +
         kEnglish.draw(dice) + "\", \"ok\": true}\n},\n";
}

void chinese(Dice& dice, std::string& out) { sentence(kChinese, dice, "", "，", "。", out); }
void japanese(Dice& dice, std::string& out) { sentence(kJapanese, dice, "", "、", "。", out); }
void korean(Dice& dice, std::string& out) { sentence(kKorean, dice, " ", ",", ".", out); }
void arabic(Dice& dice, std::string& out) { sentence(kArabic, dice, " ", "،", ".", out); }
void hindi(Dice& dice, std::string& out) { sentence(kHindi, dice, " ", ",", "।", out); }
void thai(Dice& dice, std::string& out) { sentence(kThai, dice, "", " ", " ", out); }
void russian(Dice& dice, std::string& out) { sentence(kRussian, dice, " ", ",", ".", out); }
void numbers(Dice& dice, std::string& out) {
  out += number(dice) + (dice.one_in(8) ? "\n" : dice.one_in(2) ? "\t" : " ");
}

void urls(Dice& dice, std::string& out) {
  out += "https://" + kEnglish.draw(dice) + "." + kEnglish.draw(dice) + ".org/" + identifier(dice) + "/" +
         std::to_string(dice.below(100'000)) + "?" + kEnglish.draw(dice) + "=%" + std::to_string(10 + dice.below(89)) +
         "&" + kEnglish.draw(dice) + "=" + identifier(dice) + "\n";
}

void emoji(Dice& dice, std::string& out) {
  static const List kEmoji = split(
      "😀 😂 ❤️ 👍🏽 👩‍💻 🎉 🇩🇪 🔥 ✅ 🚀 🤖 👨‍👩‍👧‍👦 ☕ 🌍");
  out += kEnglish.draw(dice) + " ";
  for (size_t n = 1 + dice.below(4); n > 0; --n) out += dice.of(kEmoji);
  out += dice.one_in(5) ? "!\n" : " ";
}

struct Kind {
  const char* name;
  Writer write;
  size_t share;  // of a hundred bytes of mixed text
};
constexpr std::array<Kind, kTextKinds> kKinds = {{{"english", english, 32},
                                                  {"code", code, 20},
                                                  {"json", json, 10},
                                                  {"chinese", chinese, 10},
                                                  {"japanese", japanese, 5},
                                                  {"korean", korean, 4},
                                                  {"arabic", arabic, 4},
                                                  {"hindi", hindi, 2},
                                                  {"thai", thai, 2},
                                                  {"russian", russian, 5},
                                                  {"numbers", numbers, 2},
                                                  {"urls", urls, 3},
                                                  {"emoji", emoji, 1}}};

void write(const Kind& kind, size_t bytes, Dice& dice, std::string& out) {
  for (const size_t end = out.size() + bytes; out.size() < end;) kind.write(dice, out);
}

}  // namespace

const char* name_of(TextKind kind) { return kKinds[static_cast<size_t>(kind)].name; }

std::string sample_text(TextKind kind, size_t bytes, uint64_t seed) {
  std::string text;
  Dice dice(seed);
  write(kKinds[static_cast<size_t>(kind)], bytes, dice, text);
  return text;
}

std::string mixed_text(size_t bytes, uint64_t seed) {
  constexpr size_t kRound = 20'000;  // bytes in which every kind has had its share
  std::string text;
  Dice dice(seed);
  while (text.size() < bytes)
    for (const Kind& kind : kKinds) {
      write(kind, kind.share * kRound / 100, dice, text);
      text += '\n';
    }
  return text;
}

}  // namespace inkstone
