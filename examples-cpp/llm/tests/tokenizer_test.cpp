// The tokenizer against PyPI's `tokenizers` (tests/data/encode.tsv), and its own promises.
// Usage: tokenizer_test DATA_DIR MODEL.gguf TEXT
#include <cmath>
#include <ctime>

#include "check.h"
#include "gguf_builder.h"
#include "golden_lines.h"
#include "mapped_file.h"
#include "tokenizer.h"
#include "unicode.h"

using llm::gguf_error;
using llm::gguf_type;
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
    const std::clock_t began = std::clock();  // of this process: others may keep the machine busy
    for (const std::string &unit : {std::string("a"), std::string("the"), std::string(" "), std::string("=")}) {
        std::string text;
        while (text.size() < 400000) text += unit;
        CHECK(t.decode(t.encode(text, false, false)) == text);
    }
    const double seconds = double(std::clock() - began) / CLOCKS_PER_SEC;
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
            .strings("tokenizer.ggml.tokens", tokens)
            .i32s("tokenizer.ggml.token_type", types)
            .strings("tokenizer.ggml.merges", merges);
        if (!pre.empty()) b.string("tokenizer.ggml.pre", pre);
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

    vocabulary q = v;
    q.pre = "qwen2";
    const tokenizer t2 = q.build();
    CHECK((t2.encode("abcab", true, false) == ids{ab, cab}));
    for (const char *name : {"llama3", "llama-v3", "falcon3", "tekken"}) {
        vocabulary alias = v;
        alias.pre = name;
        CHECK((alias.build().encode("abcab", true, false) == ids{bos, whole}));
        alias.extra.boolean("tokenizer.ggml.add_bos_token", 0);
        CHECK((alias.build().encode("abab", true, false) == ids{ab, ab}));
    }
    // The same expressions, but merges count, and no BOS comes by itself.
    vocabulary smaug = v;
    smaug.pre = "smaug-bpe";
    CHECK((smaug.build().encode("abcab", true, false) == ids{ab, cab}));
}

void has_one_bos_and_one_eos() {
    vocabulary v;
    const token_id bos = v.add("<|begin_of_text|>", 3), end = v.add("<|end_of_text|>", 3), a = 'a';
    v.extra.u32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(bos))
        .u32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(end))
        .boolean("tokenizer.ggml.add_eos_token", 1);
    const tokenizer t = v.build();
    CHECK((t.encode("a", true, true) == ids{bos, a, end}));
    CHECK((t.encode("<|begin_of_text|>a<|end_of_text|>", true, true) == ids{bos, a, end}));
    CHECK((t.encode("<|begin_of_text|>", true, true) == ids{bos, end}));
    CHECK((t.encode("", true, true) == ids{bos, end}));
    // A text that is to be continued does not end, unless it says so itself.
    CHECK((t.encode_prompt("a", true) == ids{bos, a}) && (t.encode_prompt("<|begin_of_text|>a", true) == ids{bos, a}));
    CHECK((t.encode_prompt("a<|end_of_text|>", true) == ids{bos, a, end}) && (t.encode_prompt("", false) == ids{bos}));
    CHECK((t.encode_shielded("a") == ids{bos, a}));
    // What the text repeats by itself is the text's.
    CHECK((t.encode("<|begin_of_text|><|begin_of_text|>a", true, true) == ids{bos, bos, a, end}));
    CHECK((t.encode("a<|begin_of_text|>", true, true) == ids{bos, a, bos, end}));
    // Text from elsewhere does not speak for the engine.
    const ids literal = t.encode("<|begin_of_text|>a", true, false);
    CHECK(literal.size() > 4 && literal[0] == bos && literal[1] == '<');
    CHECK((t.encode("<|begin_of_text|>a", false, true) == ids{bos, a}));
}

