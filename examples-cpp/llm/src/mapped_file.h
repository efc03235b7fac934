// A file mapped read-only into memory for as long as the object lives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace llm {

class mapped_file {
public:
    mapped_file() = default;
    // Throws std::system_error naming the path when the file cannot be opened, is not a regular file, is empty or cannot be mapped.
    explicit mapped_file(const std::string &path);
    ~mapped_file();
    mapped_file(mapped_file &&other) noexcept;
    mapped_file &operator=(mapped_file &&other) noexcept;
    mapped_file(const mapped_file &) = delete;
    mapped_file &operator=(const mapped_file &) = delete;

    const uint8_t *data() const { return data_; }
    size_t size() const { return size_; }
    const std::string &path() const { return path_; }

    // Start reading the whole file into the page cache, so that the first pass over the weights is not a page fault per page.
    void prefetch() const;

private:
    uint8_t *data_ = nullptr;
    size_t size_ = 0;
    std::string path_;
};

}  // namespace llm
