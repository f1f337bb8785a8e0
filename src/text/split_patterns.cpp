// The names of pre-tokenizers that occur in GGUF files, and the patterns they stand for: those of the tokenizer.json
// files that the models were published with.
#include "text/split_patterns.h"

#include "base/error.h"
#include "text/text_steps.h"

namespace ostro {

const std::string kCl100kPattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|)"
    R"(\s+(?!\S)|\s)";

namespace {

const std::string kDigit = R"(\p{N})";
const std::string kThreeDigits = "[0-9][0-9][0-9]";
// Words as in kGpt2Pattern, but with contractions in any case, any one character before a word, digits in groups of
// up to three, and line breaks kept with what stands before them.
const std::string kDigitGroups =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";
// The same with each digit on its own.
const std::string kSingleDigits =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";
const std::string kSingleDigitsMarks =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
// Words cut where lower case turns to upper case.
const std::string kCasedWord = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)";
const std::string kUpperWord = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)";
const std::string kContraction = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)";
const std::string kAfterCasedWords = R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kCased = kCasedWord + "|" + kUpperWord + R"(|\p{N}|)" + kAfterCasedWords;
const std::string kCasedContractions =
    kCasedWord + kContraction + "|" + kUpperWord + kContraction + R"(|\p{N}{1,3}|)" + kAfterCasedWords;
const std::string kAsciiPunctuated =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kBetweenPunctuation = R"( ?[^(\s|.,!?…。，、।۔،)]+)";
const std::string kNoContractions =
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kShortContractions =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
const std::string kBreaksApart =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";
// Letters that have case.
const std::string kCasedLetters =
    R"(A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ)"
    R"(ὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-)"
    R"(ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃)";

struct Recipe {
  std::vector<std::string_view> names;
  SplitRecipe split;
};

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all = {
      {{"default"}, {{R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", kThreeDigits}}},
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "a.x-4.0", "mellum", "exaone4", "trillion",
        "granite-docling", "modern-bert", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"},
       {{kGpt2Pattern}}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {{kDigit, kGpt2Pattern}}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       {{kDigitGroups}, true, true}},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {{kDigitGroups}}},
      {{"glm4"}, {{kDigitGroups}, true}},
      {{"qwen2", "stablelm2", "deepseek-r1-qwen", "kormo", "megrez", "hunyuan", "solar-open", "grok-2"},
       {{kSingleDigits}}},
      {{"qwen35"}, {{kSingleDigitsMarks}}},
      {{"ufakzeka"}, {{kNoContractions}}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"}, {{kShortContractions}}},
      {{"seed-coder"}, {{kBreaksApart}}},
      {{"gpt-4o", "llama4", "kanana2", "minimax-m2"}, {{kCasedContractions}}},
      {{"tekken"}, {{kCased}, true, true}},
      {{"falcon"}, {{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, kThreeDigits}}},
      {{"deepseek-llm"},
       {{"[\r\n]", R"(\s?[)" + kCasedLetters + "]+", R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)",
         "[一-龥ࠀ-一가-퟿]+", R"(\p{N}+)"}}},
      {{"deepseek-coder"}, {{"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", kDigit}}},
      {{"deepseek-v3", "hunyuan-dense"}, {{R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+", kAsciiPunctuated}}},
      {{"poro-chat", "bloom", "gpt3-finnish"}, {{kBetweenPunctuation}}},
      {{"viking"}, {{kBetweenPunctuation, kDigit}}},
  };
  return all;
}

}  // namespace

SplitRecipe split_recipe(std::string_view name, const std::string& where) {
  for (const Recipe& recipe : recipes()) {
    for (const std::string_view known : recipe.names) {
      if (known == name) return recipe.split;
    }
  }
  throw_error(ErrorKind::File, "{}: tokenizer.ggml.pre is {:?}, which is not the name of a pre-tokenizer ostro knows",
              where, name.substr(0, 80));
}

std::optional<std::string> split_name(const std::vector<std::string>& patterns, bool ignore_merges) {
  for (const Recipe& recipe : recipes()) {
    if (recipe.split.patterns == patterns && recipe.split.ignore_merges == ignore_merges) {
      return std::string(recipe.names.front());
    }
  }
  return std::nullopt;
}

std::vector<std::string_view> split_recipe_names() {
  std::vector<std::string_view> names;
  for (const Recipe& recipe : recipes()) names.insert(names.end(), recipe.names.begin(), recipe.names.end());
  return names;
}

}  // namespace ostro
