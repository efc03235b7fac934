// Chat templates against Python's Jinja2 (tests/data/chat.tsv). Usage: chat_template_test DATA_DIR
#include "chat_template.h"

#include <cstdio>

#include "check.h"
#include "golden_lines.h"

namespace {

std::string text_of(const std::string &cell) { return cell == "-" ? std::string() : test::from_hex(cell); }

std::vector<llm::chat_message> messages_of(const std::string &cells) {
    std::istringstream in(cells);
    std::vector<llm::chat_message> messages;
    for (std::string role, content; in >> role >> content;) messages.push_back({text_of(role), text_of(content)});
    return messages;
}

void equals_jinja(const std::string &directory) {
    const auto rows = test::read_tsv(directory + "/chat.tsv");
    CHECK(rows.size() > 100);
    for (const auto &row : rows) {
        const llm::chat_template made(text_of(row[1]), "<s>", "</s>");
        std::string result = "text", text;
        try {
            text = made.render(messages_of(row[2]), row[3] == "1");
        } catch (const llm::chat_template_error &error) {
            result = "error";
            text = error.what();
        }
        CHECK_MESSAGE(result == row[4], row[0] + ": " + text);
        const std::string expected = text_of(row[5]);
        // What a template says by raise_exception reaches the user; Jinja's own messages are worded otherwise.
        if (row[4] == "text") {
            CHECK_MESSAGE(text == expected, row[0] + "\n got: " + text + "\n not: " + expected);
        } else if (row[0].compare(0, 7, "missing") != 0) {
            CHECK_MESSAGE(text.find(expected) != std::string::npos, row[0] + ": " + text);
        }
    }
}

std::string refusal(const std::string &source, const std::vector<llm::chat_message> &messages = {{"user", "x"}}) {
    try {
        llm::chat_template(source, "", "").render(messages, true);
    } catch (const llm::chat_template_error &error) {
        return error.what();
    }
    return "nothing was refused";
}

void refuses_what_it_cannot_render() {
    CHECK(refusal("{% for m in messages %}").find("the model's chat template: ") == 0);
    CHECK(refusal("{{ 1 +\n }}").find("line ") != std::string::npos);
    CHECK(refusal("{{ raise_exception('two\nlines') }}").find("two lines (line 1 of the template)") !=
          std::string::npos);
    CHECK(refusal("{{ messages[0].content }}", {{"user", "\xFF"}}).find("a message is not UTF-8 from byte 0 on") !=
          std::string::npos);
    // A template comes from a file that nobody vouches for: it may not compute for ever.
    CHECK(refusal("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}").find("fuel") !=
          std::string::npos);
}

void knows_the_time() {
    const std::string year = llm::chat_template("{{ strftime_now('%Y') }}", "", "").render({}, false);
    CHECK_MESSAGE(year.size() == 4 && year > "2024", year);
    CHECK(llm::chat_template("{{ strftime_now('%d %b %Y') }}", "", "").render({}, false).size() == 11);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    if (!llm::chat_template::available()) {
        std::puts("skipped: built without cargo");
        return 77;
    }
    equals_jinja(argv[1]);
    refuses_what_it_cannot_render();
    knows_the_time();
    return test::summary();
}
