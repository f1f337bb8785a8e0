// Jinja2 templates, as far as chat templates go: parsed once, rendered with bounded steps, memory and depth, with no
// access to anything but the data given.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "text/jinja_text.h"
#include "text/jinja_value.h"

namespace ostro::jinja {

struct Limits {
  uint64_t steps = 10'000'000;           // evaluated nodes and touched elements
  uint64_t bytes = uint64_t{256} << 20;  // of all strings made on the way
  size_t output = size_t{64} << 20;      // bytes
};

class Template {
 public:
  // Both throw Error(Usage) that begins with the class of the reference's exception: "TemplateSyntaxError: ...".
  explicit Template(std::string_view source);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // Strings made by Value::from_json stay marked in the result.
  Text render(std::map<std::string, Value, std::less<>> variables, const Limits& limits = {}) const;

 private:
  struct Tree;
  std::unique_ptr<const Tree> tree_;
};

}  // namespace ostro::jinja
