// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/shm/segment.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

namespace ringleader::shm {
namespace {

constexpr std::int64_t kCacheLine = 64;

/// Pages are reserved in steps of this many bytes, so that small allocations cost no system call.
constexpr std::int64_t kReserveStep = 1 << 20;

/// Addresses are reserved in pages. A segment of less than kBytesMin is of no use.
constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kBytesMin = 1 << 20;

/// Makes sure that a part of the file has pages. Returns false if there is no memory.
bool reserve(int file, std::int64_t begin, std::int64_t end) {
  int error = EINTR;  // the program's signals may interrupt the call
  while (error == EINTR) error = ::posix_fallocate(file, begin, end - begin);
  return error == 0;
}

Status unsupported(const std::string& call) {
  return Status(Code::unsupported,
                fmt::format("shared memory: {}: {}", call, std::strerror(errno)));
}

/// Owns a file descriptor.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

std::byte* map(int file, std::int64_t bytes) {
  void* const data = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_NORESERVE, file, 0);
  if (data == MAP_FAILED) return nullptr;
  // Both are optional. Without them, access is slower or a core file is larger.
  (void)::madvise(data, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
  (void)::madvise(data, static_cast<std::size_t>(bytes), MADV_DONTDUMP);
  return static_cast<std::byte*>(data);
}

}  // namespace

Result<std::shared_ptr<Segment>> Segment::create(std::int64_t bytes_max) {
  // Never use 0, 1 or 2, even if somebody has closed them: output written there would go into
  // tensors.
  File created(::memfd_create("ringleader", MFD_CLOEXEC));
  if (created.get() < 0) return unsupported("memfd_create");
  File file(::fcntl(created.get(), F_DUPFD_CLOEXEC, 3));
  if (file.get() < 0) return unsupported("fcntl");
  if (::fchmod(file.get(), 0600) != 0) return unsupported("fchmod");
  Identity identity;
  if (::getrandom(identity.token, sizeof identity.token, 0) != sizeof identity.token) {
    return unsupported("getrandom");
  }
  // Limits on the size of files (RLIMIT_FSIZE) and on addresses (RLIMIT_AS).
  rlimit limit = {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    bytes_max = std::min(bytes_max, static_cast<std::int64_t>(limit.rlim_cur) / kPage * kPage);
  }
  for (identity.bytes = bytes_max; identity.bytes >= kBytesMin; identity.bytes /= 2) {
    if (::ftruncate(file.get(), identity.bytes) != 0) return unsupported("ftruncate");
    identity.data = map(file.get(), identity.bytes);
    if (identity.data != nullptr) break;
  }
  if (identity.data == nullptr) return unsupported(fmt::format("mmap of {} bytes", bytes_max));
  struct stat info = {};
  if (::fstat(file.get(), &info) != 0) return unsupported("fstat");
  identity.process = ::getpid();
  identity.file = file.release();
  identity.device = info.st_dev;
  identity.inode = info.st_ino;
  return std::shared_ptr<Segment>(new Segment(identity));
}

Segment::Segment(const Identity& identity)
    : identity_(identity), ranges_(identity.bytes, kCacheLine) {}

Segment::~Segment() {
  ::munmap(identity_.data, static_cast<std::size_t>(identity_.bytes));
  ::close(identity_.file);
}

void* Segment::allocate(std::int64_t bytes) {
  if (bytes < 0 || bytes > identity_.bytes) return nullptr;
  const std::lock_guard lock(mutex_);
  const std::optional<std::int64_t> offset = ranges_.allocate(bytes);
  if (!offset) return nullptr;
  const std::int64_t end = *offset + bytes;
  if (end > reserved_) {
    const std::int64_t wanted = (end + kReserveStep - 1) / kReserveStep * kReserveStep;
    const std::int64_t target = std::min(wanted, identity_.bytes);
    if (!reserve(identity_.file, reserved_, target)) {
      ranges_.free(*offset);
      return nullptr;
    }
    reserved_ = target;
  }
  return identity_.data + *offset;
}

bool Segment::free(void* memory) {
  if (!contains(memory, 0)) return false;
  const std::lock_guard lock(mutex_);
  return ranges_.free(offset_of(memory)) > 0;
}

bool Segment::contains(const void* memory, std::int64_t bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(identity_.data);
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const auto size = static_cast<std::uintptr_t>(identity_.bytes);
  return address >= begin && address - begin <= size &&
         static_cast<std::uintptr_t>(bytes) <= size - (address - begin);
}

std::int64_t Segment::bytes_used() const {
  const std::lock_guard lock(mutex_);
  return ranges_.bytes_used();
}

Result<Mapping> Mapping::open(const Identity& identity, const Identity* own) {
  const bool is_own = own != nullptr && std::equal(std::begin(own->token), std::end(own->token),
                                                   std::begin(identity.token));
  if (is_own) return Mapping(identity.data, identity.bytes, false);
  const std::string path = fmt::format("/proc/{}/fd/{}", identity.process, identity.file);
  const File file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (file.get() < 0) return unsupported(path);
  struct stat info = {};
  if (::fstat(file.get(), &info) != 0) return unsupported(path);
  if (info.st_dev != identity.device || info.st_ino != identity.inode ||
      info.st_size != identity.bytes) {
    return Status(Code::unsupported, fmt::format("shared memory: {} is another file", path));
  }
  std::byte* const data = map(file.get(), identity.bytes);
  if (data == nullptr) return unsupported(fmt::format("mmap of {} bytes", identity.bytes));
  return Mapping(data, identity.bytes, true);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(other.data_), bytes_(other.bytes_), owned_(std::exchange(other.owned_, false)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(owned_, other.owned_);
  return *this;
}

Mapping::~Mapping() {
  if (owned_) ::munmap(data_, static_cast<std::size_t>(bytes_));
}

}  // namespace ringleader::shm
