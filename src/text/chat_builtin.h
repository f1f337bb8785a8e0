// The built-in chat formats that are not Mistral's (chat_templates.cpp), for the list in chat_mistral.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/chat.h"

namespace ostro {

std::vector<std::string> template_format_names();
std::unique_ptr<ChatFormat> template_format(const std::string& name);  // null for other names

}  // namespace ostro
