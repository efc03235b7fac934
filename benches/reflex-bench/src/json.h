// JSON values: enough to write result files and to read them back.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

class json_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class json {
public:
    enum class kind { null, boolean, number, string, array, object };
    using member = std::pair<std::string, json>;

    json() = default;
    json(bool value) : kind_(kind::boolean), number_(value ? 1 : 0) {}
    json(double value) : kind_(kind::number), number_(value) {}
    json(int value) : json(static_cast<double>(value)) {}
    json(unsigned value) : json(static_cast<double>(value)) {}
    json(long value) : json(static_cast<double>(value)) {}
    json(long long value) : json(static_cast<double>(value)) {}
    json(unsigned long value) : json(static_cast<double>(value)) {}
    json(const char *value) : kind_(kind::string), text_(value) {}
    json(std::string value) : kind_(kind::string), text_(std::move(value)) {}

    static json array() { return json(kind::array); }
    static json object() { return json(kind::object); }
    // Throws json_error, which names the line.
    static json parse(const std::string &text);

    kind type() const { return kind_; }
    bool is_null() const { return kind_ == kind::null; }
    double number(double otherwise = 0) const { return kind_ == kind::number ? number_ : otherwise; }
    bool boolean(bool otherwise = false) const { return kind_ == kind::boolean ? number_ != 0 : otherwise; }
    std::string text(const std::string &otherwise = {}) const { return kind_ == kind::string ? text_ : otherwise; }

    // The member's value; null where there is none.
    const json &operator[](const std::string &name) const;
    const std::vector<json> &items() const { return items_; }
    const std::vector<member> &members() const { return members_; }
    // Appends to an object or array.
    json &set(std::string name, json value);
    json &push(json value);

    // Two levels of objects and arrays get lines of their own, deeper ones share a line: a result is a line.
    std::string dump() const;

private:
    explicit json(kind k) : kind_(k) {}
    void write(std::string &out, size_t depth) const;

    kind kind_ = kind::null;
    double number_ = 0;
    std::string text_;
    std::vector<json> items_;
    std::vector<member> members_;
};

json read_json_file(const std::string &path);
void write_text_file(const std::string &path, const std::string &text);

}  // namespace bench
