// A model's file that becomes shorter while it is mapped.
#include <signal.h>

#include "base/mapped_file.h"
#include "cli/commands.h"
#include "cli/support.h"

namespace ostro::test {
namespace {

// Sets this process up as the program does itself.
void run_the_program() {
  char name[] = "ostro", verb[] = "version";
  char* arguments[] = {name, verb, nullptr};
  if (run_command_line(2, arguments) != 0) _exit(99);
}

void read_after_shortening(const std::string& path) {
  run_the_program();
  const MappedFile file(path);
  std::filesystem::resize_file(path, 1);
  const volatile std::byte* last = &file.bytes().back();
  static_cast<void>(*last);
}

TEST(BusError, NamesTheFileThatBecameShorter) {
  const std::string path = temporary_folder() / "model.gguf";
  spit(path, std::string(1 << 20, 'x'));
  EXPECT_EXIT(read_after_shortening(path), ::testing::ExitedWithCode(4),
              "^ostro: " + path + ": cannot be read any more[^\n]*\n$");
}

void raise_twice() {
  run_the_program();
  raise(SIGBUS);
  raise(SIGBUS);
}

TEST(BusError, OfNoFileEndsAsEver) { EXPECT_EXIT(raise_twice(), ::testing::KilledBySignal(SIGBUS), "^$"); }

}  // namespace
}  // namespace ostro::test
