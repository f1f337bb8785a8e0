// Tokenizers written in another form give the same ids and the same text.
#include "text/export_tokenizer.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "support/support.h"
#include "text/base64.h"
#include "text/tokenizer.h"
#include "text/tokenizer_formats.h"

namespace ostro::test {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kTexts = {"Hello world",
                                         "  two  spaces\n\n\nlines\ttab ",
                                         "don't, it's 12345.678!",
                                         "día, naïve, Straße; 日本語 한국어 Ελληνικά",
                                         "emoji 😀👍🏽 and \xF0\x9F\x8F\xB4",
                                         "int main() { return x<=y ? 0 : 1; }  // ▁ mark",
                                         "",
                                         " ",
                                         "a"};

void expect_same(const Tokenizer& a, const Tokenizer& b) {
  EXPECT_EQ(a.vocab_size(), b.vocab_size());
  EXPECT_EQ(a.bos, b.bos);
  EXPECT_EQ(a.eos, b.eos);
  EXPECT_EQ(a.add_bos, b.add_bos);
  EXPECT_EQ(a.add_eos, b.add_eos);
  for (const std::string& text : kTexts) {
    const std::vector<int32_t> ids = a.encode(text);
    EXPECT_EQ(ids, b.encode(text)) << text;
    EXPECT_EQ(a.decode(ids), b.decode(ids)) << text;
  }
}

WeightStore folder_with(const fs::path& file, const std::string& name) {
  WeightStore store;
  store.format = CheckpointFormat::HuggingFace;
  store.path = store.folder = temporary_folder().string();
  fs::copy_file(file, fs::path(store.folder) / name);
  return store;
}

WeightStore as_gguf(const WeightStore& folder, int64_t vocab) {
  WeightStore store;
  store.format = CheckpointFormat::Gguf;
  store.path = "model.gguf";
  store.gguf.emplace();
  std::vector<std::string> notes;
  describe_tokenizer(folder, vocab, *store.gguf, notes);
  return store;
}

// The files for a folder of `format`, loaded.
std::unique_ptr<Tokenizer> written(const WeightStore& store, CheckpointFormat format) {
  WeightStore out;
  out.format = format;
  out.path = out.folder = temporary_folder().string();
  std::vector<std::string> notes;
  for (const auto& [name, text] : tokenizer_files(store, format, notes)) {
    write_file_atomically((fs::path(out.folder) / name).string(), text);
  }
  return load_tokenizer(out);
}

// Unigram models, with their tables of normalisation: file or tokenizer.json, GGUF, file.
TEST(ExportTokenizer, UnigramModels) {
  for (const std::string& line : read_lines(fixture("text/unigram.jsonl"))) {
    const auto row = nlohmann::json::parse(line);
    SCOPED_TRACE(row["name"].get<std::string>());
    const bool json = row.contains("json");
    const std::string content = json ? row["json"].dump() : from_base64(row["model_b64"].get<std::string>()).value();
    const fs::path file = temporary_folder() / "tokenizer";
    write_file_atomically(file.string(), content);
    const WeightStore folder = folder_with(file, json ? "tokenizer.json" : "spiece.model");
    const auto original = load_tokenizer(folder);
    EXPECT_NE(original->describe().find("unigram"), std::string::npos);
    EXPECT_EQ(tokenizer_files(folder, CheckpointFormat::HuggingFace, *std::make_unique<std::vector<std::string>>())
                  .at(json ? "tokenizer.json" : "spiece.model"),
              content);
    // A model has more rows than its tokenizer has pieces.
    const WeightStore gguf = as_gguf(folder, original->vocab_size() + 7);
    EXPECT_EQ(gguf.gguf->text("tokenizer.ggml.model"), "t5");
    const auto from_gguf = load_tokenizer(gguf), back = written(gguf, CheckpointFormat::HuggingFace);
    EXPECT_EQ(from_gguf->vocab_size(), original->vocab_size() + 7);
    EXPECT_EQ(back->vocab_size(), from_gguf->vocab_size());
    EXPECT_EQ(from_gguf->eos, original->eos);
    for (const auto& one : row["cases"]) {
      const auto text = one["text"].get<std::string>();
      const auto ids = original->encode(text);
      EXPECT_EQ(from_gguf->encode(text), ids) << text;
      EXPECT_EQ(back->encode(text), ids) << text;
      EXPECT_EQ(back->decode(ids), from_gguf->decode(ids)) << text;
    }
  }
}

TEST(ExportTokenizer, SentencePieceModels) {
  for (const char* name : {"mistral-v1.model", "mistral-v2.model", "mistral-v3.model"}) {
    SCOPED_TRACE(name);
    OSTRO_SHARED_OR_SKIP(path, std::string("data/tokenizers/") + name);
    const WeightStore folder = folder_with(path, "tokenizer.model");
    auto original = load_tokenizer(folder);
    original->add_bos = true;  // what GGUF says of them
    const WeightStore gguf = as_gguf(folder, original->vocab_size());
    expect_same(*original, *load_tokenizer(gguf));
    const auto native = written(gguf, CheckpointFormat::Mistral);
    native->add_bos = true;
    expect_same(*original, *native);
    // tokenizer.json puts its mark before empty texts too.
    const auto json = written(gguf, CheckpointFormat::HuggingFace);
    for (const std::string& text : kTexts) {
      if (text.empty()) continue;
      EXPECT_EQ(original->encode(text), json->encode(text)) << text;
      EXPECT_EQ(original->decode(original->encode(text)), json->decode(json->encode(text))) << text;
    }
    EXPECT_EQ(json->bos, original->bos);
    EXPECT_TRUE(json->add_bos);
  }
}

TEST(ExportTokenizer, ByteLevelVocabulariesOfGguf) {
  for (const char* name : {"gpt-2.gguf", "deepseek-llm.gguf", "deepseek-coder.gguf"}) {
    SCOPED_TRACE(name);
    OSTRO_SHARED_OR_SKIP(path, std::string("data/tokenizers/llama.cpp-vocab/") + name);
    const MappedFile file(path.string());
    WeightStore store;
    store.format = CheckpointFormat::Gguf;
    store.path = path.string();
    store.gguf = parse_gguf(file.bytes(), store.path).metadata;
    const auto original = load_tokenizer(store);
    const auto json = written(store, CheckpointFormat::HuggingFace);
    expect_same(*original, *json);
  }
}

// Readers of tokenizer.json take the id of an added token from the vocabulary where it stands there, and number the
// others on from the vocabulary's size, whatever their "id" says.
TEST(ExportTokenizer, AddedTokensKeepTheirIds) {
  WeightStore store;
  store.format = CheckpointFormat::Gguf;
  store.path = "model.gguf";
  store.gguf.emplace();
  auto& values = store.gguf->values;
  using Texts = std::vector<std::string>;
  values["tokenizer.ggml.model"] = std::string("gpt2");
  values["tokenizer.ggml.pre"] = std::string("gpt-2");
  values["tokenizer.ggml.tokens"] = GgufArray(Texts{"<|first|>", "a", "<|middle|>", "b", "ab", "<|tail|>", "<|end|>"});
  values["tokenizer.ggml.token_type"] = GgufArray(std::vector<int64_t>{3, 1, 4, 1, 1, 3, 3});
  values["tokenizer.ggml.merges"] = GgufArray(Texts{"a b"});

  std::vector<std::string> notes;
  nlohmann::json root;
  for (const auto& [name, text] : tokenizer_files(store, CheckpointFormat::HuggingFace, notes)) {
    if (name == "tokenizer.json") root = nlohmann::json::parse(text);
  }
  const auto& vocab = root.at("model").at("vocab");
  size_t next = vocab.size();
  std::vector<size_t> ids;
  for (const auto& token : root.at("added_tokens")) {
    const auto own = vocab.find(token.at("content").get<std::string>());
    ids.push_back(own != vocab.end() ? own->get<size_t>() : next++);
  }
  EXPECT_EQ(ids, (std::vector<size_t>{0, 2, 5, 6}));
}

TEST(ExportTokenizer, TokenizerJsonToGguf) {
  OSTRO_SHARED_OR_SKIP(path, "data/tokenizers/deepseek-v3/tokenizer.json");
  WeightStore folder = folder_with(path, "tokenizer.json");
  fs::copy_file(path.parent_path() / "tokenizer_config.json", fs::path(folder.folder) / "tokenizer_config.json");
  const auto original = load_tokenizer(folder);
  const WeightStore gguf = as_gguf(folder, original->vocab_size() + 7);
  const auto read = load_tokenizer(gguf);
  EXPECT_EQ(read->vocab_size(), original->vocab_size() + 7);
  EXPECT_EQ(read->token_kind(original->vocab_size() + 6), TokenKind::Unused);
  EXPECT_TRUE(gguf.gguf->has("tokenizer.chat_template"));
  for (const std::string& text : kTexts) EXPECT_EQ(original->encode(text), read->encode(text)) << text;
  EXPECT_THROW(as_gguf(folder, original->vocab_size() - 1), Error);
}

TEST(ExportTokenizer, FolderWithoutATokenizer) {
  WeightStore folder;
  folder.folder = folder.path = temporary_folder().string();
  GgufMetadata metadata;
  std::vector<std::string> notes;
  describe_tokenizer(folder, 100, metadata, notes);
  EXPECT_TRUE(metadata.values.empty());
  EXPECT_EQ(notes.size(), 1u);
  EXPECT_TRUE(tokenizer_files(folder, CheckpointFormat::HuggingFace, notes).empty());
}

}  // namespace
}  // namespace ostro::test
