// Split patterns of tokenizers, by PCRE2: written for Oniguruma or Rust's regex, they are translated where those
// dialects differ, and refused where they cannot be.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace ostro {

struct TextSpan {
  size_t begin = 0, end = 0;  // bytes
};

class Regex {
 public:
  // `line_ends`: $ and ^ also match around every newline (Oniguruma's Ruby syntax). `where` begins the message of the
  // Error(File) for a pattern that cannot be compiled.
  Regex(const std::string& pattern, bool line_ends, const std::string& where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  const std::string& pattern() const { return pattern_; }

  // Walks the matches of one text. Not for two threads at once; the Regex itself is.
  class Search {
   public:
    explicit Search(const Regex& regex);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;
    // The first match in `text` (valid UTF-8) that begins at or after `from` and is not empty; false when there is
    // none. Throws Error(Usage) when the pattern takes too long on this text.
    bool next(std::string_view text, size_t from, TextSpan& match);

   private:
    struct State;
    const Regex& regex_;
    std::unique_ptr<State> state_;
  };

 private:
  struct Compiled;
  std::string pattern_;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace ostro
