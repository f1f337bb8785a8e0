// Which tokenizer a file or a checkpoint holds.
#include "base/error.h"
#include "base/mapped_file.h"
#include "text/sentencepiece.h"

namespace ostro {

std::unique_ptr<Tokenizer> load_tokenizer_file(const std::string& path) {
  const MappedFile file(path);
  return make_sentencepiece_tokenizer(read_sentencepiece_model(file.bytes(), path), path);
}

}  // namespace ostro