// An id is a role only where the vocabulary has it: whatever else the file says never stops loading.
void takes_any_special_id() {
    const auto with = [](const char *key, gguf_type type, const test::bytes &payload) {
        vocabulary v;
        v.add("<|endoftext|>", 3);
        v.add("<|begin_of_text|>", 3);
        v.add("<|other|>", 3);
        v.extra.field(std::string("tokenizer.ggml.") + key, type, payload);
        return v.build();
    };
    const token_id end = 256, begin = 257, other = 258;
    const char *keys[] = {"bos_token_id",     "eos_token_id",     "eot_token_id",       "eom_token_id",
                          "padding_token_id", "unknown_token_id", "seperator_token_id", "mask_token_id",
                          "fim_pre_token_id", "fim_pad_token_id", "fim_rep_token_id",   "fim_sep_token_id",
                          "cls_token_id"};
    for (const char *key : keys) {
        for (const tokenizer &t :
             {with(key, gguf_type::i32, test::bytes().put<int32_t>(-1)),
              with(key, gguf_type::u32, test::bytes().put<uint32_t>(0xFFFFFFFF)),
              with(key, gguf_type::u32, test::bytes().put<uint32_t>(259)),
              with(key, gguf_type::i64, test::bytes().put<int64_t>(-5)),
              with(key, gguf_type::u64, test::bytes().put<uint64_t>(~0ull)),
              with(key, gguf_type::f32, test::bytes().put(1.5f)), with(key, gguf_type::f64, test::bytes().put(1e300)),
              with(key, gguf_type::string, test::bytes().string("<|other|>")),
              with(key, gguf_type::array, test::bytes().put<uint32_t>(8).put<uint64_t>(0)),
              with(key, gguf_type::array,
                   test::bytes().put<uint32_t>(5).put<uint64_t>(2).put<int32_t>(-1).put<int32_t>(70000))}) {
            CHECK_MESSAGE(t.bos() == begin && t.eos() == end && t.adds_bos(), key);
            CHECK_MESSAGE(t.ends_generation(end) && !t.ends_generation(other) && !t.ends_generation(begin), key);
        }
    }
    // Numbers of another type are ids all the same.
    for (const tokenizer &t :
         {with("eos_token_id", gguf_type::i32, test::bytes().put<int32_t>(other)),
          with("eos_token_id", gguf_type::u64, test::bytes().put<uint64_t>(258)),
          with("eos_token_id", gguf_type::u16, test::bytes().put<uint16_t>(258)),
          with("eos_token_id", gguf_type::i64, test::bytes().put<int64_t>(258)),
          with("eos_token_id", gguf_type::f32, test::bytes().put(258.0f)),
          with("eos_token_id", gguf_type::array,
               test::bytes().put<uint32_t>(5).put<uint64_t>(2).put<int32_t>(other).put<int32_t>(65))}) {
        CHECK(t.eos() == other && t.ends_generation(other) && t.ends_generation(end));
    }
    const tokenizer list = with("eos_token_ids", gguf_type::array,
                                test::bytes()
                                    .put<uint32_t>(4)
                                    .put<uint64_t>(3)
                                    .put<uint32_t>(other)
                                    .put<uint32_t>(0xFFFFFFFF)
                                    .put<uint32_t>(65));
    CHECK(list.eos() == end && list.ends_generation(other) && list.ends_generation(65) && list.ends_generation(end) &&
          !list.ends_generation(66));
    // Of a list with entries that are no ids the others count, whatever the numbers' type.
    const auto lists = [](auto... numbers) {
        test::bytes payload;
        (payload.put(numbers), ...);
        return payload;
    };
    for (const char *key : {"eos_token_id", "eos_token_ids", "bos_token_id"}) {
        const auto array = [&](gguf_type element, uint64_t count, const test::bytes &values) {
            return with(key, gguf_type::array,
                        test::bytes().put(static_cast<uint32_t>(element)).put(count).append(values));
        };
        for (const tokenizer &t : {array(gguf_type::f32, 3, lists(258.0f, 1.5f, 65.0f)),
                                   array(gguf_type::f64, 5, lists(-1.0, 258.0, std::nan(""), 1e300, 65.0)),
                                   array(gguf_type::u64, 3, lists(~0ull, 258ull, 65ull)),
                                   array(gguf_type::i64, 4, lists(-1ll, 258ll, 1ll << 40, 65ll)),
                                   array(gguf_type::u16, 2, lists(uint16_t{258}, uint16_t{65}))}) {
            if (key[0] == 'b') {
                CHECK(t.bos() == other);
            } else {
                CHECK(t.ends_generation(other) && t.ends_generation(65) && !t.ends_generation(66) &&
                      t.ends_generation(end));
            }
        }
    }
    for (const char *key : {"eot_token_id", "eom_token_id", "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id"})
        CHECK_MESSAGE(with(key, gguf_type::u32, test::bytes().put<uint32_t>(258)).ends_generation(other), key);
    for (const char *key :
         {"padding_token_id", "unknown_token_id", "fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id"})
        CHECK_MESSAGE(!with(key, gguf_type::u32, test::bytes().put<uint32_t>(258)).ends_generation(other), key);
    // Flags of another type.
    CHECK(with("add_bos_token", gguf_type::u8, test::bytes().put<uint8_t>(0)).adds_bos() == false);
    CHECK(with("add_eos_token", gguf_type::i32, test::bytes().put<int32_t>(1)).adds_eos() == true);
    CHECK(with("add_bos_token", gguf_type::f32, test::bytes().put(0.0f)).adds_bos() == false);
    for (const char *key : {"add_bos_token", "add_eos_token"}) {
        const tokenizer odd = with(key, gguf_type::string, test::bytes().string("no"));
        CHECK(odd.adds_bos() && !odd.adds_eos() && odd.notes().size() == 1);
        CHECK(odd.notes()[0].find(std::string("tokenizer.ggml.") + key + " is \"no\", which is no flag") == 0);
        CHECK(with(key, gguf_type::array, test::bytes().put<uint32_t>(7).put<uint64_t>(0)).notes().size() == 1);
    }

    // A BOS is asked for and there is none: the file loads, and people are told.
    vocabulary none;
    none.extra.boolean("tokenizer.ggml.add_bos_token", 1)
        .boolean("tokenizer.ggml.add_eos_token", 1)
        .u32("tokenizer.ggml.bos_token_id", 256);
    const tokenizer t = none.build();
    CHECK(!t.adds_bos() && !t.adds_eos() && t.bos() == llm::no_token && t.notes().size() == 2);
    CHECK((t.encode("a", true, false) == ids{'a'}));
}

