#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"

namespace ostro {
namespace {

constexpr size_t kBufferBytes = 1u << 20;

void sync_folder(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // some file systems do not let folders be opened; the rename itself stands
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), part_(fmt::format("{}.part-{}", path, ::getpid())) {
  fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) throw_error(ErrorKind::Io, "{}: cannot create: {}", part_, std::strerror(errno));
  buffer_.resize(kBufferBytes);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(part_.c_str());
}

void AtomicFile::flush() {
  size_t done = 0;
  while (done < buffered_) {
    const ssize_t count = ::write(fd_, buffer_.data() + done, buffered_ - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_error(ErrorKind::Io, "{}: cannot write: {}", path_, std::strerror(errno));
    done += static_cast<size_t>(count);
  }
  written_ += buffered_;
  buffered_ = 0;
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kBufferBytes - buffered_);
    std::memcpy(buffer_.data() + buffered_, bytes.data(), count);
    buffered_ += count;
    bytes = bytes.subspan(count);
    if (buffered_ == kBufferBytes) flush();
  }
}

void AtomicFile::commit() {
  flush();
  if (::fsync(fd_) != 0) throw_error(ErrorKind::Io, "{}: cannot sync: {}", path_, std::strerror(errno));
  if (::rename(part_.c_str(), path_.c_str()) != 0) {
    throw_error(ErrorKind::Io, "{}: cannot rename into place: {}", path_, std::strerror(errno));
  }
  ::close(fd_);
  fd_ = -1;
  sync_folder(path_);
}

void write_file_atomically(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_text_file(const std::string& path, uint64_t limit) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() > limit) {
    throw_error(ErrorKind::File, "{}: {} bytes, at most {} expected", path, bytes.size(), limit);
  }
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace ostro
