// torch.save files (.pth, .pt): a zip archive of stored tensors and a pickle that names them. The pickle is read by a
// closed list of opcodes and classes; nothing in it is ever executed.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "formats/tensor_entry.h"
#include "formats/zip.h"

namespace ostro {

// Reads one file. `name` begins the messages of Error(File). The pickle's checksum is compared, the tensors' are not:
// that would read all of the file.
std::vector<TensorEntry> parse_torch_file(std::span<const std::byte> bytes, const std::string& name);

// The pickle alone. `members` are the archive's; storages are looked up as <root>data/<key>.
std::vector<TensorEntry> parse_torch_pickle(std::span<const std::byte> pickle, const ZipMembers& members,
                                            const std::string& root, const std::string& name);

}  // namespace ostro