void knows_the_ends_of_every_format() {
    for (const char *name : {"<|im_end|>",
                             "<|endoftext|>",
                             "<|eot_id|>",
                             "<|eom_id|>",
                             "<|end|>",
                             "<|end_of_text|>",
                             "<end_of_turn>",
                             "<end_of_utterance>",
                             "</s>",
                             "<eos>",
                             "[EOS]",
                             "<EOT>",
                             "<|return|>",
                             "<|call|>",
                             "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
                             "<|fim_pad|>",
                             "<|repo_name|>",
                             "<|file_sep|>",
                             "<fim_pad>",
                             "<reponame>",
                             "<file_sep>",
                             "<turn|>"}) {
        vocabulary v;
        const token_id token = v.add(name, 3), start = v.add("<|im_start|>", 3);
        const tokenizer t = v.build();
        CHECK_MESSAGE(t.ends_generation(token) && !t.ends_generation(start), name);
        CHECK_MESSAGE(t.encode(name, false, true) == ids{token}, name);
    }
    // Listed as plain text by mistake: still a control token.
    vocabulary plain;
    const token_id turn = plain.add("<|im_end|>"), tag = plain.add("</s>", 4), bold = plain.add("<s>", 4);
    const tokenizer t = plain.build();
    CHECK(t.ends_generation(turn) && t.decode(turn).empty() && (t.encode("<|im_end|>", false, true) == ids{turn}));
    // Gemma's vocabulary has HTML tags.
    CHECK(!t.ends_generation(tag) && t.bos() != bold && t.decode(tag) == "</s>");
    // In Harmony's format messages end with <|end|>, answers do not.
    vocabulary harmony;
    const token_id message = harmony.add("<|end|>", 3), answer = harmony.add("<|return|>", 3),
                   call = harmony.add("<|call|>", 3);
    const tokenizer h = harmony.build();
    CHECK(!h.ends_generation(message) && h.ends_generation(answer) && h.ends_generation(call));
}

void splits_by_old_rules_without_a_name() {
    vocabulary v;
    v.pre = "";
    const token_id ab = v.add("ab"), comma = v.add(",,");
    v.merges = {"a b", ", ,"};
    const tokenizer t = v.build();
    CHECK(t.notes().size() == 1 && t.notes()[0].find("tokenizer.ggml.pre is missing") != std::string::npos);
    CHECK((t.encode("ab,,ab", true, false) == ids{ab, comma, ab}));
    v.extra.string("tokenizer.ggml.pre", "");
    CHECK(v.build().notes().size() == 1);
    v.extra = {};
    v.pre = "default";
    CHECK(v.build().notes().empty() && (v.build().encode("ab,,ab", true, false) == ids{ab, comma, ab}));
}

