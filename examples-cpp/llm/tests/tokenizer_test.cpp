// The tokenizer against the PyPI package `tokenizers` (tests/data/encode.tsv), and its own promises.
// Usage: tokenizer_test DATA_DIR MODEL.gguf TEXT
#include <chrono>

#include "check.h"
#include "gguf_builder.h"
#include "golden_lines.h"
#include "mapped_file.h"
#include "tokenizer.h"
#include "unicode.h"

using llm::gguf_error;
using llm::token_id;
using llm::tokenizer;
using ids = std::vector<token_id>;

namespace {

void equals_the_oracle(const tokenizer &t, const std::string &directory) {
    const auto rows = test::read_tsv(directory + "/encode.tsv");
    CHECK(rows.size() > 300);
    for (const auto &row : rows) {
        const std::string text = test::from_hex(row[0]);
        const ids tokens = t.encode(text, true, false);
        CHECK_MESSAGE(tokens == test::numbers<token_id>(row[1]), "encode " + row[0]);
        CHECK_MESSAGE(t.decode(tokens) == text, "round trip of " + row[0]);
    }
}

void round_trips(const tokenizer &t, const std::string &text) {
    const ids tokens = t.encode(text, false, false);
    CHECK(tokens.size() > text.size() / 8 && tokens.size() < text.size());
    CHECK(t.decode(tokens) == text);
    llm::utf8_stream stream;
    std::string streamed;
    for (const token_id token : tokens) {
        const std::string part = stream.push(t.decode(token));
        CHECK(llm::incomplete_utf8_tail(part) == 0);
        streamed += part;
    }
    CHECK(streamed + stream.finish() == text);

    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += {static_cast<char>(i), static_cast<char>(255 - i), ' '};
    CHECK(t.decode(t.encode(bytes, false, false)) == bytes);
}

void streams_whole_characters() {
    llm::utf8_stream stream;
    CHECK(stream.push("\xF0\x9F").empty());
    CHECK(stream.push("\x98").empty());
    CHECK(stream.push("\x80 a\xE2") == "\xF0\x9F\x98\x80 a");
    CHECK(stream.push("x") == "\xE2x");
    CHECK(stream.push("\xC3").empty());
    CHECK(stream.finish() == "\xC3" && stream.finish().empty());
}

void knows_special_tokens(const tokenizer &t) {
    const token_id end = 4093, start = 4094, turn = 4095;
    CHECK(t.size() == 4096 && t.eos() == end && t.bos() == end && t.eot() == turn && !t.adds_bos() && !t.adds_eos());
    CHECK(t.ends_generation(end) && t.ends_generation(turn) && !t.ends_generation(start) && !t.ends_generation(0) &&
          !t.ends_generation(-1) && !t.ends_generation(4096));
    CHECK((t.encode("<|im_start|><|im_end|>", false, true) == ids{start, turn}));
    const ids text = t.encode("<|im_start|>", false, false);
    CHECK(text.size() > 1 && t.decode(text) == "<|im_start|>");
    CHECK(t.decode(start).empty() && t.decode(start, true) == "<|im_start|>");
    CHECK(t.decode(-1).empty() && t.decode(4096).empty());
    const ids mixed = t.encode("a<|im_end|>b<|im_", false, true);
    CHECK(mixed.size() > 3 && mixed[1] == turn && t.decode(mixed) == "ab<|im_");
}

void takes_long_words_in_good_time(const tokenizer &t) {
    const auto began = std::chrono::steady_clock::now();
    for (const std::string &unit : {std::string("a"), std::string("the"), std::string(" "), std::string("=")}) {
        std::string text;
        while (text.size() < 400000) text += unit;
        CHECK(t.decode(t.encode(text, false, false)) == text);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    CHECK_MESSAGE(seconds < 20, "four words of 400 kB took " + std::to_string(seconds) + " s");
}

// The 256 byte tokens in the byte alphabet, as every vocabulary has them.
std::vector<std::string> byte_entries() {
    std::vector<std::string> out;
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
        const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        std::string entry;
        llm::append_utf8(entry, printable ? byte : next++);
        out.push_back(entry);
    }
    return out;
}

struct vocabulary {
    std::string model = "gpt2", pre = "llama-bpe";
    std::vector<std::string> tokens = byte_entries(), merges;
    std::vector<int32_t> types = std::vector<int32_t>(256, 1);
    test::gguf_builder extra;

