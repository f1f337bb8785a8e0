// The cache's sizes, types and refusals; what it stores is checked through the forward pass (invariance_test.cpp).
#include "model/kv_cache.h"

#include "model/support.h"

namespace ostro::test {
namespace {

ModelSpec one_layer(int64_t head_dim, int64_t window) {
  ModelSpec spec;
  GqaSpec gqa;
  gqa.query_heads = 4;
  gqa.kv_heads = 2;
  gqa.head_dim = head_dim;
  gqa.window = window;
  spec.blocks = {{0, {}, gqa}, {0, {}, DenseSpec{8}}};
  return spec;
}

TEST(KvCacheSize, BytesOfATokenInEachType) {
  const ModelSpec spec = one_layer(64, 0);
  EXPECT_EQ(KvCache::bytes_per_token(spec, DType::F32, DType::F32), 2u * 2 * 64 * 4);
  EXPECT_EQ(KvCache::bytes_per_token(spec, DType::F16, DType::BF16), 2u * 2 * 64 * 2);
  EXPECT_EQ(KvCache::bytes_per_token(spec, DType::Q8_0, DType::F16), 2u * (68 + 128));
}

TEST(KvCacheSize, RingCoversWindowAndChunkButNeverMoreThanTheContext) {
  const uint64_t page = 64 * KvCache::bytes_per_token(one_layer(64, 0), DType::F16, DType::F16);
  const auto pages = [&](int64_t window, KvCacheOptions options) {
    return KvCache(one_layer(64, window), options).capacity_bytes() / page;
  };
  EXPECT_EQ(pages(0, {1000, 512, 1}), 16u);
  EXPECT_EQ(pages(0, {1000, 512, 3}), 48u);
  // 4096 + 512 - 1 positions touch up to 73 pages.
  EXPECT_EQ(pages(4096, {1 << 20, 512, 1}), 73u);
  EXPECT_EQ(pages(4096, {1000, 512, 1}), 16u);
  EXPECT_EQ(pages(1, {1000, 1, 1}), 1u);
  EXPECT_EQ(pages(2, {1000, 1, 1}), 2u);
}

TEST(KvCacheSize, NothingIsTakenBeforeItIsWritten) {
  const KvCache cache(one_layer(64, 0), {int64_t{1} << 31, 512, 64});
  EXPECT_EQ(cache.bytes_in_use(), 0u);
  EXPECT_GT(cache.capacity_bytes(), uint64_t{1} << 40);
}

TEST(KvCacheTypes, RefusesWhatCannotHoldAHead) {
  EXPECT_EQ(message_of([] {
              KvCache(one_layer(24, 0), {100, 10, 1, DType::F16, DType::Q8_0});
            }),
            "the KV cache cannot be q8_0: heads of 24 values are not a multiple of 32, use f16");
  EXPECT_EQ(message_of([] {
              KvCache(one_layer(64, 0), {100, 10, 1, DType::Q4_K, DType::F16});
            }),
            "the KV cache cannot be q4_k, supported: f32, f16, bf16, q8_0");
}

}  // namespace
}  // namespace ostro::test
