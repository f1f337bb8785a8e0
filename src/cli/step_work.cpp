#include "cli/step_work.h"

#include <algorithm>
#include <map>

namespace ostro {
namespace {

double matrix_operations(const Matrix& matrix) { return 2 * static_cast<double>(matrix.rows * matrix.cols); }

bool is_feed_forward(Role role) {
  for (const Role one : {Role::Gate, Role::Up, Role::Down, Role::Router, Role::SharedGate, Role::SharedUp,
                         Role::SharedDown, Role::SharedScale, Role::ExtraGate, Role::ExtraUp, Role::ExtraDown}) {
    if (role == one) return true;
  }
  return false;
}
bool is_expert(Role role) { return role == Role::ExpertGate || role == Role::ExpertUp || role == Role::ExpertDown; }

// Every matrix that a product of the decoder reads: no table of embeddings but where logits come from it too, and
// nothing of a module of multi-token prediction.
template <typename Visit>
void visit_products(const Model& model, const Visit& visit) {
  visit_matrices(model.spec, model.weights, [&](const TensorId& id, const Matrix& matrix) {
    if (id.layer >= model.spec.layers) return;
    if (id.role != Role::Embedding) visit(id, matrix);
    if (id.role == Role::Embedding && model.spec.tied_embeddings) visit(TensorId{Role::Output}, matrix);
  });
}

DType used_type(Role role, const Matrix& matrix) { return role == Role::Router ? DType::F32 : matrix.dtype; }

}  // namespace

std::vector<TypeWork> product_types(const Model& model, const Backend& backend) {
  std::map<DType, TypeWork> types;
  visit_products(model, [&](const TensorId& id, const Matrix& matrix) {
    const DType type = used_type(id.role, matrix);
    auto& work =
        types.try_emplace(type, TypeWork{type, 0, 0, backend.product_kernel(type, matrix.interleaved)}).first->second;
    work.parameters += matrix.rows * matrix.cols;
    work.bytes += static_cast<uint64_t>(matrix.rows * row_bytes(type, matrix.cols));
  });
  std::vector<TypeWork> sorted;
  for (auto& [type, work] : types) sorted.push_back(std::move(work));
  std::ranges::stable_sort(sorted, std::ranges::greater(), &TypeWork::bytes);
  return sorted;
}

StepWork::StepWork(const Model& model, const Backend& backend) : model_(model) {
  for (size_t i = 0; i < arithmetic_.size(); ++i)
    arithmetic_[i] = backend.product_kernel(static_cast<DType>(i), true).arithmetic;
  visit_products(model, [&](const TensorId& id, const Matrix& matrix) {
    if (is_expert(id.role)) return;
    every_step_ += matrix.bytes();
    const bool in_the_end = id.layer + 1 == model.spec.layers && is_feed_forward(id.role);
    const bool not_all = id.role == Role::Output || (in_the_end && !model.spec.whole_prompts());
    const auto kind = static_cast<size_t>(arithmetic_[static_cast<size_t>(used_type(id.role, matrix))]);
    (not_all ? every_logit_row_ : every_row_)[kind] += matrix_operations(matrix);
  });
}

void StepWork::add_operations(const Matrix& matrix, int64_t rows) {
  const auto kind = static_cast<size_t>(arithmetic_[static_cast<size_t>(matrix.dtype)]);
  operations_[kind] += matrix_operations(matrix) * static_cast<double>(rows);
}

void StepWork::on_route(const BlockSpec& block, const Batch&, const Routing& routing) {
  const size_t index = static_cast<size_t>(&block - model_.spec.blocks.data());
  const auto& moe = std::get<MoeWeights>(model_.weights.blocks[index].mixer);
  std::vector<int64_t> rows(static_cast<size_t>(routing.experts));
  for (size_t i = 0; i < routing.expert.size(); ++i) {
    if (routing.dropped.empty() || routing.dropped[i] == 0) ++rows[static_cast<size_t>(routing.expert[i])];
  }
  for (size_t e = 0; e < rows.size(); ++e) {
    if (rows[e] == 0) continue;
    for (const Matrix* matrix : {&moe.gate[e], &moe.up[e], &moe.down[e]}) {
      bytes_ += matrix->bytes();
      add_operations(*matrix, rows[e]);
    }
  }
}

void StepWork::add_step(const Batch& batch, uint64_t cached_bytes) {
  bytes_ += every_step_ + cached_bytes;
  for (size_t kind = 0; kind < operations_.size(); ++kind) {
    operations_[kind] += every_row_[kind] * static_cast<double>(batch.rows()) +
                         every_logit_row_[kind] * static_cast<double>(batch.logit_rows.size());
  }
}

}  // namespace ostro
