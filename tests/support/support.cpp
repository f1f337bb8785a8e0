#include "support/support.h"

#include <stdlib.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace ostro::test {

namespace fs = std::filesystem;

fs::path fixture(const std::string& relative) {
  const fs::path path = fs::path(OSTRO_SOURCE_DIR) / "tests" / "fixtures" / relative;
  if (!fs::exists(path)) throw std::runtime_error("missing fixture " + path.string());
  return path;
}

std::optional<fs::path> shared(const std::string& relative) {
  const char* named = std::getenv("OSTRO_SHARED");
  const fs::path root = named != nullptr ? fs::path(named) : fs::path(OSTRO_SOURCE_DIR) / ".." / "shared";
  const fs::path path = root / relative;
  if (!fs::exists(path)) return std::nullopt;
  return path;
}

namespace {
struct Folders {
  std::vector<fs::path> made;
  ~Folders() {
    for (const auto& folder : made) {
      std::error_code ignored;
      fs::remove_all(folder, ignored);
    }
  }
};
}  // namespace

fs::path temporary_folder() {
  static Folders folders;
  std::string name = (fs::temp_directory_path() / "ostro-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  folders.made.emplace_back(name);
  return name;
}

std::vector<std::string> read_lines(const fs::path& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace ostro::test
