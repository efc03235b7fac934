#include "gguf.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace llm {
namespace {

constexpr uint32_t max_array_depth = 16;   // the specification sets no limit; recursion needs one
constexpr uint64_t max_name_bytes = 64;    // tensor names, by the specification
constexpr uint64_t max_key_bytes = 65535;  // keys, by the specification
constexpr uint64_t default_alignment = 32, most_alignment = 1ull << 31;

[[noreturn]] void fail(const std::string &message) { throw gguf_error("GGUF: " + message); }

std::string quoted(std::string_view text) { return '"' + printable(text) + '"'; }

template <typename T>
T load(const uint8_t *at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

bool multiply(uint64_t a, uint64_t b, uint64_t &product) {
    if (b != 0 && a > std::numeric_limits<uint64_t>::max() / b) return false;
    product = a * b;
    return true;
}

// Bytes of a value of fixed size; 0 for strings and arrays.
uint64_t scalar_bytes(gguf_type type) {
    switch (type) {
        case gguf_type::u8:
        case gguf_type::i8:
        case gguf_type::boolean:
            return 1;
        case gguf_type::u16:
        case gguf_type::i16:
            return 2;
        case gguf_type::u32:
        case gguf_type::i32:
        case gguf_type::f32:
            return 4;
        case gguf_type::u64:
        case gguf_type::i64:
        case gguf_type::f64:
            return 8;
        case gguf_type::string:
        case gguf_type::array:
            return 0;
    }
    return 0;
}

class cursor {
public:
    cursor(const uint8_t *data, uint64_t size) : data_(data), size_(size) {}

    uint64_t at() const { return at_; }
    uint64_t left() const { return size_ - at_; }
    const uint8_t *here() const { return data_ + at_; }

    const uint8_t *take(uint64_t bytes, const std::string &what) {
        if (bytes > left()) {
            fail(what + " at byte " + std::to_string(at_) + " needs " + std::to_string(bytes) +
                 " bytes, the file has " + std::to_string(left()) + " left");
        }
        const uint8_t *start = here();
        at_ += bytes;
        return start;
    }

    template <typename T>
    T read(const std::string &what) {
        return load<T>(take(sizeof(T), what));
    }

    std::string_view string(const std::string &what) {
        const auto length = read<uint64_t>("length of " + what);
        return {reinterpret_cast<const char *>(take(length, what)), static_cast<size_t>(length)};
    }

private:
    const uint8_t *data_;
    uint64_t size_;
    uint64_t at_ = 0;
};

gguf_type read_type(cursor &in, const std::string &what) {
    const auto id = in.read<uint32_t>("type of " + what);
    if (id > static_cast<uint32_t>(gguf_type::f64)) fail(what + " has unknown value type " + std::to_string(id));
    return static_cast<gguf_type>(id);
}

void check_bool(uint8_t byte, const std::string &what) {
    if (byte > 1) fail(what + " is a bool of value " + std::to_string(byte) + ", must be 0 or 1");
}

// Walks over `count` elements, checking all of them.
void skip_elements(cursor &in, gguf_type element, uint64_t count, const std::string &what, uint32_t depth) {
    // The least that an element takes: a string its length, an array its type and count.
    const uint64_t least = element == gguf_type::string ? 8 : element == gguf_type::array ? 12 : scalar_bytes(element);
    if (count > in.left() / least) {
        fail(what + " claims " + std::to_string(count) + " elements of type " + gguf_type_name(element) +
             ", the file has " + std::to_string(in.left()) + " bytes left");
    }
    if (element == gguf_type::string) {
        for (uint64_t i = 0; i < count; ++i) in.string(what);
    } else if (element == gguf_type::array) {
        if (depth >= max_array_depth)
            fail(what + " nests arrays more than " + std::to_string(max_array_depth) + " deep");
        for (uint64_t i = 0; i < count; ++i) {
            const gguf_type inner = read_type(in, what);
            const auto inner_count = in.read<uint64_t>("count of " + what);
            skip_elements(in, inner, inner_count, what, depth + 1);
        }
    } else {
        const uint8_t *values = in.take(count * least, what);
        if (element == gguf_type::boolean) {
            for (uint64_t i = 0; i < count; ++i) check_bool(values[i], what);
        }
    }
}

gguf_value read_value(cursor &in) {
    gguf_value value{};
    value.key = in.string("key");
    const std::string what = "key " + quoted(value.key);
    if (value.key.empty() || value.key.size() > max_key_bytes)
        fail(what + " has length " + std::to_string(value.key.size()) + ", must be 1 to " +
             std::to_string(max_key_bytes));
    value.type = read_type(in, what);
    if (value.type == gguf_type::array) {
        value.element = read_type(in, what);
        value.count = in.read<uint64_t>("count of " + what);
        value.payload = in.here();
        skip_elements(in, value.element, value.count, what, 1);
    } else if (value.type == gguf_type::string) {
        value.payload = in.here();
        in.string(what);
    } else {
        value.payload = in.take(scalar_bytes(value.type), what);
        if (value.type == gguf_type::boolean) check_bool(*value.payload, what);
    }
    return value;
}

struct tensor_entry {
    gguf_tensor tensor;
    uint64_t offset;  // within the data section
};

tensor_entry read_tensor(cursor &in) {
    tensor_entry entry{};
    gguf_tensor &tensor = entry.tensor;
    tensor.name = in.string("tensor name");
    const std::string what = "tensor " + quoted(tensor.name);
    if (tensor.name.empty() || tensor.name.size() > max_name_bytes)
        fail(what + " has a name of " + std::to_string(tensor.name.size()) + " bytes, must be 1 to " +
             std::to_string(max_name_bytes));
    tensor.rank = in.read<uint32_t>("rank of " + what);
    if (tensor.rank < 1 || tensor.rank > 4)
        fail(what + " has rank " + std::to_string(tensor.rank) + ", must be 1 to 4");
    uint64_t elements = 1;
    std::fill(std::begin(tensor.shape), std::end(tensor.shape), 1);
    for (uint32_t i = 0; i < tensor.rank; ++i) {
        tensor.shape[i] = in.read<uint64_t>("dimension of " + what);
        if (tensor.shape[i] == 0) fail(what + " has dimension " + std::to_string(i) + " equal to zero");
        if (!multiply(elements, tensor.shape[i], elements) ||
            elements > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
            fail(what + " has more elements than a signed 64-bit number holds");
        }
    }
    const auto id = in.read<uint32_t>("type of " + what);
    tensor.type = find_ggml_type(id);
    if (tensor.type == nullptr) fail(what + " " + unknown_ggml_type(id));
    if (tensor.shape[0] % tensor.type->block_elements != 0) {
        fail(what + " has rows of " + std::to_string(tensor.shape[0]) + " elements, type " + tensor.type->name +
             " needs a multiple of " + std::to_string(tensor.type->block_elements));
    }
    if (!multiply(elements / tensor.type->block_elements, tensor.type->block_bytes, tensor.bytes))
        fail(what + " has a size that overflows");
    entry.offset = in.read<uint64_t>("offset of " + what);
    return entry;
}

uint64_t read_alignment(const gguf_value *value) {
    if (value == nullptr) return default_alignment;
    const uint64_t alignment = value->as_unsigned();
    if (alignment < 8 || alignment > most_alignment || (alignment & (alignment - 1)) != 0)
        fail("general.alignment is " + std::to_string(alignment) + ", must be a power of two from 8 to 2^31");
    return alignment;
}

void check_header(cursor &in) {
    const uint8_t *magic = in.take(4, "magic");
    if (std::memcmp(magic, "GGUF", 4) != 0) fail("the file does not start with \"GGUF\"");
    const auto version = in.read<uint32_t>("version");
    if (version == 0x03000000u || version == 0x02000000u)
        fail("the file is big-endian, only little-endian files are read");
    if (version == 1 || version == 2)
        fail("version " + std::to_string(version) + " is not read; convert the file to version 3");
    if (version != 3) fail("version " + std::to_string(version) + " is not read, only version 3");
}

// Places every tensor in the data section and refuses any two that share a byte, unless they share all: so tied weights are written.
void place_tensors(std::vector<tensor_entry> &entries, const uint8_t *section, uint64_t section_bytes,
                   uint64_t alignment) {
    for (tensor_entry &entry : entries) {
        const std::string what = "tensor " + quoted(entry.tensor.name);
        if (entry.offset % alignment != 0)
            fail(what + " has offset " + std::to_string(entry.offset) + ", must be a multiple of " +
                 std::to_string(alignment));
        if (entry.offset > section_bytes || entry.tensor.bytes > section_bytes - entry.offset) {
            fail(what + " needs " + std::to_string(entry.tensor.bytes) + " bytes at offset " +
                 std::to_string(entry.offset) + ", the data section has " + std::to_string(section_bytes));
        }
        entry.tensor.data = section + entry.offset;
    }
    std::vector<const tensor_entry *> order(entries.size());
    std::transform(entries.begin(), entries.end(), order.begin(), [](const tensor_entry &entry) { return &entry; });
    std::sort(order.begin(), order.end(),
              [](const tensor_entry *a, const tensor_entry *b) { return a->offset < b->offset; });
    for (size_t i = 1; i < order.size(); ++i) {
        const bool same =
            order[i - 1]->offset == order[i]->offset && order[i - 1]->tensor.bytes == order[i]->tensor.bytes;
        if (!same && order[i - 1]->offset + order[i - 1]->tensor.bytes > order[i]->offset) {
            fail("tensors " + quoted(order[i - 1]->tensor.name) + " and " + quoted(order[i]->tensor.name) + " overlap");
        }
    }
}

[[noreturn]] void wrong_type(const gguf_value &value, const char *wanted) {
    std::string actual = gguf_type_name(value.type);
    if (value.type == gguf_type::array) actual += std::string(" of ") + gguf_type_name(value.element);
    fail("key " + quoted(value.key) + " has type " + actual + ", must be " + wanted);
}

bool is_integer(gguf_type type) {
    return scalar_bytes(type) != 0 && type != gguf_type::f32 && type != gguf_type::f64 && type != gguf_type::boolean;
}

int64_t whole(const gguf_value &value, double number) {
    constexpr double most = 9007199254740992.0;  // 2^53: every whole number up to it is exact
    if (!(std::fabs(number) <= most) || number != std::floor(number))
        fail("key " + quoted(value.key) + " has value " + std::to_string(number) + ", must be an integer");
    return static_cast<int64_t>(number);
}

int64_t integer_at(const gguf_value &value, gguf_type type, const uint8_t *at) {
    switch (type) {
        case gguf_type::u8:
            return load<uint8_t>(at);
        case gguf_type::i8:
            return load<int8_t>(at);
        case gguf_type::u16:
            return load<uint16_t>(at);
        case gguf_type::i16:
            return load<int16_t>(at);
        case gguf_type::u32:
            return load<uint32_t>(at);
        case gguf_type::i32:
            return load<int32_t>(at);
        case gguf_type::i64:
            return load<int64_t>(at);
        case gguf_type::u64: {
            const auto number = load<uint64_t>(at);
            if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
                fail("key " + quoted(value.key) + " has value " + std::to_string(number) + ", which is out of range");
            return static_cast<int64_t>(number);
        }
        case gguf_type::f32:
            return whole(value, static_cast<double>(load<float>(at)));
        case gguf_type::f64:
            return whole(value, load<double>(at));
        default:
            wrong_type(value, "an integer");
    }
}

double float_at(const gguf_value &value, gguf_type type, const uint8_t *at) {
    if (type == gguf_type::f32) return static_cast<double>(load<float>(at));
    if (type == gguf_type::f64) return load<double>(at);
    if (type == gguf_type::u64) return static_cast<double>(load<uint64_t>(at));
    if (is_integer(type)) return static_cast<double>(integer_at(value, type, at));
    wrong_type(value, "a number");
}

std::string number_text(double number) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", number);
    return text;
}

}  // namespace

