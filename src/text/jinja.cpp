// A template: its tree, and a runtime for each render.
#include "text/jinja.h"

#include "base/error.h"
#include "text/jinja_parser.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

struct Template::Tree {
  Block body;
};

namespace {
constexpr size_t kMaxSource = size_t{4} << 20;
}  // namespace

Template::Template(std::string_view source) {
  if (source.size() > kMaxSource) {
    raise("TemplateLimitError",
          fmt::format("the template has {} bytes, expected at most {}", source.size(), kMaxSource));
  }
  tree_ = std::make_unique<const Tree>(Tree{parse(source)});
}

Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Text Template::render(std::map<std::string, Value, std::less<>> variables, const Limits& limits) const {
  Budget budget(limits.steps, limits.bytes);
  Runtime runtime(budget, limits.output);
  return runtime.render(tree_->body, std::move(variables));
}

}  // namespace ostro::jinja