void drops_bytes_without_a_token() {
    vocabulary v;
    v.pre = "smollm";
    v.tokens[0] = "first";  // byte 0
    v.tokens['b'] = "second";
    const token_id ac = v.add("ac");
    v.merges = {"a c"};
    const tokenizer t = v.build();
    CHECK((t.encode("xb", false, false) == ids{'x'}));
    // What is left stands side by side, as in `tokenizers`.
    CHECK((t.encode("abc", false, false) == ids{ac}));
    CHECK(t.encode(std::string("b\0bb", 4), false, false).empty());
}

void puts_a_space_in_front_where_asked() {
    vocabulary v;
    v.pre = "gpt-2";
    const token_id word = v.add("\u0120a"), control = v.add("<|x|>", 3);
    v.merges = {"\u0120 a"};
    CHECK((v.build().encode("a", false, true) == ids{'a'}));
    v.extra.boolean("tokenizer.ggml.add_space_prefix", 1);
    const tokenizer t = v.build();
    CHECK((t.encode("a", false, true) == ids{word}));
    CHECK((t.encode(" a<|x|>a", false, true) == ids{word, control, word}));
    CHECK(t.encode("", false, true).empty());
    v.extra = {};
    v.extra.string("tokenizer.ggml.add_space_prefix", "yes");
    CHECK((v.build().encode("a", false, true) == ids{'a'}) && v.build().notes().empty());
}

// A SentencePiece vocabulary of few tokens.
struct scored_vocabulary {
    std::string model = "llama";
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "<0x41>", "\u2581", "a", "b", "ab", "\u2581ab"};
    std::vector<int32_t> types = {2, 3, 3, 6, 1, 1, 1, 1, 1};
    std::vector<float> scores = {0, 0, 0, 0, -3, -4, -5, -1, -2};
    bool with_types = true;
    test::gguf_builder extra;

    tokenizer build() {
        test::gguf_builder b = extra;
        test::bytes payload;
        for (const float score : scores) payload.put(score);
        b.string("tokenizer.ggml.model", model)
            .strings("tokenizer.ggml.tokens", tokens)
            .array("tokenizer.ggml.scores", gguf_type::f32, scores.size(), payload);
        if (with_types) b.i32s("tokenizer.ggml.token_type", types);
        const std::vector<uint8_t> file = b.build();
        return tokenizer(llm::gguf(file.data(), file.size()));
    }
};