std::string printable(std::string_view text) {
    constexpr size_t shown = 80;
    std::string out;
    for (const char c : text.substr(0, shown)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7F) {
            out += c;
        } else {
            constexpr char hex[] = "0123456789abcdef";
            out += {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
        }
    }
    return out + (text.size() > shown ? "..." : "");
}

const char *gguf_type_name(gguf_type type) {
    constexpr const char *names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                     "bool", "string", "array", "u64", "i64", "f64"};
    return names[static_cast<uint32_t>(type)];
}

gguf::gguf(const uint8_t *data, size_t size) {
    cursor in(data, size);
    check_header(in);
    const auto tensor_count = in.read<uint64_t>("tensor count");
    const auto value_count = in.read<uint64_t>("metadata count");
    // The smallest entries there can be: a one-letter key with a one-byte value, a one-letter rank-1 tensor.
    constexpr uint64_t least_value = 8 + 1 + 4 + 1, least_tensor = 8 + 1 + 4 + 8 + 4 + 8;
    if (value_count > in.left() / least_value)
        fail("metadata count " + std::to_string(value_count) + " is more than the file can hold");
    if (tensor_count > in.left() / least_tensor)
        fail("tensor count " + std::to_string(tensor_count) + " is more than the file can hold");

    for (uint64_t i = 0; i < value_count; ++i) {
        values_.push_back(read_value(in));
        if (!value_index_.emplace(values_.back().key, values_.size() - 1).second)
            fail("key " + quoted(values_.back().key) + " occurs twice");
    }
    const uint64_t alignment = read_alignment(find("general.alignment"));

    std::vector<tensor_entry> entries;
    for (uint64_t i = 0; i < tensor_count; ++i) {
        entries.push_back(read_tensor(in));
        if (!tensor_index_.emplace(entries.back().tensor.name, entries.size() - 1).second)
            fail("tensor " + quoted(entries.back().tensor.name) + " occurs twice");
    }
    // The position is at most `size`, and alignment at most 2^31: no overflow.
    data_offset_ = (in.at() + alignment - 1) / alignment * alignment;
    const uint64_t section_bytes = data_offset_ < size ? size - data_offset_ : 0;
    place_tensors(entries, data + std::min<uint64_t>(data_offset_, size), section_bytes, alignment);
    for (const tensor_entry &entry : entries) tensors_.push_back(entry.tensor);
}

