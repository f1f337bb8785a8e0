// Errors and checks. `Error` is for bad input (a file, a flag, a request, a peer): what was wrong, where, what was
// expected. `CHECK` is for our own mistakes; no input may ever reach one.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace ostro {

// What kind of failure it is; the exit code of `ostro` (docs/CLI.md).
enum class ErrorKind {
  Usage = 1,   // a flag, a prompt or a request that makes no sense
  File = 2,    // a file that is missing a part, contradicts itself, or is not what it should be
  Memory = 3,  // a model that does not fit
  Io = 4,      // the operating system refused: open, read, write, full disk
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// throw_error(ErrorKind::File, "{}: {} bytes, expected {}", name, got, wanted)
template <typename... Args>
[[noreturn]] void throw_error(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

// Prints the failed condition with its place and ends the process: a bug in ostro.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace ostro

#define CHECK(condition) ((condition) ? static_cast<void>(0) : ::ostro::check_failed(#condition, __FILE__, __LINE__))
