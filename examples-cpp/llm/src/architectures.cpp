#include "architectures.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace llm {

const architecture_traits &traits_of(architecture id) {
    const auto *found = std::find_if(std::begin(architectures), std::end(architectures),
                                     [id](const architecture_traits &row) { return row.id == id; });
    if (found == std::end(architectures)) throw std::logic_error("an architecture without a row of traits");
    return *found;
}

const architecture_traits *find_architecture(std::string_view name) {
    const auto *found = std::find_if(std::begin(architectures), std::end(architectures),
                                     [name](const architecture_traits &row) { return row.name == name; });
    return found != std::end(architectures) ? found : nullptr;
}

std::string architecture_names(const std::string &conjunction) {
    constexpr size_t count = std::size(architectures);
    std::string out;
    for (size_t i = 0; i < count; ++i) {
        if (i > 0) out += i + 1 < count ? ", " : " " + conjunction + " ";
        out += architectures[i].name;
    }
    return out;
}

}  // namespace llm