const gguf_value *gguf::find(std::string_view key) const {
    const auto found = value_index_.find(key);
    return found == value_index_.end() ? nullptr : &values_[found->second];
}

const gguf_value &gguf::require(std::string_view key) const {
    const gguf_value *value = find(key);
    if (value == nullptr) fail("key " + quoted(key) + " is missing");
    return *value;
}

const gguf_tensor *gguf::find_tensor(std::string_view name) const {
    const auto found = tensor_index_.find(name);
    return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

void gguf::add_tensors(const gguf &part) {
    for (const gguf_tensor &tensor : part.tensors_) {
        if (!tensor_index_.emplace(tensor.name, tensors_.size()).second)
            fail("tensor " + quoted(tensor.name) + " occurs in two parts");
        tensors_.push_back(tensor);
    }
}

std::string gguf_tensor::describe() const {
    std::string out = printable(name);
    out += std::string(" ") + type->name + " [";
    for (uint32_t i = 0; i < rank; ++i) out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
    return out + "]";
}

int64_t gguf_value::as_integer() const { return integer_at(*this, type, payload); }

uint64_t gguf_value::as_unsigned() const {
    const int64_t value = as_integer();
    if (value < 0) fail("key " + quoted(key) + " has value " + std::to_string(value) + ", must not be negative");
    return static_cast<uint64_t>(value);
}

double gguf_value::as_float() const { return float_at(*this, type, payload); }

std::optional<bool> gguf_value::flag() const {
    if (type == gguf_type::array) return std::nullopt;
    const auto number = numbers();
    if (!number || std::isnan(number->front())) return std::nullopt;
    return number->front() != 0;
}

std::string_view gguf_value::as_string() const {
    if (type != gguf_type::string) wrong_type(*this, "string");
    return {reinterpret_cast<const char *>(payload + 8), static_cast<size_t>(load<uint64_t>(payload))};
}

std::vector<std::string_view> gguf_value::as_strings() const {
    if (type != gguf_type::array || element != gguf_type::string) wrong_type(*this, "array of string");
    std::vector<std::string_view> out;
    out.reserve(count);
    const uint8_t *at = payload;
    for (uint64_t i = 0; i < count; ++i) {
        const auto length = static_cast<size_t>(load<uint64_t>(at));
        out.emplace_back(reinterpret_cast<const char *>(at + 8), length);
        at += 8 + length;
    }
    return out;
}

std::vector<int64_t> gguf_value::as_integers() const {
    const uint64_t size = scalar_bytes(element);
    if (type != gguf_type::array || element == gguf_type::boolean || size == 0) wrong_type(*this, "array of integers");
    std::vector<int64_t> out;
    out.reserve(count);
    for (uint64_t i = 0; i < count; ++i) out.push_back(integer_at(*this, element, payload + i * size));
    return out;
}

std::vector<float> gguf_value::as_floats() const {
    const auto all = numbers();
    if (type != gguf_type::array || element == gguf_type::boolean || !all) wrong_type(*this, "array of numbers");
    std::vector<float> out(all->size());
    std::transform(all->begin(), all->end(), out.begin(), [](double number) { return static_cast<float>(number); });
    return out;
}

gguf_value gguf_value::uniform() const {
    if (type != gguf_type::array) return *this;
    const uint64_t size = scalar_bytes(element);
    if (size == 0) wrong_type(*this, "a number");
    if (count == 0) fail("key " + quoted(key) + " is an empty array, must be one value");
    for (uint64_t i = 1; i < count; ++i) {
        if (std::memcmp(payload, payload + i * size, size) != 0)
            fail("key " + quoted(key) + " is " + describe() +
                 ", values that differ from layer to layer are not supported");
    }
    gguf_value one = *this;
    one.type = element;
    one.count = 0;
    return one;
}

std::optional<std::vector<double>> gguf_value::numbers() const {
    const bool many = type == gguf_type::array;
    const gguf_type kind = many ? element : type;
    const uint64_t size = scalar_bytes(kind);
    if (size == 0) return std::nullopt;
    std::vector<double> out(many ? count : 1);
    for (size_t i = 0; i < out.size(); ++i) {
        const uint8_t *at = payload + i * size;
        out[i] = kind == gguf_type::boolean ? *at : float_at(*this, kind, at);
    }
    return out;
}

std::string gguf_value::describe() const {
    if (type == gguf_type::string) return quoted(as_string());
    const auto all = numbers();
    if (!all) return std::string("an array of ") + gguf_type_name(element);
    if (type != gguf_type::array) return number_text(all->front());
    constexpr size_t shown = 6;
    std::string out = "[";
    for (size_t i = 0; i < std::min(shown, all->size()); ++i) out += (i > 0 ? ", " : "") + number_text((*all)[i]);
    return out + (all->size() > shown ? ", ...]" : "]");
}

}  // namespace llm
