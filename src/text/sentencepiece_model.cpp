// Reads tokenizer.model files: protocol buffers, of which these need four messages with a handful of fields.
// Field numbers are those of SentencePiece's sentencepiece_model.proto.
#include <bit>
#include <cstring>

#include "base/error.h"
#include "text/sentencepiece.h"

namespace ostro {
namespace {

// One message of the protocol buffers wire format, field by field; never reads outside its bytes.
class WireReader {
 public:
  WireReader(std::string_view bytes, std::string where) : rest_(bytes), where_(std::move(where)) {}

  // Moves to the next field; false at the end. The field's value is in `number` or in `bytes`.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field = key >> 3;
    wire_ = static_cast<int>(key & 7);
    if (field == 0) fail("field number 0");
    if (wire_ == kVarint) {
      number_ = varint();
    } else if (wire_ == kFixed64) {
      take(8);
    } else if (wire_ == kBytes) {
      const uint64_t length = varint();
      bytes_ = take(length);
    } else if (wire_ == kFixed32) {
      const std::string_view raw = take(4);
      uint32_t bits = 0;
      std::memcpy(&bits, raw.data(), 4);
      number_ = bits;
    } else {
      fail(fmt::format("wire type {}", wire_));
    }
    return true;
  }

  uint64_t field = 0;
  bool boolean() const { return expect(kVarint), number_ != 0; }
  int32_t integer() const { return expect(kVarint), static_cast<int32_t>(static_cast<uint32_t>(number_)); }
  float real() const { return expect(kFixed32), std::bit_cast<float>(static_cast<uint32_t>(number_)); }
  std::string_view bytes() const { return expect(kBytes), bytes_; }

 private:
  static constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

  [[noreturn]] void fail(const std::string& what) const {
    throw_error(ErrorKind::File, "{}: not a SentencePiece model, or a damaged one: {}", where_, what);
  }
  void expect(int wire) const {
    if (wire_ != wire) fail(fmt::format("field {} has wire type {}, expected {}", field, wire_, wire));
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than 10 bytes");
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) fail(fmt::format("it ends {} bytes early", count - rest_.size()));
    const std::string_view out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return out;
  }

  std::string_view rest_;
  std::string where_;
  int wire_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

SentencePieceModel::Piece read_piece(WireReader piece, const std::string& where, size_t index) {
  SentencePieceModel::Piece out;
  while (piece.next()) {
    if (piece.field == 1) out.text = piece.bytes();
    if (piece.field == 2) out.score = piece.real();
    if (piece.field != 3) continue;
    switch (piece.integer()) {
      case 1:
        out.kind = TokenKind::Normal;
        break;
      case 2:
        out.kind = TokenKind::Unknown;
        break;
      case 3:
        out.kind = TokenKind::Control;
        break;
      case 4:
        out.kind = TokenKind::UserDefined;
        break;
      case 5:
        out.kind = TokenKind::Unused;
        break;
      case 6:
        out.kind = TokenKind::Byte;
        break;
      default:
        throw_error(ErrorKind::File, "{}: piece {} has type {}, expected 1 to 6", where, index, piece.integer());
    }
  }
  return out;
}

void read_trainer(WireReader trainer, SentencePieceModel& model, const std::string& where) {
  constexpr const char* kKinds[] = {"", "unigram", "bpe", "word", "char"};
  int32_t kind = 1;
  model.bos = 1, model.eos = 2, model.pad = -1;
  while (trainer.next()) {
    switch (trainer.field) {
      case 3:
        kind = trainer.integer();
        break;
      case 24:
        if (trainer.boolean()) {
          throw_error(ErrorKind::File, "{}: treat_whitespace_as_suffix is not supported", where);
        }
        break;
      case 35:
        model.byte_fallback = trainer.boolean();
        break;
      case 41:
        model.bos = trainer.integer();
        break;
      case 42:
        model.eos = trainer.integer();
        break;
      case 43:
        model.pad = trainer.integer();
        break;
      case 44:
        model.unknown_surface = trainer.bytes();
        break;
      default:
        break;
    }
  }
  model.unigram = kind == 1;
  if (kind != 1 && kind != 2) {
    throw_error(ErrorKind::File, "{}: a SentencePiece model of type {}, expected bpe or unigram", where,
                kind >= 1 && kind <= 4 ? std::string(kKinds[kind]) : fmt::to_string(kind));
  }
}

void read_normalizer(WireReader normalizer, SentencePieceModel& model) {
  model.remove_extra_whitespaces = true;
  while (normalizer.next()) {
    switch (normalizer.field) {
      case 2:
        model.charsmap = normalizer.bytes();
        break;
      case 3:
        model.add_dummy_prefix = normalizer.boolean();
        break;
      case 4:
        model.remove_extra_whitespaces = normalizer.boolean();
        break;
      case 5:
        model.escape_whitespaces = normalizer.boolean();
        break;
      default:
        break;
    }
  }
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::span<const std::byte> bytes, const std::string& where) {
  SentencePieceModel model;
  bool has_trainer = false, has_normalizer = false;
  WireReader file({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
  while (file.next()) {
    if (file.field == 1) {
      model.pieces.push_back(read_piece({file.bytes(), where}, where, model.pieces.size()));
      const bool is_unknown = model.pieces.back().kind == TokenKind::Unknown;
      if (is_unknown && model.unknown < 0) model.unknown = static_cast<int32_t>(model.pieces.size() - 1);
    } else if (file.field == 2) {
      read_trainer({file.bytes(), where}, model, where);
      has_trainer = true;
    } else if (file.field == 3) {
      read_normalizer({file.bytes(), where}, model);
      has_normalizer = true;
    }
  }
  if (!has_trainer || !has_normalizer || model.pieces.empty()) {
    throw_error(ErrorKind::File, "{}: not a whole SentencePiece model: it has no {}", where,
                model.pieces.empty() ? "pieces" : (has_trainer ? "normalizer_spec" : "trainer_spec"));
  }
  return model;
}

}  // namespace ostro
