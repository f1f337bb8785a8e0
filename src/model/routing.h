// Which experts a router chose, and who may watch it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/batch.h"
#include "model/spec.h"
#include "tensor/views.h"

namespace ostro {

// The choice for every row of a batch in one MoE block. Choices stand by falling score; ties go to the lower index.
struct Routing {
  int64_t tokens = 0, experts = 0, top_k = 0;
  std::vector<int32_t> expert;   // [tokens, top_k]
  std::vector<double> weight;    // [tokens, top_k] used to combine: renormalised and scaled
  std::vector<float> score;      // [tokens, experts] after softmax or sigmoid
  std::vector<uint8_t> dropped;  // [tokens, top_k] 1 where the expert was full; the weight is 0. Empty: no capacity
};

// Rows sorted by expert, in order of token within an expert: expert e has rows [first_row[e], first_row[e + 1]).
struct ExpertRows {
  std::vector<int64_t> first_row;  // [experts + 1]
  std::vector<int64_t> token;      // [rows] the token each sorted row came from
  std::vector<int64_t>
      slot;  // [tokens, top_k] the sorted row of each choice; 0 where it was dropped, which weighs nothing
};

// Scores, selection and weights from router logits [tokens, experts]. `bias` [experts] is the one of selection; empty
// where the router has none.
void route_tokens(Routing& routing, const RouterSpec& spec, std::span<const float> bias, Rows logits);
// Drops what the capacity of the experts has no room for.
void drop_beyond_capacity(Routing& routing, const RouterSpec& spec, const Batch& batch);
void sort_by_expert(ExpertRows& rows, const Routing& routing);

// Passed into forward, null by default. Analysis, statistics and displays read it; nothing else counts routing.
class RoutingObserver {
 public:
  virtual ~RoutingObserver() = default;
  virtual void on_route(const BlockSpec& block, const Batch& batch, const Routing& routing) = 0;
};

}  // namespace ostro
