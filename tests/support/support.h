// What tests share: where fixtures lie, and how a test says that it was skipped for want of them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ostro::test {

// A file or folder of tests/fixtures (committed; throws when missing).
std::filesystem::path fixture(const std::string& relative);

// A file or folder of the shared material that is not committed: $OSTRO_SHARED, or ../shared beside the source tree.
// nullopt when it is not there.
std::optional<std::filesystem::path> shared(const std::string& relative);

// A fresh folder for one test, removed at the end of the program.
std::filesystem::path temporary_folder();

// Every line of a text file.
std::vector<std::string> read_lines(const std::filesystem::path& path);

}  // namespace ostro::test

// OSTRO_SHARED_OR_SKIP(path, "fixtures/text/chat.jsonl"); declares `path`, or skips the test.
#define OSTRO_SHARED_OR_SKIP(name, relative)                                                          \
  const auto name##_found = ::ostro::test::shared(relative);                                          \
  if (!name##_found) GTEST_SKIP() << "no shared folder with " << (relative) << " (set OSTRO_SHARED)"; \
  const std::filesystem::path& name = *name##_found
