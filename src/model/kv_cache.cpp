#include "model/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>

#include "base/checked.h"
#include "base/error.h"

namespace ostro {

namespace {

constexpr int64_t kPage = kAttendBlock;  // positions of a page
constexpr std::align_val_t kAlignment{64};

struct FreePage {
  void operator()(std::byte* page) const { ::operator delete(page, kAlignment); }
};
using Page = std::unique_ptr<std::byte, FreePage>;

Page new_page(size_t bytes) {
  Page page(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
  std::memset(page.get(), 0, bytes);
  return page;
}

int64_t page_of(int64_t position) { return position / kPage; }

// Pages that `count` consecutive positions touch at most, wherever they begin.
int64_t most_pages(int64_t count) { return (count + kPage - 2) / kPage + 1; }

// The ring covers window + chunk positions, or the whole context where that is less or there is no window.
int64_t ring_pages(int64_t window, const KvCacheOptions& options) {
  const int64_t all = page_of(options.context - 1) + 1;
  return window == 0 ? all : std::min(all, most_pages(window + options.max_chunk - 1));
}

// The first key that a query at `position` sees.
int64_t first_key(int64_t position, int64_t window) {
  return window == 0 ? 0 : std::max<int64_t>(0, position - window + 1);
}

// What a block caches for each token. Latent attention reads its values out of its keys, from `value_at` on.
struct Cached {
  int64_t kv_heads = 0, key_dim = 0, value_dim = 0;
  int64_t value_at = -1;  // -1: values are rows of their own
};

std::optional<Cached> cached_by(const Mixer& mixer) {
  if (const auto* gqa = std::get_if<GqaSpec>(&mixer)) return Cached{gqa->kv_heads, gqa->head_dim, gqa->head_dim};
  if (const auto* mla = std::get_if<MlaSpec>(&mixer)) {
    return Cached{1, mla->rope_dim + mla->kv_rank, mla->kv_rank, mla->rope_dim};
  }
  return std::nullopt;
}

int64_t padded_row_bytes(DType type, int64_t values) {
  const int64_t block = info(type).block;
  return row_bytes(type, (values + block - 1) / block * block);
}

AttendShape shape_of(const GqaSpec& gqa) {
  AttendShape shape;
  shape.query_heads = gqa.query_heads;
  shape.scale = gqa.scale;
  shape.logit_cap = gqa.logit_cap;
  shape.window = gqa.window;
  return shape;
}

AttendShape shape_of(const MlaSpec& mla) {
  AttendShape shape;
  shape.query_heads = mla.heads;
  shape.scale = mla.scale;
  return shape;
}

void check_type(DType type, int64_t head_dim, int64_t value_at) {
  if (type != DType::F32 && type != DType::F16 && type != DType::BF16 && type != DType::Q8_0) {
    throw_error(ErrorKind::Usage, "the KV cache cannot be {}, supported: f32, f16, bf16, q8_0", info(type).name);
  }
  if (head_dim % info(type).block != 0) {
    throw_error(ErrorKind::Usage, "the KV cache cannot be {}: heads of {} values are not a multiple of {}, use f16",
                info(type).name, head_dim, info(type).block);
  }
  if (value_at > 0 && value_at % info(type).block != 0) {
    throw_error(ErrorKind::Usage,
                "the KV cache cannot be {}: keys with position of {} values are not a multiple of {}, use f16",
                info(type).name, value_at, info(type).block);
  }
}

void check_types(const Cached& cached, DType key_type, DType value_type) {
  check_type(key_type, cached.key_dim, cached.value_at);
  if (cached.value_at < 0) check_type(value_type, cached.value_dim, -1);
}

}  // namespace

struct KvCache::Layer {
  // A sequence's pages: position p lies in pages[page_of(p) % ring], keys first, then values.
  struct Sequence {
    std::vector<Page> pages;  // grows to `ring`
    int64_t length = 0;       // positions written
    int64_t first_page = 0;   // pages before this one were overwritten
  };

