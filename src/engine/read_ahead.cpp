#include "engine/read_ahead.h"

#include <algorithm>

#include "base/pages.h"

namespace ostro {
namespace {

constexpr size_t kPiece = size_t{32} << 20;

}  // namespace

void read_ahead(const WeightStore& store, const std::function<void(uint64_t done, uint64_t total)>& progress) {
  uint64_t total = 0, done = 0;
  for (const auto& file : store.files) total += file->bytes().size();
  for (const auto& file : store.files) {
    const auto bytes = file->bytes();
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      read_pages(piece);
      done += piece.size();
      if (progress) progress(done, total);
    }
  }
}

}  // namespace ostro
