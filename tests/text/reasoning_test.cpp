#include "text/reasoning.h"

#include <gtest/gtest.h>

namespace ostro {
namespace {

using Parts = ReasoningSplit::Parts;

Parts in_pieces(std::string_view prompt, std::string_view text, size_t size) {
  ReasoningSplit split(prompt);
  Parts all;
  const auto add = [&](const Parts& parts) {
    all.reasoning += parts.reasoning;
    all.answer += parts.answer;
  };
  for (size_t i = 0; i < text.size(); i += size) add(split.push(text.substr(i, size)));
  add(split.flush());
  return all;
}

TEST(Reasoning, IsWhatStandsBetweenTheMarksHoweverTheTextComes) {
  const std::string_view text = "<think>\nOne < two, </thin is no end.\n</think>\n\nTwo <b>.";
  for (size_t size = 1; size <= text.size(); ++size) {
    const Parts parts = in_pieces("", text, size);
    EXPECT_EQ(parts.reasoning, "\nOne < two, </thin is no end.\n") << size;
    EXPECT_EQ(parts.answer, "Two <b>.") << size;
  }
}

TEST(Reasoning, MayHaveBegunInThePrompt) {
  for (const char* prompt : {"<|Assistant|><think>\n", "<|Assistant|><think>"}) {
    const Parts parts = in_pieces(prompt, "Hm.</think>Yes.", 2);
    EXPECT_EQ(parts.reasoning, "Hm.");
    EXPECT_EQ(parts.answer, "Yes.");
  }
}

TEST(Reasoning, WithoutMarksAllIsAnswer) {
  for (const char* text : {"Plain.", "  spaced", "<thin", "<b>bold</b>", "a <think>b</think>", ""}) {
    const Parts parts = in_pieces("<think> was here", text, 1);
    EXPECT_EQ(parts.reasoning, "");
    EXPECT_EQ(parts.answer, text);
  }
}

TEST(Reasoning, ThatNeverEndsIsAllReasoning) {
  EXPECT_EQ(in_pieces("", "<think>On and on </thi", 3).reasoning, "On and on </thi");
  EXPECT_EQ(in_pieces("", "<think>On and on </thi", 3).answer, "");
}

TEST(Reasoning, OfAWholeTextIsTrimmed) {
  const Parts parts = split_reasoning("<think>\n", "\nBecause.\n</think>\n\n42\n");
  EXPECT_EQ(parts.reasoning, "Because.");
  EXPECT_EQ(parts.answer, "42\n");
  EXPECT_EQ(split_reasoning("", "<think>\n\n</think>\n\nHi").reasoning, "");
}

}  // namespace
}  // namespace ostro
