#include "case_file.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "case_texts.h"
#include "model_shapes.h"

namespace bench {
namespace {

// What ends the problems of a list.
constexpr const char *bounds_heading = "[bounds]";

std::vector<std::string> split(const std::string &text, char by) {
    std::vector<std::string> out;
    size_t from = 0;
    for (size_t at = text.find(by); at != std::string::npos; from = at + 1, at = text.find(by, from))
        out.push_back(text.substr(from, at - from));
    out.push_back(text.substr(from));
    return out;
}

std::vector<std::string> words_of(const std::string &text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string word; in >> word;) out.push_back(word);
    return out;
}

// Without a comment, and without space at either end.
std::string code_of(const std::string &line) {
    std::string code = line.substr(0, line.find('#'));
    const size_t first = code.find_first_not_of(" \t\r"), last = code.find_last_not_of(" \t\r");
    return first == std::string::npos ? std::string() : code.substr(first, last - first + 1);
}

bool contains(const std::vector<std::string> &in, const std::string &what) {
    return std::find(in.begin(), in.end(), what) != in.end();
}

tier tier_named(const std::string &name) {
    if (name == "smoke") return tier::smoke;
    if (name == "full") return tier::full;
    throw case_error("tier " + name + ": expected smoke or full");
}

// The sets that every list has: all types of weights, those in blocks, and blocks of 32 and of 256 elements.
std::map<std::string, std::string> sets_of_formats() {
    std::map<std::string, std::string> out;
    const auto add = [&](const std::string &set, const std::string &name) {
        std::string &values = out[set];
        values += (values.empty() ? "" : "|") + name;
    };
    for (const reflex_dtype dtype : weight_dtypes()) {
        const std::string name = name_in_lists(dtype);
        const uint32_t elements = reflex_dtype_block_elements(dtype);
        add("weights", name);
        if (elements > 1) add("blocks", name);
        if (elements == 32) add("small", name);
        if (elements == 256) add("large", name);
    }
    return out;
}

// `$a-$b` is what stands in the set a and not in b; anything else stays as it is.
std::string difference(const std::string &values, const std::map<std::string, std::string> &sets) {
    const size_t minus = values.find("-$");
    if (values.empty() || values.front() != '$' || minus == std::string::npos) return values;
    const auto set = [&](const std::string &name) {
        const auto found = sets.find(name);
        if (found == sets.end()) throw case_error("there is no set $" + name);
        return split(found->second, '|');
    };
    const std::vector<std::string> without = set(values.substr(minus + 2));
    std::string out;
    for (const std::string &value : set(values.substr(1, minus - 1))) {
        if (!contains(without, value)) out += (out.empty() ? "" : "|") + value;
    }
    return out;
}

// Whether a name has a pattern's parts, with anything where it has a '*'.
bool has_pattern(const std::string &name, const std::string &pattern) {
    const size_t star = pattern.find('*');
    if (star == std::string::npos) return name == pattern;
    if (name.compare(0, star, pattern, 0, star) != 0) return false;
    const std::string rest = pattern.substr(star + 1);
    for (size_t at = star; at <= name.size(); ++at) {
        if (has_pattern(name.substr(at), rest)) return true;
    }
    return false;
}

}  // namespace

descriptor::descriptor(const std::string &op, tier in, const std::vector<known_key> &keys,
                       const std::map<std::string, std::string> &given)
    : op_(op), text_(op), tier_(in) {
    for (const auto &[name, value] : given) {
        const auto known = [&n = name](const known_key &k) { return k.name == n; };
        if (std::none_of(keys.begin(), keys.end(), known)) throw case_error(op + " has no key " + name);
    }
    for (const known_key &k : keys) {
        const auto found = given.find(k.name);
        if (found == given.end() && !k.has_default) throw case_error(k.name + " is not given");
        const std::string &value = found == given.end() ? k.value : found->second;
        if (!k.has_default || value != k.value) {
            text_ += " " + k.name + "=" + value;
            changed_.push_back(k.name);
        }
        values_[k.name] = value;
    }
    // Of a name with one word alone nobody would see that it is a problem's.
    if (text_ == op && !keys.empty()) text_ += " " + keys.front().name + "=" + values_[keys.front().name];
}

void descriptor::fail(const std::string &key, const std::string &expected) const {
    throw case_error(text_ + ": " + key + "=" + get(key) + ": expected " + expected);
}

const std::string &descriptor::get(const std::string &key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) throw case_error("cases/" + op_ + ".txt has no key " + key);
    return found->second;
}

