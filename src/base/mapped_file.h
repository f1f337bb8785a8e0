// A file mapped read-only into memory, with the errors a person can act on.
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

}  // namespace ostro
