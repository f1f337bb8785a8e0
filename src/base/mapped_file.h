// A file mapped read-only into memory, with the errors a person can act on, and which file an address belongs to.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace ostro {

class MappedFile {
 public:
  // Throws Error(Io) when the file cannot be opened or mapped, Error(File) when it is a directory. An empty file maps
  // to an empty span.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The path of the mapped file that `address` lies in, or null. Takes no lock and allocates nothing: for the handler of
// SIGBUS, which is what reading a mapping ends in where its file has become shorter or the disk fails.
const char* mapped_path_at(const void* address);

}  // namespace ostro
