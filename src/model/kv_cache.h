// The KV cache: per sequence a ring of pages for each attention block. A ring covers window + largest chunk positions,
// so sliding-window attention costs a constant number of rows however long the text; full attention is the same
// formula with a longer ring. Kernels only ever see runs of rows that lie together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/batch.h"
#include "model/spec.h"

namespace ostro {

struct KvCacheOptions {
  int64_t context = 4096;                                // longest sequence
  int64_t max_chunk = 512;                               // most rows of one sequence in one batch
  int32_t sequences = 1;                                 // slots
  DType key_type = DType::F16, value_type = DType::F16;  // F32, F16, BF16, Q8_0
};

class KvCache {
 public:
  // Throws Error(Usage) for a type that cannot hold rows of head_dim values. Latents are keys: they have the keys'
  // type.
  KvCache(const ModelSpec& spec, const KvCacheOptions& options);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const KvCacheOptions& options() const { return options_; }
  // Bytes if every slot were full; bytes in use now. Pages are taken when first written.
  uint64_t capacity_bytes() const;
  uint64_t bytes_in_use() const;
  static uint64_t bytes_per_token(const ModelSpec& spec, DType key_type, DType value_type);
  // Of one token in one block; 0 for blocks without attention. Rows that the types do not divide are rounded up.
  static uint64_t block_bytes(const Mixer& mixer, DType key_type, DType value_type);

  int64_t length(int32_t sequence) const;  // positions stored
  // Stores the keys and values [rows, kv_heads * head_dim] of a batch at their positions, which follow those
  // stored before. Of latent attention: keys [rows, rope_dim + kv_rank] = [turned key | latent], and no values.
  // `block` is an index into spec.blocks of an attention block.
  void append(Backend& backend, size_t block, const Batch& batch, Rows keys, Rows values);
  // The attention shape of a block with this cache's layout filled in.
  AttendShape shape(size_t block) const;
  // The runs that cover all keys rows [first_position, first_position + count) of a sequence may see, in order.
  void runs(std::vector<KvRun>& out, size_t block, int32_t sequence, int64_t first_position, int64_t count) const;

  // Forgets a sequence from `position` on (0: all of it). Returns false, having forgotten everything, where the ring
  // has already overwritten rows that position would need.
  bool truncate(int32_t sequence, int64_t position);

 private:
  struct Layer;
  KvCacheOptions options_;
  std::vector<Layer> layers_;  // by block index; empty for blocks without attention
};

}  // namespace ostro
