// Record layouts and signatures: APPNOTE.TXT of PKWARE, sections 4.3.7 (local header), 4.3.12 (central directory),
// 4.3.14 to 4.3.16 (end records), 4.5.3 (zip64 sizes). Sizes are taken from the central directory alone, as local
// headers may leave them to a descriptor behind the data.
#include "formats/zip.h"

#include <algorithm>
#include <optional>

#include "base/checked.h"
#include "base/error.h"
#include "formats/crc32.h"
#include "formats/untrusted.h"

namespace ostro {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kZip64End = 0x06064b50, kZip64Locator = 0x07064b50;
constexpr uint64_t kEndBytes = 22, kZip64LocatorBytes = 20, kLongestComment = 65535;
constexpr uint64_t kSmallestCentralHeader = 46;
constexpr uint16_t kZip64Extra = 1, kEncrypted = 1, kStored = 0;
constexpr uint32_t kInZip64 = 0xffffffffu;

struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
};

class ZipParser {
 public:
  ZipParser(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  ZipMembers parse() {
    const Directory directory = find_directory();
    if (directory.offset > bytes_.size() || directory.size > bytes_.size() - directory.offset) {
      fail("its directory, {} bytes at {}, is outside the file", directory.size, directory.offset);
    }
    if (directory.entries > directory.size / kSmallestCentralHeader) {
      fail("{} members in a directory of {} bytes", directory.entries, directory.size);
    }
    ByteReader in(bytes_.subspan(directory.offset, directory.size), name_ + ": zip directory");
    ZipMembers out;
    for (uint64_t i = 0; i < directory.entries; ++i) read_member(in, directory.offset, out);
    return out;
  }

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(ErrorKind::File, "{}: zip archive: {}", name_, fmt::format(format, std::forward<Args>(args)...));
  }

  ByteReader at(uint64_t offset, const char* what) const {
    if (offset > bytes_.size()) fail("{} at {} is outside the file", what, offset);
    return ByteReader(bytes_.subspan(offset), fmt::format("{}: zip archive: {}", name_, what));
  }

  Directory find_directory() const {
    if (as_text(bytes_.first(std::min<size_t>(bytes_.size(), 2))) != "PK") {
      throw_error(ErrorKind::File, "{}: not a torch zip file: {}", name_, appearance(bytes_));
    }
    // The end record is the last thing but for a comment of known length: search backwards for one that fits.
    const uint64_t size = bytes_.size();
    for (uint64_t comment = 0; comment <= kLongestComment && comment + kEndBytes <= size; ++comment) {
      const uint64_t offset = size - kEndBytes - comment;
      ByteReader in = at(offset, "end record");
      if (in.read<uint32_t>("signature") != kEnd) continue;
      const auto disk = in.read<uint16_t>("disk");
      const auto directory_disk = in.read<uint16_t>("disk");
      in.take(2, "entries on this disk");
      Directory found;
      found.entries = in.read<uint16_t>("entries");
      found.size = in.read<uint32_t>("size");
      found.offset = in.read<uint32_t>("offset");
      if (in.read<uint16_t>("comment length") != comment) continue;
      if (auto large = zip64_directory(offset)) return *large;
      if (disk != 0 || directory_disk != 0) fail("spread over several disks");
      return found;
    }
    fail("no end record: cut short?");
  }

  std::optional<Directory> zip64_directory(uint64_t end_offset) const {
    if (end_offset < kZip64LocatorBytes) return std::nullopt;
    ByteReader locator = at(end_offset - kZip64LocatorBytes, "zip64 locator");
    if (locator.read<uint32_t>("signature") != kZip64Locator) return std::nullopt;
    locator.take(4, "disk");
    ByteReader in = at(locator.read<uint64_t>("offset"), "zip64 end record");
    if (in.read<uint32_t>("signature") != kZip64End) fail("no zip64 end record where its locator points");
    in.take(8 + 2 + 2 + 4 + 4 + 8, "zip64 end record");  // size, versions, disks, entries on this disk
    Directory found;
    found.entries = in.read<uint64_t>("entries");
    found.size = in.read<uint64_t>("size");
    found.offset = in.read<uint64_t>("offset");
    return found;
  }

