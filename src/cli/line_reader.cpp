#include "cli/line_reader.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace ostro {

namespace fs = std::filesystem;

struct LineReader::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  std::string file, prompt;
};

namespace {

constexpr int kHistoryLines = 1000;

char* show_prompt(EditLine* line) {
  void* editor = nullptr;
  el_get(line, EL_CLIENTDATA, &editor);
  return static_cast<std::string*>(editor)->data();
}

}  // namespace

std::string history_path() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != '\0')
    return (fs::path(state) / "ostro" / "history").string();
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return (fs::path(home) / ".local" / "state" / "ostro" / "history").string();
  return "";
}

LineReader::LineReader(const std::string& history_file) {
  if (!stdin_is_terminal() || !stdout_is_terminal()) return;
  std::setlocale(LC_CTYPE, "");
  editor_ = std::make_unique<Editor>();
  editor_->file = history_file;
  editor_->line = el_init("ostro", stdin, stdout, stderr);
  editor_->history = history_init();
  if (editor_->line == nullptr || editor_->history == nullptr) {
    editor_.reset();
    return;
  }
  HistEvent event;
  history(editor_->history, &event, H_SETSIZE, kHistoryLines);
  history(editor_->history, &event, H_SETUNIQUE, 1);
  if (!history_file.empty()) history(editor_->history, &event, H_LOAD, history_file.c_str());
  el_set(editor_->line, EL_CLIENTDATA, &editor_->prompt);
  el_set(editor_->line, EL_PROMPT, show_prompt);
  el_set(editor_->line, EL_EDITOR, "emacs");
  el_set(editor_->line, EL_HIST, history, editor_->history);
  el_set(editor_->line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_source(editor_->line, nullptr);  // the user's ~/.editrc
}

LineReader::~LineReader() {
  if (!editor_) return;
  if (!editor_->file.empty()) {
    std::error_code failed;
    fs::create_directories(fs::path(editor_->file).parent_path(), failed);
    HistEvent event;
    if (!failed) history(editor_->history, &event, H_SAVE, editor_->file.c_str());
  }
  history_end(editor_->history);
  el_end(editor_->line);
}

LineReader::Outcome LineReader::read(const std::string& prompt, std::string& line) {
  line.clear();
  if (!editor_) {
    if (std::getline(std::cin, line)) return Outcome::Line;
    return interrupted() ? Outcome::Interrupted : Outcome::End;
  }
  editor_->prompt = prompt;
  int count = 0;
  const char* text = el_gets(editor_->line, &count);
  if (interrupted()) {
    el_reset(editor_->line);
    return Outcome::Interrupted;
  }
  if (text == nullptr || count <= 0) return Outcome::End;
  line.assign(text, static_cast<size_t>(count));
  if (line.ends_with('\n')) line.pop_back();
  if (!line.empty()) {
    HistEvent event;
    history(editor_->history, &event, H_ENTER, line.c_str());
  }
  return Outcome::Line;
}

LineReader::Outcome read_message(LineReader& reader, std::string& message) {
  static constexpr std::string_view kQuotes = "\"\"\"";
  message.clear();
  std::string line;
  auto outcome = reader.read("> ", line);
  if (line.starts_with(kQuotes)) {
    message = line.substr(kQuotes.size());
    bool first = message.empty();
    while (outcome == LineReader::Outcome::Line && !message.ends_with(kQuotes)) {
      outcome = reader.read(". ", line);
      if (outcome != LineReader::Outcome::Line) break;
      message += (first ? "" : "\n") + line;
      first = false;
    }
    if (message.ends_with(kQuotes)) message.resize(message.size() - kQuotes.size());
    if (message.ends_with('\n')) message.pop_back();
    return outcome == LineReader::Outcome::End && !message.empty() ? LineReader::Outcome::Line : outcome;
  }
  while (outcome == LineReader::Outcome::Line && line.ends_with('\\')) {
    message += line.substr(0, line.size() - 1) + "\n";
    outcome = reader.read(". ", line);
  }
  message += line;
  return outcome == LineReader::Outcome::End && !message.empty() ? LineReader::Outcome::Line : outcome;
}

}  // namespace ostro