  int64_t ring = 0;
  bool separate_values = true;
  size_t page_bytes = 0, value_offset = 0;
  AttendShape shape;
  std::vector<Sequence> sequences;
};

KvCache::KvCache(const ModelSpec& spec, const KvCacheOptions& options) : options_(options) {
  CHECK(options.context > 0 && options.max_chunk > 0 && options.sequences > 0);
  layers_.resize(spec.blocks.size());
  for (size_t b = 0; b < spec.blocks.size(); ++b) {
    const Mixer& mixer = spec.blocks[b].mixer;
    const auto cached = cached_by(mixer);
    if (!cached) continue;
    check_types(*cached, options.key_type, options.value_type);
    Layer& layer = layers_[b];
    AttendShape& shape = layer.shape;
    const auto* gqa = std::get_if<GqaSpec>(&mixer);
    shape = gqa != nullptr ? shape_of(*gqa) : shape_of(std::get<MlaSpec>(mixer));
    shape.kv_heads = cached->kv_heads;
    shape.key_dim = cached->key_dim;
    shape.value_dim = cached->value_dim;
    shape.key_type = options.key_type;
    shape.key_row_bytes = row_bytes(options.key_type, cached->key_dim);
    shape.key_head_bytes = kPage * shape.key_row_bytes;
    layer.ring = ring_pages(shape.window, options);
    layer.sequences.resize(static_cast<size_t>(options.sequences));
    layer.page_bytes = static_cast<size_t>(shape.kv_heads * shape.key_head_bytes);
    layer.separate_values = cached->value_at < 0;
    if (layer.separate_values) {
      shape.value_type = options.value_type;
      shape.value_row_bytes = row_bytes(options.value_type, cached->value_dim);
      shape.value_head_bytes = kPage * shape.value_row_bytes;
      layer.value_offset = layer.page_bytes;
      layer.page_bytes += static_cast<size_t>(shape.kv_heads * shape.value_head_bytes);
    } else {
      shape.value_type = shape.key_type;
      shape.value_row_bytes = shape.key_row_bytes;
      shape.value_head_bytes = shape.key_head_bytes;
      layer.value_offset = static_cast<size_t>(row_bytes(options.key_type, cached->value_at));
    }
  }
}

KvCache::~KvCache() = default;

uint64_t KvCache::capacity_bytes() const {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  uint64_t sum = 0;
  for (const Layer& layer : layers_) {
    const auto pages = checked_mul(static_cast<uint64_t>(layer.ring), layer.sequences.size());
    const auto bytes = checked_mul(pages.value_or(kMost), layer.page_bytes);
    sum = checked_add(sum, bytes.value_or(kMost)).value_or(kMost);
  }
  return sum;
}

uint64_t KvCache::bytes_in_use() const {
  uint64_t sum = 0;
  for (const Layer& layer : layers_) {
    for (const Layer::Sequence& sequence : layer.sequences) {
      const auto pages =
          std::count_if(sequence.pages.begin(), sequence.pages.end(), [](const Page& p) { return p != nullptr; });
      sum += static_cast<uint64_t>(pages) * layer.page_bytes;
    }
  }
  return sum;
}

uint64_t KvCache::bytes_per_token(const ModelSpec& spec, DType key_type, DType value_type) {
  uint64_t sum = 0;
  for (size_t b = 0; b < spec.decoder_blocks(); ++b) {
    const Mixer& mixer = spec.blocks[b].mixer;
    if (const auto cached = cached_by(mixer)) check_types(*cached, key_type, value_type);
    sum += block_bytes(mixer, key_type, value_type);
  }
  return sum;
}

uint64_t KvCache::block_bytes(const Mixer& mixer, DType key_type, DType value_type) {
  const auto cached = cached_by(mixer);
  if (!cached) return 0;
  int64_t bytes = padded_row_bytes(key_type, cached->key_dim);
  if (cached->value_at < 0) bytes += padded_row_bytes(value_type, cached->value_dim);
  return static_cast<uint64_t>(cached->kv_heads * bytes);
}

int64_t KvCache::length(int32_t sequence) const {
  for (const Layer& layer : layers_) {
    if (layer.ring > 0) return layer.sequences.at(static_cast<size_t>(sequence)).length;
  }
  return 0;
}

void KvCache::append(Backend& backend, size_t block, const Batch& batch, Rows keys, Rows values) {
  Layer& layer = layers_.at(block);
  const AttendShape& shape = layer.shape;
  const auto key_dim = static_cast<size_t>(shape.key_dim), value_dim = static_cast<size_t>(shape.value_dim);
  for (const SequenceRows& part : batch.sequences) {
    Layer::Sequence& sequence = layer.sequences.at(static_cast<size_t>(part.sequence));
    CHECK(part.count <= options_.max_chunk && sequence.length + part.count <= options_.context);
    for (int64_t row = part.first_row; row < part.first_row + part.count; ++row) {
      const int64_t position = sequence.length++;
      CHECK(batch.positions[static_cast<size_t>(row)] == position);
      sequence.first_page = std::max(sequence.first_page, page_of(position) + 1 - layer.ring);

      const auto slot = static_cast<size_t>(page_of(position) % layer.ring);
      if (slot >= sequence.pages.size()) sequence.pages.resize(slot + 1);
      Page& page = sequence.pages[slot];
      if (page == nullptr) page = new_page(layer.page_bytes);
      std::byte* key = page.get() + position % kPage * shape.key_row_bytes;
      std::byte* value = page.get() + layer.value_offset + position % kPage * shape.value_row_bytes;
      for (int64_t head = 0; head < shape.kv_heads; ++head) {
        backend.store_row(key + head * shape.key_head_bytes, shape.key_type,
                          {keys.row(row) + head * shape.key_dim, key_dim});
        if (!layer.separate_values) continue;
        backend.store_row(value + head * shape.value_head_bytes, shape.value_type,
                          {values.row(row) + head * shape.value_dim, value_dim});
      }
    }
  }
}

AttendShape KvCache::shape(size_t block) const { return layers_.at(block).shape; }

void KvCache::runs(std::vector<KvRun>& out, size_t block, int32_t sequence_index, int64_t first_position,
                   int64_t count) const {
  const Layer& layer = layers_.at(block);
  const Layer::Sequence& sequence = layer.sequences.at(static_cast<size_t>(sequence_index));
  const int64_t end = first_position + count;
  const int64_t first = page_of(first_key(first_position, layer.shape.window));
  CHECK(count > 0 && end <= sequence.length && first >= sequence.first_page);
  for (int64_t page = first; page <= page_of(end - 1); ++page) {
    const std::byte* data = sequence.pages[static_cast<size_t>(page % layer.ring)].get();
    out.push_back({data, data + layer.value_offset, page * kPage, std::min(kPage, end - page * kPage)});
  }
}

bool KvCache::truncate(int32_t sequence_index, int64_t position) {
  bool kept = true;
  for (Layer& layer : layers_) {
    if (layer.ring == 0) continue;
    Layer::Sequence& sequence = layer.sequences.at(static_cast<size_t>(sequence_index));
    if (position < sequence.length && position > 0) {
      kept = kept && page_of(first_key(position, layer.shape.window)) >= sequence.first_page;
    }
  }
  for (Layer& layer : layers_) {
    if (layer.ring == 0) continue;
    Layer::Sequence& sequence = layer.sequences.at(static_cast<size_t>(sequence_index));
    if (!kept || position <= 0) {
      sequence = {};
      continue;
    }
    // Pages that hold nothing before `position` go back.
    for (int64_t page = page_of(position - 1) + 1; page * kPage < sequence.length; ++page) {
      sequence.pages[static_cast<size_t>(page % layer.ring)].reset();
    }
    sequence.length = std::min(sequence.length, position);
  }
  return kept;
}

}  // namespace ostro
