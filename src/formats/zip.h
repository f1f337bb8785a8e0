// Zip archives whose members are stored, not compressed: what torch writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace ostro {

struct ZipMember {
  std::span<const std::byte> bytes;
  uint32_t checksum = 0;  // CRC-32; 0: none was written, as torch.serialization.set_crc32_options(False) asks for
};
using ZipMembers = std::map<std::string, ZipMember>;

// The members by name. `name` begins the messages of Error(File). Checksums are not looked at.
ZipMembers parse_stored_zip(std::span<const std::byte> bytes, const std::string& name);

// Throws Error(File) where a member's bytes do not have its checksum. `file` begins the message.
void check_zip_member(const std::string& member, const ZipMember& content, const std::string& file);

}  // namespace ostro
