#include "text/reasoning.h"

#include <algorithm>

namespace ostro {
namespace {

constexpr std::string_view kBegin = "<think>", kEnd = "</think>", kSpaces = " \t\r\n";

// How much of the end of `text` could be the beginning of `mark`.
size_t possible_beginning(std::string_view text, std::string_view mark) {
  for (size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length) {
    if (text.ends_with(mark.substr(0, length))) return length;
  }
  return 0;
}

std::string take(std::string& text, size_t count) {
  std::string taken = text.substr(0, count);
  text.erase(0, count);
  return taken;
}

}  // namespace

ReasoningSplit::ReasoningSplit(std::string_view prompt) {
  const size_t last = prompt.find_last_not_of(kSpaces);
  if (last != std::string_view::npos && prompt.substr(0, last + 1).ends_with(kBegin)) state_ = State::Reasoning;
}

ReasoningSplit::Parts ReasoningSplit::push(std::string_view piece) {
  held_ += piece;
  return advance(false);
}

ReasoningSplit::Parts ReasoningSplit::flush() { return advance(true); }

ReasoningSplit::Parts ReasoningSplit::advance(bool at_end) {
  Parts parts;
  if (state_ == State::Start) {
    const size_t first = held_.find_first_not_of(kSpaces);
    const std::string_view rest = first == std::string::npos ? "" : std::string_view(held_).substr(first);
    if (rest.starts_with(kBegin)) {
      held_.erase(0, first + kBegin.size());
      state_ = State::Reasoning;
    } else if (!kBegin.starts_with(rest) || at_end) {
      state_ = State::Answer;
    }
  }
  if (state_ == State::Reasoning) {
    const size_t end = held_.find(kEnd);
    if (end != std::string::npos) {
      parts.reasoning = take(held_, end);
      held_.erase(0, kEnd.size());
      state_ = State::AfterReasoning;
    } else {
      parts.reasoning = take(held_, held_.size() - (at_end ? 0 : possible_beginning(held_, kEnd)));
    }
  }
  if (state_ == State::AfterReasoning) {
    held_.erase(0, std::min(held_.find_first_not_of(kSpaces), held_.size()));
    if (!held_.empty()) state_ = State::Answer;
  }
  if (state_ == State::Answer) parts.answer = take(held_, held_.size());
  return parts;
}

ReasoningSplit::Parts split_reasoning(std::string_view prompt, std::string_view text) {
  ReasoningSplit split(prompt);
  ReasoningSplit::Parts all = split.push(text);
  const ReasoningSplit::Parts rest = split.flush();
  all.reasoning += rest.reasoning;
  all.answer += rest.answer;
  // The line breaks that a template puts around the marks.
  const size_t first = all.reasoning.find_first_not_of(kSpaces);
  all.reasoning.erase(0, std::min(first, all.reasoning.size()));
  all.reasoning.erase(all.reasoning.find_last_not_of(kSpaces) + 1);
  return all;
}

}  // namespace ostro
