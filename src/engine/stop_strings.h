// Ends a stream of text at the first stop string. Text that might be the beginning of one is held back until it is
// clear that it is not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ostro {

class StopStrings {
 public:
  // Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // The text that may be shown now. Once a stop string was found, stopped() holds and nothing more comes.
  std::string push(std::string_view piece);
  // What was held back, when the stream ends by itself.
  std::string flush();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace ostro
