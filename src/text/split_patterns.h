// How GGUF files name the way a text is cut into words before byte pair encoding.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ostro {

struct SplitRecipe {
  std::vector<std::string> patterns;  // applied one after the other, each isolating what it matches
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};

// The recipe of a value of tokenizer.ggml.pre. Throws Error(File) for a name that is not known.
SplitRecipe split_recipe(std::string_view name, const std::string& where);
std::vector<std::string_view> split_recipe_names();

// The name whose recipe has exactly these patterns and does the same with merges.
std::optional<std::string> split_name(const std::vector<std::string>& patterns, bool ignore_merges);

// The patterns of vocabularies that are known by their size alone.
extern const std::string kCl100kPattern;

}  // namespace ostro
