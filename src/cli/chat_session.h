// A conversation with a model: its messages, its replies, and the commands that change it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "cli/model_flags.h"
#include "cli/routing_counts.h"
#include "engine/engine.h"
#include "text/chat.h"

namespace ostro {

class ChatSession {
 public:
  ChatSession(Engine& engine, std::unique_ptr<ChatFormat> format, const SamplingFlags& sampling);

  void set_system(const std::string& text);  // empty: none
  // A message and the reply to it. What fails (a conversation longer than the context) leaves the conversation as it
  // was.
  void say(const std::string& message);
  // "/regenerate", "/save FILE", ... Returns false for /quit.
  bool command(const std::string& line);

  // Replies also go here as {"role", "content"}, one JSON object a line, instead of as text.
  void reply_in_json(bool json) { json_ = json; }

 private:
  void reply();
  void regenerate();
  void clear();
  void save(const std::string& file) const;
  void load(const std::string& file);
  std::string statistics() const;
  std::string routing() const;

  Engine& engine_;
  std::unique_ptr<ChatFormat> format_;
  SamplingFlags sampling_;
  std::string system_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  uint64_t draws_ = 0;  // replies asked for so far; each has draws of its own
  RoutingCounts routing_;
  Result last_;
  bool json_ = false;
  bool told_off_ = false;  // that guessing ended was said
};

}  // namespace ostro
