// Tokens to the syntax tree, after Jinja2's grammar.
#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace ostro::jinja {

// Raises TemplateSyntaxError or TemplateAssertionError (a filter or test nobody knows).
Block parse(std::string_view source);

}  // namespace ostro::jinja
