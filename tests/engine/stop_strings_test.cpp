#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace ostro {
namespace {

TEST(StopStrings, HoldsBackWhatMightBecomeOne) {
  StopStrings stops({"\n\n", "END"});
  EXPECT_EQ(stops.push("a\n"), "a");
  EXPECT_EQ(stops.push("b EN"), "\nb ");
  EXPECT_EQ(stops.push("Dless"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.push("more"), "");
}

TEST(StopStrings, GivesBackWhatWasHeldAtTheEnd) {
  StopStrings stops({"END", ""});
  EXPECT_EQ(stops.push("the EN"), "the ");
  EXPECT_EQ(stops.flush(), "EN");
  EXPECT_FALSE(stops.stopped());
}

// However a text is cut into pieces, the same text is shown: all of it before the stop string that ends first.
TEST(StopStrings, DoesNotDependOnThePieces) {
  for (uint64_t round = 0; round < 500; ++round) {
    std::string text;
    for (uint64_t i = 0; i < 30; ++i) text += "abc"[random_bits(round, 0, i) % 3];
    const std::vector<std::string> list = {"abcab", "bca", "cc", "bab", "ab"};
    size_t first = std::string::npos;
    for (size_t end = 0; end <= text.size() && first == std::string::npos; ++end) {
      for (const auto& stop : list)
        if (std::string_view(text).substr(0, end).ends_with(stop)) first = std::min(first, end - stop.size());
    }

    StopStrings stops(list);
    std::string shown;
    for (size_t at = 0, piece = 0; at < text.size(); ++piece) {
      const size_t length = 1 + random_bits(round, 1, piece) % 4;
      shown += stops.push(std::string_view(text).substr(at, length));
      at += length;
    }
    shown += stops.flush();
    EXPECT_EQ(stops.stopped(), first != std::string::npos);
    EXPECT_EQ(shown, text.substr(0, first)) << text;
  }
}

}  // namespace
}  // namespace ostro
