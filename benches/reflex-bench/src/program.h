// Where this program lies: its companions are beside it.
#pragma once

#include <string>

#include <unistd.h>

namespace bench {

inline std::string program_folder() {
    char path[4096];
    const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
    const std::string whole(path, length > 0 ? static_cast<size_t>(length) : 0);
    const size_t slash = whole.rfind('/');
    return slash == std::string::npos ? "." : whole.substr(0, slash);
}

}  // namespace bench
