#include "mapped_file.h"

#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llm {
namespace {

struct descriptor {
    int fd;
    ~descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

[[noreturn]] void fail(int error, const std::string &what) {
    throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

mapped_file::mapped_file(const std::string &path) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer before fstat can refuse it.
    const descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.fd < 0) fail(errno, "cannot open " + path);
    struct stat info{};
    if (::fstat(file.fd, &info) != 0) fail(errno, "cannot stat " + path);
    if (!S_ISREG(info.st_mode)) fail(EINVAL, path + " is not a regular file");
    if (info.st_size <= 0) fail(EINVAL, path + " is empty");
    if (static_cast<uint64_t>(info.st_size) > std::numeric_limits<size_t>::max())
        fail(EFBIG, path + " does not fit the address space");
    const auto size = static_cast<size_t>(info.st_size);
    void *map = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (map == MAP_FAILED) fail(errno, "cannot map " + path);
    data_ = static_cast<uint8_t *>(map);
    size_ = size;
    path_ = path;
}

mapped_file::~mapped_file() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

mapped_file::mapped_file(mapped_file &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), path_(std::move(other.path_)) {}

mapped_file &mapped_file::operator=(mapped_file &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(path_, other.path_);
    return *this;
}

void mapped_file::prefetch() const {
    if (data_ != nullptr) (void)::madvise(data_, size_, MADV_WILLNEED);
}

}  // namespace llm