int64_t descriptor::parsed(const std::string &key, const std::string &text) const {
    char *end = nullptr;
    errno = 0;
    const long long value = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || errno != 0) fail(key, "whole numbers");
    return value;
}

int64_t descriptor::whole(const std::string &key) const { return parsed(key, get(key)); }

float descriptor::number(const std::string &key) const {
    char *end = nullptr;
    const float value = std::strtof(get(key).c_str(), &end);
    if (get(key).empty() || *end != '\0') fail(key, "a number");
    return value;
}

bool descriptor::flag(const std::string &key) const {
    if (!is(key, "0") && !is(key, "1")) fail(key, "0 or 1");
    return is(key, "1");
}

reflex_dtype descriptor::dtype(const std::string &key) const {
    const reflex_dtype found = dtype_in_lists(get(key));
    if (found == REFLEX_DTYPE_NONE) fail(key, "the name of a type");
    return found;
}

std::vector<int64_t> descriptor::list(const std::string &key) const {
    std::vector<int64_t> out;
    if (is(key, "none")) return out;
    for (const std::string &item : split(get(key), '/')) {
        if (const size_t dots = item.find(".."); dots != std::string::npos) {
            const int64_t end = parsed(key, item.substr(dots + 2));
            for (int64_t i = parsed(key, item.substr(0, dots)); i < end; ++i) out.push_back(i);
            continue;
        }
        const size_t times = item.find('x');
        const int64_t count = times == std::string::npos ? 1 : parsed(key, item.substr(times + 1));
        out.insert(out.end(), static_cast<size_t>(count), parsed(key, item.substr(0, times)));
    }
    return out;
}

int64_t descriptor::elements(const std::string &key, reflex_dtype format) const {
    const int64_t block = std::max<int64_t>(reflex_dtype_block_elements(format), 32);
    int64_t sum = 0;
    for (const std::string &term : split(get(key), '+')) {
        const bool blocks = !term.empty() && term.back() == 'b';
        sum += blocks ? parsed(key, term.substr(0, term.size() - 1)) * block : parsed(key, term);
    }
    return sum;
}

problem_list::problem_list(std::string op, const std::string &text) : op_(std::move(op)), sets_(sets_of_formats()) {
    size_t number = 0;
    for (const std::string &each : split(text, '\n')) {
        ++number;
        const std::string code = code_of(each);
        if (code.empty()) continue;
        // What follows is not for problems: see bound_of.
        if (code == bounds_heading) break;
        try {
            line(code);
        } catch (const case_error &error) {
            throw case_error("cases/" + op_ + ".txt, line " + std::to_string(number) + ": " + error.what());
        }
    }
}

void problem_list::line(const std::string &code) {
    if (code.front() == '[') return heading(code);
    if (!in_section_) throw case_error("a problem before [smoke] or [full]");
    for (descriptor &problem : expand(section_, shared_, code)) add(std::move(problem));
}

void problem_list::heading(const std::string &code) {
    if (code.back() != ']') throw case_error("a heading without ]");
    std::vector<std::string> words = words_of(code.substr(1, code.size() - 2));
    const std::string kind = words.empty() ? std::string() : words.front();
    if (!words.empty()) words.erase(words.begin());
    if (kind == "defaults" || kind == "set") {
        for (const std::string &text : words) {
            const size_t equals = text.find('=');
            const bool given = equals != std::string::npos;
            if (kind == "set" && !given) throw case_error("a set without =");
            const std::string name = text.substr(0, equals), value = given ? text.substr(equals + 1) : std::string();
            if (kind == "set") {
                sets_[name] = difference(value, sets_);
            } else {
                keys_.push_back({name, value, given});
            }
        }
        return;
    }
    section_ = tier_named(kind);
    in_section_ = true;
    shared_.clear();
    for (const std::string &text : words) shared_.push_back(read_word(text));
}

problem_list::word problem_list::read_word(const std::string &text) const {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) throw case_error("`" + text + "` is no key=value");
    word out{split(text.substr(0, equals), ','), {}};
    for (const std::string &part : split(text.substr(equals + 1), '|')) {
        std::string values = part;
        if (!part.empty() && part.front() == '$') {
            const auto set = sets_.find(part.substr(1));
            if (set == sets_.end()) throw case_error("there is no set " + part);
            values = set->second;
        }
        for (const std::string &value : split(values, '|')) {
            std::vector<std::string> together = split(value, ',');
            if (together.size() != out.first.size() || contains(together, "")) {
                std::string keys;
                for (const std::string &key : out.first) keys += (keys.empty() ? "" : " and ") + key;
                throw case_error("`" + text + "`: " + value + " is no value for " + keys);
            }
            out.second.push_back(std::move(together));
        }
    }
    return out;
}

