#include "model/routing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "base/error.h"

namespace ostro {

namespace {

void score_row(std::span<float> score, std::span<const float> logits, Score kind) {
  if (kind == Score::Logit) {
    std::ranges::copy(logits, score.begin());
    return;
  }
  if (kind == Score::Sigmoid) {
    for (size_t e = 0; e < score.size(); ++e) score[e] = 1.0f / (1.0f + std::exp(-logits[e]));
    return;
  }
  const float most = *std::max_element(logits.begin(), logits.end());
  float sum = 0;
  for (size_t e = 0; e < score.size(); ++e) {
    score[e] = std::exp(logits[e] - most);
    sum += score[e];
  }
  for (float& s : score) s /= sum;
}

// The k highest scores by falling score, the lower index first among equals.
void select_row(std::span<int32_t> expert, std::span<const float> score) {
  const size_t k = expert.size();
  size_t kept = 0;
  for (size_t e = 0; e < score.size(); ++e) {
    size_t place = kept;
    while (place > 0 && score[e] > score[static_cast<size_t>(expert[place - 1])]) --place;
    if (place == k) continue;
    if (kept < k) ++kept;
    for (size_t i = kept - 1; i > place; --i) expert[i] = expert[i - 1];
    expert[place] = static_cast<int32_t>(e);
  }
}

// What a group of neighbouring experts counts in the choice of groups.
float rank_group(std::span<const float> choice, GroupRank rank) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float best = kNone, second = kNone;
  for (const float c : choice) {
    if (c > best) {
      second = std::exchange(best, c);
    } else if (c > second) {
      second = c;
    }
  }
  return rank == GroupRank::Max ? best : best + second;
}

// The numbers that experts are chosen by: score plus bias, minus infinity in the groups that are out (DeepSeek-V2 and
// V3). Zero would not do there: a biased score may be negative.
class Choice {
 public:
  Choice(const RouterSpec& spec, std::span<const float> bias)
      : spec_(spec),
        bias_(bias),
        choice_(static_cast<size_t>(spec.experts)),
        rank_(static_cast<size_t>(spec.groups)),
        kept_(static_cast<size_t>(spec.groups_kept)) {}

  std::span<const float> of(std::span<const float> score) {
    if (!spec_.selection_bias && spec_.groups == 1) return score;
    std::copy(score.begin(), score.end(), choice_.begin());
    for (size_t e = 0; e < bias_.size(); ++e) choice_[e] += bias_[e];
    if (spec_.groups > 1) mask_groups();
    return choice_;
  }

 private:
  void mask_groups() {
    const size_t size = choice_.size() / rank_.size();
    const auto group = [&](size_t g) { return std::span(choice_).subspan(g * size, size); };
    for (size_t g = 0; g < rank_.size(); ++g) rank_[g] = rank_group(group(g), spec_.group_rank);
    select_row(kept_, rank_);
    for (size_t g = 0; g < rank_.size(); ++g) {
      if (std::ranges::find(kept_, static_cast<int32_t>(g)) != kept_.end()) continue;
      std::ranges::fill(group(g), -std::numeric_limits<float>::infinity());
    }
  }

  const RouterSpec& spec_;
  std::span<const float> bias_;
  std::vector<float> choice_, rank_;
  std::vector<int32_t> kept_;
};

}  // namespace

