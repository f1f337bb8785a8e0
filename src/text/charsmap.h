// SentencePiece's table of normalisation ("precompiled charsmap"): which stretches of text are replaced by what.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ostro {

class CharsMap {
 public:
  // `blob` as files hold it: 32 bits with the size of a trie, the trie, and the replacements, each ended by a zero
  // byte. `where` begins error messages. Throws Error(File).
  CharsMap(std::string_view blob, const std::string& where);

  struct Rule {
    size_t length = 0;  // of the text that is replaced, in bytes; 0: no rule applies
    std::string_view replacement;
  };
  // The rule for the longest beginning of the text that has one.
  Rule longest(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;  // of the trie, a double array
  std::string replacements_;
};

}  // namespace ostro
