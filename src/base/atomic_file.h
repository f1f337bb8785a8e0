// Files written so that a crash, a full disk or a second writer never leaves half a file under the final name: written
// beside it, synced, renamed, the folder synced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ostro {

class AtomicFile {
 public:
  // Creates `<path>.part-<pid>` beside the target. Throws Error(Io).
  explicit AtomicFile(const std::string& path);
  // Removes the partial file unless commit() was reached.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends; throws Error(Io) naming the file and the reason ("No space left on device").
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  uint64_t written() const { return written_ + buffered_; }

  // Syncs, renames onto the final name, syncs the folder.
  void commit();

 private:
  void flush();

  std::string path_, part_;
  int fd_ = -1;
  uint64_t written_ = 0;
  std::string buffer_;
  size_t buffered_ = 0;
};

// The same for a whole text.
void write_file_atomically(const std::string& path, std::string_view text);

// The whole of a (small) file. Throws Error(Io), or Error(File) when it is longer than `limit` bytes.
std::string read_text_file(const std::string& path, uint64_t limit = 256u << 20);

}  // namespace ostro
