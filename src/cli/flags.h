// Flags with checked values. CLI11 parses the command line; the text of a value is judged here, so that "-n -5" and
// "--temp nan" say what would have been right. Names are CLI11's: "-n,--predict". Names in one dash and several letters
// ("-ctk"), which CLI11 does not know, are registered as "--ctk" and typed and shown with one dash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ostro {

// "-n -5: expected a whole number from 0 to 10" unless the text is one.
int64_t parse_integer(std::string_view flag, std::string_view text, int64_t low, int64_t high);
double parse_number(std::string_view flag, std::string_view text, double low, double high);
// "1,4,16"
std::vector<int64_t> parse_integers(std::string_view flag, std::string_view text, int64_t low, int64_t high);
// Token ids of a file: between spaces, commas, line breaks and brackets.
std::vector<int32_t> parse_ids(std::string_view what, std::string_view text);

CLI::Option* add_integer(CLI::App& app, const std::string& names, int64_t& value, int64_t low, int64_t high,
                         const std::string& help);
CLI::Option* add_number(CLI::App& app, const std::string& names, double& value, double low, double high,
                        const std::string& help);
CLI::Option* add_integers(CLI::App& app, const std::string& names, std::vector<int64_t>& values, int64_t low,
                          int64_t high, const std::string& help);
// One word of a list; anything else is an error that names the list and the nearest.
CLI::Option* add_choice(CLI::App& app, const std::string& names, std::string& value,
                        const std::vector<std::string>& choices, const std::string& help);

// Long names that are typed with one dash.
bool is_one_dash_name(std::string_view name);  // "ctk"

}  // namespace ostro
