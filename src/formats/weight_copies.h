// Weights in another order or type than their files have them. Each copy is planned when the files are understood and
// made when its values are needed, so that what a model takes is known before any of it is taken, and a program that
// goes through the weights once (a converter) never holds more than one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "base/threads.h"

namespace ostro {

class WeightCopies {
 public:
  // Writes a copy in `tasks` pieces, in any order; must not throw.
  struct Filling {
    int64_t tasks = 1;
    std::function<void(std::byte* out, int64_t task)> run;
  };
  // Where the copy of `source` will be. The address stays; its memory is untouched until the copy is made.
  const std::byte* plan(size_t bytes, std::span<const std::byte> source, Filling filling);

  // The copy that holds this address, and the one it is a copy of, are made; memory of others is left alone. Returns
  // whether it was there already.
  bool make(const std::byte* address, ThreadTeam& team);
  // Gives its memory back; it can be made again.
  void drop(const std::byte* address);
  // `done`, which may be null, is called with the bytes made so far.
  void make_all(ThreadTeam& team, const std::function<void(uint64_t bytes)>& done = nullptr);

  bool holds(const std::byte* address) const { return holding(address) != nullptr; }
  uint64_t bytes() const;  // of all copies, made or not

 private:
  struct Copy {
    std::unique_ptr<std::byte[]> memory;
    size_t bytes = 0;
    std::span<const std::byte> source;
    Filling filling;
    bool made = false;
  };
  Copy* holding(const std::byte* address) const;

  std::map<const std::byte*, std::shared_ptr<Copy>> copies_;  // by address; shared by whoever continues this plan
};

}  // namespace ostro
