#include "json.h"

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace bench {
namespace {

constexpr size_t deepest = 64;
constexpr size_t open_levels = 2;

void write_string(std::string &out, const std::string &value) {
    out += '"';
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += {'\\', c};
        } else if (byte < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", byte);
            out += escape;
        } else {
            out += c;
        }
    }
    out += '"';
}

void write_number(std::string &out, double value) {
    // JSON has no infinities; what could not be measured is null.
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    char digits[32];
    if (value == std::floor(value) && std::fabs(value) < 1e15) {
        std::snprintf(digits, sizeof digits, "%.0f", value);
    } else {
        std::snprintf(digits, sizeof digits, "%.7g", value);
    }
    out += digits;
}

class parser {
public:
    explicit parser(const std::string &text) : text_(text) {}

    json document() {
        json out = value(0);
        skip_space();
        if (at_ != text_.size()) fail("text after the end");
        return out;
    }

private:
    [[noreturn]] void fail(const std::string &what) const {
        const auto end = text_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, text_.size()));
        throw json_error("line " + std::to_string(1 + std::count(text_.begin(), end, '\n')) + ": " + what);
    }
    void skip_space() {
        while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) != nullptr && text_[at_] != '\0') ++at_;
    }
    bool take(char c) {
        skip_space();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    bool take_word(const char *word) {
        const size_t length = std::strlen(word);
        if (text_.compare(at_, length, word) != 0) return false;
        at_ += length;
        return true;
    }

    json value(size_t depth) {
        if (depth > deepest) fail("nested too deeply");
        if (take('{')) return object(depth);
        if (take('[')) return array(depth);
        if (take('"')) return json(string());
        if (take_word("true")) return json(true);
        if (take_word("false")) return json(false);
        if (take_word("null")) return json();
        return number();
    }
    json object(size_t depth) {
        json out = json::object();
        if (take('}')) return out;
        do {
            if (!take('"')) fail("expected a member's name");
            std::string name = string();
            if (!take(':')) fail("expected a colon");
            out.set(std::move(name), value(depth + 1));
        } while (take(','));
        if (!take('}')) fail("expected a comma or the end of the object");
        return out;
    }
    json array(size_t depth) {
        json out = json::array();
        if (take(']')) return out;
        do out.push(value(depth + 1));
        while (take(','));
        if (!take(']')) fail("expected a comma or the end of the array");
        return out;
    }
    json number() {
        skip_space();
        const char *start = text_.c_str() + at_;
        char *end = nullptr;
        const double out = std::strtod(start, &end);
        if (end == start || (*start != '-' && (*start < '0' || *start > '9'))) fail("expected a value");
        at_ += static_cast<size_t>(end - start);
        return json(out);
    }
    unsigned hex4() {
        unsigned out = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char c = at_ < text_.size() ? text_[at_] : ' ';
            const char *digits = "0123456789abcdef";
            const char *found = std::strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
            if (found == nullptr || c == '\0') fail("expected four hexadecimal digits");
            out = out * 16 + static_cast<unsigned>(found - digits);
        }
        return out;
    }
    static void append_utf8(std::string &out, unsigned code) {
        if (code < 0x80) {
            out += static_cast<char>(code);
        } else if (code < 0x800) {
            out += {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
        } else if (code < 0x10000) {
            out += {static_cast<char>(0xE0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3F)),
                    static_cast<char>(0x80 | (code & 0x3F))};
        } else {
            out += {static_cast<char>(0xF0 | (code >> 18)), static_cast<char>(0x80 | ((code >> 12) & 0x3F)),
                    static_cast<char>(0x80 | ((code >> 6) & 0x3F)), static_cast<char>(0x80 | (code & 0x3F))};
        }
    }
    std::string string() {
        std::string out;
        for (;;) {
            if (at_ >= text_.size()) fail("a string does not end");
            const char c = text_[at_++];
            if (c == '"') return out;
            if (c != '\\') {
                out += c;
                continue;
            }
            const char escape = at_ < text_.size() ? text_[at_++] : '\0';
            switch (escape) {
                case 'b':
                    out += '\b';
                    break;
                case 'f':
                    out += '\f';
                    break;
                case 'n':
                    out += '\n';
                    break;
                case 'r':
                    out += '\r';
                    break;
                case 't':
                    out += '\t';
                    break;
                case 'u': {
                    unsigned code = hex4();
                    if (code >= 0xD800 && code < 0xDC00 && take_word("\\u"))
                        code = 0x10000 + ((code - 0xD800) << 10) + (hex4() - 0xDC00);
                    append_utf8(out, code);
                    break;
                }
                case '"':
                case '\\':
                case '/':
                    out += escape;
                    break;
                default:
                    fail("unknown escape");
            }
        }
    }

    const std::string &text_;
    size_t at_ = 0;
};

}  // namespace

json json::parse(const std::string &text) { return parser(text).document(); }

const json &json::operator[](const std::string &name) const {
    static const json absent;
    for (const member &m : members_) {
        if (m.first == name) return m.second;
    }
    return absent;
}

json &json::set(std::string name, json value) {
    if (kind_ == kind::null) kind_ = kind::object;
    members_.emplace_back(std::move(name), std::move(value));
    return *this;
}

json &json::push(json value) {
    if (kind_ == kind::null) kind_ = kind::array;
    items_.push_back(std::move(value));
    return *this;
}

void json::write(std::string &out, size_t depth) const {
    const bool open = depth < open_levels;
    const auto separate = [&](bool first, size_t level) {
        if (!first) out += ',';
        if (open) {
            out += '\n';
            out.append(2 * level, ' ');
        } else if (!first) {
            out += ' ';
        }
    };
    switch (kind_) {
        case kind::null:
            out += "null";
            break;
        case kind::boolean:
            out += number_ != 0 ? "true" : "false";
            break;
        case kind::number:
            write_number(out, number_);
            break;
        case kind::string:
            write_string(out, text_);
            break;
        case kind::array:
            out += '[';
            for (size_t i = 0; i < items_.size(); ++i) {
                separate(i == 0, depth + 1);
                items_[i].write(out, depth + 1);
            }
            if (open && !items_.empty()) separate(true, depth);
            out += ']';
            break;
        case kind::object:
            out += '{';
            for (size_t i = 0; i < members_.size(); ++i) {
                separate(i == 0, depth + 1);
                write_string(out, members_[i].first);
                out += ": ";
                members_[i].second.write(out, depth + 1);
            }
            if (open && !members_.empty()) separate(true, depth);
            out += '}';
            break;
    }
}

std::string json::dump() const {
    std::string out;
    write(out, 0);
    return out + "\n";
}

json read_json_file(const std::string &path) {
    std::FILE *file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) throw std::system_error(errno, std::generic_category(), "cannot read " + path);
    std::string text;
    char buffer[1 << 16];
    for (size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
    const bool failed = std::ferror(file) != 0;
    std::fclose(file);
    if (failed) throw std::runtime_error("cannot read " + path);
    try {
        return json::parse(text);
    } catch (const json_error &error) {
        throw json_error(path + ": " + error.what());
    }
}

void write_text_file(const std::string &path, const std::string &text) {
    std::FILE *file = std::fopen(path.c_str(), "w");
    if (file == nullptr) throw std::system_error(errno, std::generic_category(), "cannot write " + path);
    const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    const bool closed = std::fclose(file) == 0;
    if (!written || !closed) throw std::system_error(errno, std::generic_category(), "cannot write " + path);
}

}  // namespace bench
