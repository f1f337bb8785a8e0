#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace ostro {
namespace {

// A list that only grows, so that a signal handler can walk it at any moment; entries of closed files are used again.
struct Mapping {
  std::atomic<const std::byte*> data = nullptr;  // null: free
  size_t size = 0;
  std::string path;
  Mapping* next = nullptr;
};
std::atomic<Mapping*> newest_mapping = nullptr;
static_assert(std::atomic<const std::byte*>::is_always_lock_free && std::atomic<Mapping*>::is_always_lock_free);
std::mutex mappings_change;

void remember_mapping(const std::byte* data, size_t size, const std::string& path) {
  const std::lock_guard lock(mappings_change);
  Mapping* entry = newest_mapping;
  while (entry != nullptr && entry->data != nullptr) entry = entry->next;
  const bool is_new = entry == nullptr;
  if (is_new) {
    entry = new Mapping;
    entry->next = newest_mapping;
  }
  entry->size = size;
  entry->path = path;
  entry->data = data;
  if (is_new) newest_mapping = entry;
}

void forget_mapping(const std::byte* data) {
  const std::lock_guard lock(mappings_change);
  for (Mapping* entry = newest_mapping; entry != nullptr; entry = entry->next) {
    if (entry->data == data) entry->data = nullptr;
  }
}

}  // namespace

const char* mapped_path_at(const void* address) {
  for (const Mapping* entry = newest_mapping; entry != nullptr; entry = entry->next) {
    const std::byte* data = entry->data;
    if (data == nullptr || address < data) continue;
    if (address < data + entry->size) return entry->path.c_str();
  }
  return nullptr;
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_error(ErrorKind::Io, "{}: cannot open: {}", path, std::strerror(errno));
  struct stat status = {};
  if (::fstat(fd, &status) != 0) {
    const int reason = errno;
    ::close(fd);
    throw_error(ErrorKind::Io, "{}: cannot read its size: {}", path, std::strerror(reason));
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(fd);
    throw_error(ErrorKind::File, "{}: expected a regular file", path);
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    const int reason = errno;
    ::close(fd);
    if (address == MAP_FAILED) {
      size_ = 0;
      throw_error(ErrorKind::Io, "{}: cannot map into memory: {}", path, std::strerror(reason));
    }
    data_ = static_cast<const std::byte*>(address);
    remember_mapping(data_, size_, path_);
  } else {
    ::close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  forget_mapping(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace ostro
