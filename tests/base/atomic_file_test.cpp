// Files appear whole under their final name or not at all.
#include "base/atomic_file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/support.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

TEST(AtomicFile, AppearsOnCommitOnly) {
  const fs::path folder = test::temporary_folder();
  const std::string path = folder / "a.bin";
  {
    AtomicFile file(path);
    file.write(std::string_view("half"));
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_TRUE(fs::is_empty(folder));
  AtomicFile file(path);
  const std::string text(3'000'000, 'x');
  file.write(text);
  EXPECT_EQ(file.written(), text.size());
  file.commit();
  EXPECT_EQ(read_text_file(path), text);
}

TEST(AtomicFile, UnwritableFolderIsAnError) {
  const fs::path folder = test::temporary_folder();
  EXPECT_THROW(AtomicFile((folder / "missing" / "a.bin").string()), Error);
  write_file_atomically(folder / "a.bin", "old");
  EXPECT_EQ(read_text_file(folder / "a.bin"), "old");
}

}  // namespace
}  // namespace ostro
