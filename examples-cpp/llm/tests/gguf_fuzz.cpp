// Mutates the header and metadata of a GGUF file for a bounded time and runs everything that reads them: reader, hyperparameters, tensor
// table, rotation, tokenizer. Only gguf_error may come out. Usage: gguf-fuzz [--seconds N] [--seed S] FILE
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>

#include "check.h"
#include "gguf_builder.h"
#include "mapped_file.h"
#include "model_file.h"
#include "tokenizer.h"

namespace {

using generator = std::mt19937_64;

uint64_t below(generator &rng, uint64_t bound) { return rng() % bound; }

struct outcome {
    uint64_t accepted = 0, refused = 0;
};

// Reads every byte that a caller could reach through the parsed tensors' ends.
uint64_t touch(const llm::gguf &file) {
    uint64_t sum = 0;
    for (const llm::gguf_tensor &tensor : file.tensors())
        sum += tensor.data[0] + tensor.data[tensor.bytes - 1] + tensor.describe().size();
    for (const llm::gguf_value &value : file.values()) {
        if (value.type == llm::gguf_type::string) sum += value.as_string().size();
    }
    return sum;
}

void load(const uint8_t *data, size_t size, bool deep, outcome &result) {
    try {
        const llm::gguf file(data, size);
        volatile uint64_t sink = touch(file);
        (void)sink;
        const llm::model_config config = llm::read_config(file);
        llm::find_rotation(config, llm::find_tensors(file, config), 64);
        if (deep) {
            const llm::tokenizer tokens(file);
            const std::string text = "It's 2024,\r\n  caf\xC3\xA9 \xFF <|im_end|>";
            tokens.decode(tokens.encode(text, true, true), true);
        }
        ++result.accepted;
    } catch (const llm::gguf_error &) {
        ++result.refused;
    }
}

// The offsets worth hitting more often than chance would: where a key, a name or a payload starts.
std::vector<size_t> interesting(const uint8_t *data, const llm::gguf &file) {
    std::vector<size_t> out = {0, 4, 8, 16};
    const auto offset = [data](const void *at) { return static_cast<size_t>(static_cast<const uint8_t *>(at) - data); };
    for (const llm::gguf_value &value : file.values()) {
        out.push_back(offset(value.key.data()) - 8);
        out.push_back(offset(value.key.data()) + value.key.size());
        out.push_back(offset(value.payload));
        if (value.type == llm::gguf_type::array)
            out.push_back(offset(value.payload) - 12), out.push_back(offset(value.payload) - 8);
    }
    for (const llm::gguf_tensor &tensor : file.tensors()) {
        const size_t name = offset(tensor.name.data());
        const size_t after = name + tensor.name.size();
        out.insert(out.end(), {name - 8, name, after, after + 4, after + 12, after + 4 + 8 * tensor.rank,
                               after + 8 + 8 * tensor.rank});
    }
    return out;
}

void mutate(generator &rng, std::vector<uint8_t> &header, const std::vector<size_t> &places) {
    constexpr uint64_t values[] = {0,
                                   1,
                                   2,
                                   3,
                                   4,
                                   7,
                                   8,
                                   9,
                                   12,
                                   255,
                                   256,
                                   0x7FFFFFFF,
                                   0x80000000,
                                   0xFFFFFFFF,
                                   0x100000000,
                                   1ull << 61,
                                   1ull << 62,
                                   0x7FFFFFFFFFFFFFFF,
                                   0x8000000000000000,
                                   0xFFFFFFFFFFFFFFFF};
    for (uint64_t count = 1 + below(rng, 4); count > 0; --count) {
        const size_t at = below(rng, 2) == 0 ? below(rng, header.size()) : places[below(rng, places.size())];
        const size_t room = header.size() - at;
        switch (below(rng, 4)) {
            case 0:
                header[at] ^= static_cast<uint8_t>(1u << below(rng, 8));
                break;
            case 1:
                header[at] = static_cast<uint8_t>(rng());
                break;
            case 2:
                std::memcpy(&header[at], &values[below(rng, std::size(values))],
                            std::min<size_t>(room, below(rng, 2) == 0 ? 4 : 8));
                break;
            default: {
                const size_t from = below(rng, header.size());
                std::memmove(&header[at], &header[from],
                             std::min({room, header.size() - from, static_cast<size_t>(1 + below(rng, 64))}));
            }
        }
    }
}

}  // namespace

int main(int argc, char **argv) {
    double seconds = 5;
    uint64_t seed = 1;
    const char *path = nullptr;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--seconds" && i + 1 < argc) {
            seconds = std::atof(argv[++i]);
        } else if (argument == "--seed" && i + 1 < argc) {
            seed = std::strtoull(argv[++i], nullptr, 10);
        } else {
            path = argv[i];
        }
    }
    if (path == nullptr || !(seconds > 0)) {
        std::fprintf(stderr, "usage: gguf-fuzz [--seconds N] [--seed S] FILE\n");
        return 2;
    }
    const llm::mapped_file file(path);
    const llm::gguf original(file.data(), file.size());
    const std::vector<size_t> places = interesting(file.data(), original);
    const std::vector<uint8_t> pristine(file.data(), file.data() + original.data_offset());
    // A heap copy of exactly the file's size: a sanitizer sees every read past its end.
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[file.size()]);
    std::memcpy(copy.get(), file.data(), file.size());

    outcome result;
    load(copy.get(), file.size(), true, result);
    CHECK(result.accepted == 1);

    generator rng(seed);
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::vector<uint8_t> header;
    while (std::chrono::steady_clock::now() < end) {
        header = pristine;
        mutate(rng, header, places);
        if (below(rng, 8) == 0) {
            // Cut as well, into an allocation of the cut size.
            const size_t size = below(rng, header.size() + 1);
            const std::unique_ptr<uint8_t[]> cut(new uint8_t[size]);
            if (size != 0) std::memcpy(cut.get(), header.data(), size);
            load(cut.get(), size, false, result);
        } else {
            std::memcpy(copy.get(), header.data(), header.size());
            // Building the tokenizer dominates the time, so only some survivors get that far.
            load(copy.get(), file.size(), below(rng, 8) == 0, result);
        }
    }
    std::fprintf(stderr, "seed %llu: %llu files refused, %llu accepted\n", static_cast<unsigned long long>(seed),
                 static_cast<unsigned long long>(result.refused), static_cast<unsigned long long>(result.accepted));
    CHECK(result.refused > 100);
    return test::summary();
}