std::vector<descriptor> problem_list::expand(tier in, const std::vector<word> &shared, const std::string &line) const {
    std::vector<word> own;
    std::vector<std::string> given;
    for (const std::string &text : words_of(line)) {
        own.push_back(read_word(text));
        given.insert(given.end(), own.back().first.begin(), own.back().first.end());
    }
    std::vector<word> words;
    for (const word &w : shared) {
        const auto is_given = [&](const std::string &key) { return contains(given, key); };
        if (!std::all_of(w.first.begin(), w.first.end(), is_given)) words.push_back(w);
    }
    words.insert(words.end(), own.begin(), own.end());

    std::vector<std::map<std::string, std::string>> all(1);
    for (const auto &[keys, values] : words) {
        for (const std::string &key : keys) {
            if (all.front().count(key) != 0) throw case_error(key + " is given twice");
        }
        std::vector<std::map<std::string, std::string>> longer;
        for (const auto &before : all) {
            for (const std::vector<std::string> &together : values) {
                longer.push_back(before);
                for (size_t i = 0; i < keys.size(); ++i) longer.back()[keys[i]] = together[i];
            }
        }
        all = std::move(longer);
    }
    std::vector<descriptor> out;
    for (const auto &values : all) out.emplace_back(op_, in, keys_, values);
    return out;
}

// What stands in both tiers is of smoke, and once there.
void problem_list::add(descriptor problem) {
    for (descriptor &known : all_) {
        if (known.text() != problem.text()) continue;
        if (known.in() == problem.in()) throw case_error("`" + problem.text() + "` is there already");
        if (problem.in() == tier::smoke) known = std::move(problem);
        return;
    }
    all_.push_back(std::move(problem));
}

std::vector<descriptor> problem_list::read(const std::string &words) const { return expand(tier::smoke, {}, words); }

std::string name_in_lists(reflex_dtype dtype) {
    std::string name = reflex_dtype_name(dtype);
    for (char &c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return name;
}

reflex_dtype dtype_in_lists(const std::string &name) {
    std::vector<reflex_dtype> known = weight_dtypes();
    known.insert(known.end(), {REFLEX_DTYPE_I32, REFLEX_DTYPE_ACT_I8});
    for (const reflex_dtype dtype : known) {
        if (name_in_lists(dtype) == name) return dtype;
    }
    return REFLEX_DTYPE_NONE;
}

std::vector<std::string> case_ops() {
    std::vector<std::string> out;
    for (const case_text &each : case_texts) out.push_back(each.name);
    return out;
}

const problem_list &cases_of(const std::string &op) {
    static const std::map<std::string, problem_list> lists = [] {
        std::map<std::string, problem_list> out;
        for (const case_text &each : case_texts) out.emplace(each.name, problem_list(each.name, each.text));
        return out;
    }();
    const auto found = lists.find(op);
    if (found != lists.end()) return found->second;
    std::string known;
    for (const std::string &name : case_ops()) known += (known.empty() ? "" : ", ") + name;
    throw case_error("case `" + op + "`: expected one of " + known + " first");
}

std::vector<descriptor> read_case(const std::string &text) {
    const std::string code = code_of(text);
    const size_t space = code.find(' ');
    return cases_of(code.substr(0, space)).read(space == std::string::npos ? std::string() : code.substr(space));
}

bound bound_of(const std::string &kernel) {
    const std::string name = kernel.substr(0, kernel.find('@'));
    if (name == "none" || name == "cpu") return {0, 0, true};
    for (const case_text &each : case_texts) {
        const std::string text = each.text;
        const size_t heading = text.find(std::string("\n") + bounds_heading + "\n");
        if (heading == std::string::npos) continue;
        for (const std::string &line : split(text.substr(heading + 1 + std::strlen(bounds_heading)), '\n')) {
            const std::vector<std::string> words = words_of(code_of(line));
            if (words.empty() || !has_pattern(kernel, words.front())) continue;
            if (words.size() == 2 && words[1] == "exact") return {0, 0, true};
            if (words.size() != 3) break;
            return {std::strtod(words[1].c_str(), nullptr), std::strtod(words[2].c_str(), nullptr), false};
        }
    }
    throw case_error("no list of cases/ has a bound for " + kernel);
}

}  // namespace bench