void route_tokens(Routing& routing, const RouterSpec& spec, std::span<const float> bias, Rows logits) {
  CHECK(logits.width == spec.experts && bias.size() == (spec.selection_bias ? static_cast<size_t>(spec.experts) : 0));
  routing.tokens = logits.rows;
  routing.experts = spec.experts;
  routing.top_k = spec.top_k;
  const auto experts = static_cast<size_t>(spec.experts), k = static_cast<size_t>(spec.top_k);
  const auto tokens = static_cast<size_t>(logits.rows);
  routing.expert.resize(tokens * k);
  routing.weight.resize(tokens * k);
  routing.score.resize(tokens * experts);
  routing.dropped.clear();

  Choice choice(spec, bias);
  for (size_t t = 0; t < tokens; ++t) {
    const std::span score(routing.score.data() + t * experts, experts);
    const std::span expert(routing.expert.data() + t * k, k);
    const std::span weight(routing.weight.data() + t * k, k);
    score_row(score, {logits.row(static_cast<int64_t>(t)), experts}, spec.score);
    select_row(expert, choice.of(score));
    if (spec.selection_bias) {
      std::ranges::stable_sort(expert, std::greater{}, [&](int32_t e) { return score[static_cast<size_t>(e)]; });
    }
    // Sigmoids may all be zero.
    constexpr double kTiny = 1e-20;
    double sum = kTiny;
    const auto score_of = [&](size_t j) { return static_cast<double>(score[static_cast<size_t>(expert[j])]); };
    for (size_t j = 0; j < k; ++j) {
      weight[j] = spec.score == Score::Logit ? std::exp(score_of(j) - score_of(0)) : score_of(j);
      sum += weight[j];
    }
    const double scale = static_cast<double>(spec.weight_scale) / (spec.renormalize ? sum : 1);
    for (double& w : weight) w *= scale;
  }
}

namespace {

// `rows` rows from `first` on are one pass.
void drop_in_pass(Routing& routing, const RouterSpec& spec, int64_t first, int64_t rows) {
  const double share = static_cast<double>(spec.top_k) * spec.capacity->factor * static_cast<double>(rows) /
                       static_cast<double>(spec.experts);
  int64_t room = static_cast<int64_t>(std::floor(share));
  room = std::max(room + room % 2, spec.capacity->least);
  // Choices that were dropped count all the same.
  std::vector<int64_t> taken(static_cast<size_t>(spec.experts), 0);
  for (int64_t j = 0; j < spec.top_k; ++j) {
    for (int64_t row = first; row < first + rows; ++row) {
      const auto choice = static_cast<size_t>(row * spec.top_k + j);
      if (taken[static_cast<size_t>(routing.expert[choice])]++ < room) continue;
      routing.dropped[choice] = 1;
      routing.weight[choice] = 0;
    }
  }
}

}  // namespace

void drop_beyond_capacity(Routing& routing, const RouterSpec& spec, const Batch& batch) {
  CHECK(spec.capacity.has_value());
  routing.dropped.assign(routing.expert.size(), 0);
  for (const SequenceRows& part : batch.sequences) {
    CHECK(part.steps || part.count == 1 || batch.positions[static_cast<size_t>(part.first_row)] == 0);
    const int64_t rows = part.steps ? 1 : part.count;
    for (int64_t row = 0; row < part.count; row += rows) drop_in_pass(routing, spec, part.first_row + row, rows);
  }
}

void sort_by_expert(ExpertRows& rows, const Routing& routing) {
  const size_t choices = routing.expert.size();
  const auto dropped = [&](size_t choice) { return !routing.dropped.empty() && routing.dropped[choice] != 0; };
  rows.first_row.assign(static_cast<size_t>(routing.experts) + 1, 0);
  rows.slot.resize(choices);
  for (size_t choice = 0; choice < choices; ++choice) {
    if (!dropped(choice)) ++rows.first_row[static_cast<size_t>(routing.expert[choice]) + 1];
  }
  for (size_t e = 1; e < rows.first_row.size(); ++e) rows.first_row[e] += rows.first_row[e - 1];
  rows.token.resize(static_cast<size_t>(rows.first_row.back()));
  std::vector<int64_t> next(rows.first_row.begin(), rows.first_row.end() - 1);
  for (size_t choice = 0; choice < choices; ++choice) {
    rows.slot[choice] = 0;
    if (dropped(choice)) continue;
    const int64_t row = next[static_cast<size_t>(routing.expert[choice])]++;
    rows.token[static_cast<size_t>(row)] = static_cast<int64_t>(choice) / routing.top_k;
    rows.slot[choice] = row;
  }
}

}  // namespace ostro