void follows_the_sentencepiece_rules() {
    scored_vocabulary v;
    for (const char *model : {"llama", "gemma"}) {
        v.model = model;
        const tokenizer t = v.build();
        CHECK(t.bos() == 1 && t.eos() == 2 && t.adds_bos() && t.ends_generation(2));
        CHECK((t.encode("ab", true, false) == ids{1, 8}));
        CHECK((t.encode("A", false, false) == ids{4, 3}));
        CHECK((t.encode("xyzA", false, false) == ids{4, 0, 3}));  // no bytes for them: one unknown token
        CHECK((t.encode("</s>ab<s>ab", false, true) == ids{2, 8, 1, 8}));
        CHECK(t.decode(ids{1, 8, 8, 3}) == "ab abA" && t.decode(8) == " ab");
        CHECK(t.decode(0).empty() && t.decode(0, true) == "<unk>");
    }
    v.extra.boolean("tokenizer.ggml.add_space_prefix", 0).boolean("tokenizer.ggml.add_bos_token", 0);
    const tokenizer bare = v.build();
    CHECK((bare.encode("ab ab", true, false) == ids{7, 8}) && bare.decode(ids{8}) == " ab");
    v.with_types = false;
    CHECK((v.build().encode("A", false, false) == ids{3}));

    // Flags, scores and types of other types than usual.
    for (const float set : {0.0f, 1.0f}) {
        scored_vocabulary odd;
        odd.extra.u32("tokenizer.ggml.add_space_prefix", set != 0)
            .field("tokenizer.ggml.remove_extra_whitespaces", gguf_type::u8, test::bytes().put<uint8_t>(0));
        CHECK(odd.build().encode("ab", false, false) == (set != 0 ? ids{8} : ids{7}));
    }
    scored_vocabulary senseless;
    senseless.extra.strings("tokenizer.ggml.add_space_prefix", {"x"})
        .string("tokenizer.ggml.remove_extra_whitespaces", "x");
    CHECK((senseless.build().encode("ab", false, false) == ids{8}) && senseless.build().notes().size() == 2);
    const auto typed = [](gguf_type score_type, const test::bytes &scores, gguf_type kind_type,
                          const test::bytes &kinds) {
        const scored_vocabulary like;
        test::gguf_builder b;
        b.string("tokenizer.ggml.model", "llama")
            .strings("tokenizer.ggml.tokens", like.tokens)
            .array("tokenizer.ggml.scores", score_type, like.scores.size(), scores)
            .array("tokenizer.ggml.token_type", kind_type, like.types.size(), kinds);
        const std::vector<uint8_t> file = b.build();
        return tokenizer(llm::gguf(file.data(), file.size()));
    };
    test::bytes doubles, shorts, floats, small;
    const scored_vocabulary like;
    for (const float score : like.scores) {
        doubles.put(static_cast<double>(score));
        shorts.put(static_cast<int16_t>(score));
    }
    for (const int32_t kind : like.types) {
        floats.put(static_cast<float>(kind));
        small.put(static_cast<uint8_t>(kind));
    }
    for (const tokenizer &t :
         {typed(gguf_type::f64, doubles, gguf_type::f32, floats), typed(gguf_type::i16, shorts, gguf_type::u8, small)})
        CHECK((t.encode("abA</s>", true, true) == ids{1, 8, 3, 2}));
    CHECK_ERROR(gguf_error, typed(gguf_type::boolean, test::bytes().zeros(9), gguf_type::u8, small),
                "array of numbers");
    CHECK_ERROR(gguf_error, typed(gguf_type::f64, doubles, gguf_type::boolean, test::bytes().zeros(9)),
                "array of integers");

    const auto refuse = [](const char *part, auto change) {
        scored_vocabulary bad;
        change(bad);
        CHECK_ERROR(gguf_error, bad.build(), part);
    };
    refuse("tokenizer.ggml.scores has 8 entries", [](auto &bad) { bad.scores.pop_back(); });
    refuse("is not a number", [](auto &bad) { bad.scores[5] = std::nanf(""); });
    refuse("\"a\" is none", [](auto &bad) { bad.types[5] = 6; });
    refuse("remove_extra_whitespaces is set",
           [](auto &bad) { bad.extra.boolean("tokenizer.ggml.remove_extra_whitespaces", 1); });
    refuse("remove_extra_whitespaces is set",
           [](auto &bad) { bad.extra.u32("tokenizer.ggml.remove_extra_whitespaces", 1); });
    refuse("precompiled_charsmap is given",
           [](auto &bad) { bad.extra.i32s("tokenizer.ggml.precompiled_charsmap", {1}); });
}

void refuses_bad_metadata() {
    const auto refuse = [](const char *part, auto change) {
        vocabulary v;
        v.pre = "qwen2";
        change(v);
        CHECK_ERROR(gguf_error, v.build(), part);
    };
    refuse("tokenizer.ggml.model is \"bert\", supported are gpt2 (byte-level BPE), llama and gemma",
           [](vocabulary &v) { v.model = "bert"; });
    // The name that the file gives, and those that are known.
    refuse("tokenizer.ggml.pre is \"qwen9\"", [](vocabulary &v) { v.pre = "qwen9"; });
    for (const llm::pretokenizer_rules &rules : llm::all_pretokenizers())
        for (const std::string_view name : rules.names)
            refuse(std::string(name).c_str(), [](vocabulary &v) { v.pre = "qwen9"; });
    refuse("has 255 entries", [](vocabulary &v) { v.types.pop_back(); });
    refuse("must be 1 to 6", [](vocabulary &v) { v.types[3] = 7; });
    refuse("must be 1 to 6", [](vocabulary &v) { v.types[3] = -1; });
    for (const char *bad : {"", " ", "a", "a ", " a"})
        refuse("entry 0 is not two tokens", [bad](vocabulary &v) { v.merges = {bad}; });
    refuse("names a token that the vocabulary lacks", [](vocabulary &v) { v.merges = {"a b"}; });
    refuse("names a token that the vocabulary lacks", [](vocabulary &v) { v.merges = {"zz b"}; });
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
    const llm::mapped_file scored(std::string(argv[1]) + "/vocab-sentencepiece.gguf");
    takes_long_words_in_good_time(tokenizer(llm::gguf(scored.data(), scored.size())));
    follows_the_llama_rules();
    has_one_bos_and_one_eos();
    takes_any_special_id();
    knows_the_ends_of_every_format();
    splits_by_old_rules_without_a_name();
    drops_bytes_without_a_token();
    puts_a_space_in_front_where_asked();
    follows_the_sentencepiece_rules();
    refuses_bad_metadata();
    return test::summary();
}