  void read_member(ByteReader& in, uint64_t data_end, ZipMembers& out) const {
    if (in.read<uint32_t>("signature") != kCentralHeader) fail("a directory entry has a wrong signature");
    in.take(4, "versions");
    const auto flags = in.read<uint16_t>("flags");
    const auto method = in.read<uint16_t>("method");
    in.take(4, "time");
    const auto checksum = in.read<uint32_t>("checksum");
    uint64_t packed = in.read<uint32_t>("size");
    uint64_t size = in.read<uint32_t>("size");
    const auto name_length = in.read<uint16_t>("name length");
    const auto extra_length = in.read<uint16_t>("extra length");
    const auto comment_length = in.read<uint16_t>("comment length");
    in.take(2 + 2 + 4, "disk and attributes");
    uint64_t offset = in.read<uint32_t>("offset");
    const std::string member(as_text(in.take(name_length, "name")));
    const auto extra = in.take(extra_length, "extra fields");
    in.take(comment_length, "comment");
    if ((flags & kEncrypted) != 0) fail("member {} is encrypted", quote(member));
    if (method != kStored) {
      fail("member {} is compressed (method {}); only stored members can be read", quote(member), method);
    }
    if (size == kInZip64 || packed == kInZip64 || offset == kInZip64) read_zip64(extra, size, packed, offset);
    if (size != packed) fail("member {}: stored, yet {} bytes become {}", quote(member), packed, size);
    if (!out.emplace(member, ZipMember{data_of(member, offset, size, data_end), checksum}).second) {
      fail("member {} appears twice", quote(member));
    }
  }

  // The zip64 extra field holds those of the three numbers, in this order, that did not fit in 32 bits.
  void read_zip64(std::span<const std::byte> extra, uint64_t& size, uint64_t& packed, uint64_t& offset) const {
    ByteReader fields(extra, name_ + ": zip archive: extra field");
    while (fields.left() > 0) {
      const auto id = fields.read<uint16_t>("id");
      const auto length = fields.read<uint16_t>("length");
      ByteReader values(fields.take(length, "content"), name_ + ": zip archive: zip64 field");
      if (id != kZip64Extra) continue;
      for (uint64_t* number : {&size, &packed, &offset}) {
        if (*number == kInZip64) *number = values.read<uint64_t>("a size");
      }
      return;
    }
    fail("a member with large sizes lacks its zip64 field");
  }

  std::span<const std::byte> data_of(const std::string& member, uint64_t offset, uint64_t size,
                                     uint64_t data_end) const {
    ByteReader local = at(offset, "member header");
    if (local.read<uint32_t>("signature") != kLocalHeader) fail("member {} has no header", quote(member));
    local.take(2 + 2 + 2 + 4 + 4 + 4 + 4, "member header");  // version, flags, method, time, checksum, sizes
    const auto name_length = local.read<uint16_t>("name length");
    const auto extra_length = local.read<uint16_t>("extra length");
    if (as_text(local.take(name_length, "name")) != member) {
      fail("member {} has another name in its own header", quote(member));
    }
    local.take(extra_length, "extra fields");
    const uint64_t begin = offset + local.position();
    if (begin > data_end || size > data_end - begin) {
      fail("member {}: {} bytes at {} run into the directory at {}", quote(member), size, begin, data_end);
    }
    return bytes_.subspan(begin, size);
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
};

}  // namespace

ZipMembers parse_stored_zip(std::span<const std::byte> bytes, const std::string& name) {
  return ZipParser(bytes, name).parse();
}

void check_zip_member(const std::string& member, const ZipMember& content, const std::string& file) {
  if (content.checksum == 0) return;
  const uint32_t found = crc32(content.bytes);
  if (found == content.checksum) return;
  throw_error(ErrorKind::File, "{}: zip archive: member {} is damaged: its CRC-32 is {:08x}, expected {:08x}", file,
              quote(member), found, content.checksum);
}

}  // namespace ostro
