// Mapped files, and whose bytes an address is of.
#include "base/mapped_file.h"

#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "support/support.h"

namespace ostro {
namespace {

TEST(MappedFile, RefusesWhatIsNoFile) {
  const auto folder = test::temporary_folder();
  EXPECT_THROW(MappedFile(folder.string()), Error);
  EXPECT_THROW(MappedFile((folder / "missing").string()), Error);
  write_file_atomically(folder / "empty", "");
  EXPECT_TRUE(MappedFile((folder / "empty").string()).bytes().empty());
}

TEST(MappedFile, IsFoundByAddressWhileItIsOpen) {
  const auto folder = test::temporary_folder();
  const std::string a = folder / "a", b = folder / "b";
  write_file_atomically(a, std::string(100, 'a'));
  write_file_atomically(b, std::string(10'000, 'b'));
  MappedFile second(b);
  const std::byte* gone = nullptr;
  {
    const MappedFile first(a);
    gone = first.bytes().data();
    EXPECT_STREQ(mapped_path_at(gone), a.c_str());
    EXPECT_STREQ(mapped_path_at(gone + 99), a.c_str());
    EXPECT_STREQ(mapped_path_at(&second.bytes().back()), b.c_str());
  }
  EXPECT_EQ(mapped_path_at(gone), nullptr);
  EXPECT_EQ(mapped_path_at(&gone), nullptr);
  const MappedFile moved = std::move(second);
  EXPECT_STREQ(mapped_path_at(moved.bytes().data()), b.c_str());
  const MappedFile again(a);
  EXPECT_STREQ(mapped_path_at(again.bytes().data()), a.c_str());
}

}  // namespace
}  // namespace ostro