    token_id add(const std::string &token, int32_t type = 1) {
        tokens.push_back(token);
        types.push_back(type);
        return static_cast<token_id>(tokens.size() - 1);
    }
    tokenizer build() {
        test::gguf_builder b = extra;
        b.string("tokenizer.ggml.model", model)
            .string("tokenizer.ggml.pre", pre)
            .strings("tokenizer.ggml.tokens", tokens)
            .i32s("tokenizer.ggml.token_type", types)
            .strings("tokenizer.ggml.merges", merges);
        const std::vector<uint8_t> file = b.build();
        return tokenizer(llm::gguf(file.data(), file.size()));
    }
};

void follows_the_llama_rules() {
    vocabulary v;
    const token_id ab = v.add("ab"), cab = v.add("cab"), whole = v.add("abcab"), bos = v.add("<|begin_of_text|>", 3),
                   user = v.add("<tool>", 4), longer = v.add("<tool>>", 4), eot = v.add("<|eot_id|>", 3);
    v.merges = {"a b", "c ab"};
    v.extra.u32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(bos));
    const tokenizer t = v.build();
    CHECK((t.encode("abab", true, false) == ids{bos, ab, ab}));
    CHECK((t.encode("xcab", false, false) == ids{token_id{'x'}, cab}));
    CHECK((t.encode("abcab", false, false) == ids{whole}));  // no merge makes it: a whole word is looked up first
    CHECK((t.encode("ab<tool>ab<tool>>", false, false) == ids{ab, user, ab, longer}));
    CHECK(t.ends_generation(eot) && t.eot() == eot && t.adds_bos());
    CHECK(t.split() == llm::pretokenizer::llama_bpe);

    vocabulary q = v;
    q.pre = "qwen2";
    const tokenizer t2 = q.build();
    CHECK((t2.encode("abcab", true, false) == ids{ab, cab}));
    vocabulary alias = v;
    alias.pre = "llama3";
    alias.extra.boolean("tokenizer.ggml.add_bos_token", 0);
    CHECK((alias.build().encode("abab", true, false) == ids{ab, ab}));
}

void refuses_bad_metadata() {
    const auto refuse = [](const char *part, auto change) {
        vocabulary v;
        v.pre = "qwen2";
        change(v);
        CHECK_ERROR(gguf_error, v.build(), part);
    };
    refuse("only \"gpt2\"", [](vocabulary &v) { v.model = "llama"; });
    refuse("only \"qwen2\"", [](vocabulary &v) { v.pre = "default"; });
    refuse("has no token for the byte 0", [](vocabulary &v) { v.tokens[0] = "zz"; });
    refuse("has 255 entries", [](vocabulary &v) { v.types.pop_back(); });
    refuse("must be 1 to 6", [](vocabulary &v) { v.types[3] = 7; });
    refuse("must be 1 to 6", [](vocabulary &v) { v.types[3] = -1; });
    for (const char *bad : {"", " ", "a", "a ", " a"})
        refuse("entry 0 is not two tokens", [bad](vocabulary &v) { v.merges = {bad}; });
    refuse("names a token that the vocabulary lacks", [](vocabulary &v) { v.merges = {"a b"}; });
    refuse("names a token that the vocabulary lacks", [](vocabulary &v) { v.merges = {"zz b"}; });
    refuse("vocabulary has 256 tokens", [](vocabulary &v) { v.extra.u32("tokenizer.ggml.eos_token_id", 256); });
    refuse("must not be negative", [](vocabulary &v) {
        v.extra.field("tokenizer.ggml.eos_token_id", llm::gguf_type::i32, test::bytes().put<int32_t>(-2));
    });
    refuse("bos_token_id is missing", [](vocabulary &v) { v.extra.boolean("tokenizer.ggml.add_bos_token", 1); });
    refuse("has 0 entries", [](vocabulary &v) {
        v.tokens.clear();
        v.types.clear();
    });
    const std::vector<uint8_t> empty = test::gguf_builder().build();
    CHECK_ERROR(gguf_error, tokenizer(llm::gguf(empty.data(), empty.size())), "\"tokenizer.ggml.model\" is missing");
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const llm::mapped_file file(argv[2]);
    const tokenizer t(llm::gguf(file.data(), file.size()));
    equals_the_oracle(t, argv[1]);
    round_trips(t, test::read_file(argv[3]));
    streams_whole_characters();
    knows_special_tokens(t);
    takes_long_words_in_good_time(t);
    follows_the_llama_rules();
    refuses_bad_metadata();
    return test::summary();
}
