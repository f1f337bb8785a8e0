// Separates what a model thinks from what it answers: text that begins with <think>, or follows a prompt that ended
// with it, is reasoning up to </think> (DeepSeek-R1, 2025, and others since).
#pragma once

#include <string>
#include <string_view>

namespace ostro {

class ReasoningSplit {
 public:
  struct Parts {
    std::string reasoning, answer;
  };

  // `prompt` is the text that the stream continues.
  explicit ReasoningSplit(std::string_view prompt);

  // What became clear by the next piece of the stream. What might be the beginning of a mark is held back.
  Parts push(std::string_view piece);
  // The rest, when the stream ends.
  Parts flush();

 private:
  enum class State { Start, Reasoning, AfterReasoning, Answer };

  Parts advance(bool at_end);

  State state_ = State::Start;
  std::string held_;
};

// All of a text at once.
ReasoningSplit::Parts split_reasoning(std::string_view prompt, std::string_view text);

}  // namespace ostro
