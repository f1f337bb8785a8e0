// Keeps a writer to what it announced: every tensor once, in order, with exactly its bytes, which may come in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace ostro {

class WriteOrder {
 public:
  void add(std::string name, uint64_t bytes) { tensors_.push_back({std::move(name), bytes}); }

  // `count` bytes of `name` come next. True when they complete the tensor.
  bool advance(std::string_view name, uint64_t count) {
    CHECK(next_ < tensors_.size() && tensors_[next_].name == name);
    CHECK(count <= tensors_[next_].bytes - done_);
    done_ += count;
    if (done_ < tensors_[next_].bytes) return false;
    done_ = 0;
    ++next_;
    return true;
  }

  bool complete() const { return next_ == tensors_.size(); }

 private:
  struct Tensor {
    std::string name;
    uint64_t bytes;
  };
  std::vector<Tensor> tensors_;
  size_t next_ = 0;
  uint64_t done_ = 0;  // bytes of the next tensor that were written
};

}  // namespace ostro
