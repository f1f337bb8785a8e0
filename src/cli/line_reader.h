// Lines from a person or a pipe. On a terminal: editing and history by libedit; otherwise plain lines.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace ostro {

class LineReader {
 public:
  // History is kept in `history_file` between runs; empty: not kept.
  explicit LineReader(const std::string& history_file);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  enum class Outcome { Line, Interrupted, End };
  // One line without its line break, into `line`.
  Outcome read(const std::string& prompt, std::string& line);

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;  // null: no terminal
};

// Where history is kept: $XDG_STATE_HOME/ostro/history, or ~/.local/state/ostro/history; empty where neither is known.
std::string history_path();

// A message of one or more lines: a line that ends in a backslash goes on in the next; """ begins and ends a block of
// lines that are taken as they are.
LineReader::Outcome read_message(LineReader& reader, std::string& message);

}  // namespace ostro
